# SPDX-License-Identifier: Apache-2.0
"""Guidance by a prompt and by reference images at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normalise_guidance(
    unconditional: Tensor,
    image: Tensor,
    full: Tensor,
    image_scale: float,
    text_scale: float,
    dims: Sequence[int],
    epsilon: float = 1e-8,
) -> Tensor:
    """The guided prediction (B, ...) that neither references nor prompt dominate (SynCD, arXiv 2502.01720, guidance).

    `unconditional` is the prediction (B, ...) with neither, `image` with the references, `full` with references and
    prompt. Their differences are scaled to the length of the shorter one over `dims`, and added to `image`. `epsilon`
    avoids a division by 0.
    """
    to_image, to_text = image - unconditional, full - image
    image_norm, text_norm = (
        torch.linalg.vector_norm(difference, dim=tuple(dims), keepdim=True) for difference in (to_image, to_text)
    )
    least = torch.minimum(image_norm, text_norm)
    by_image: Tensor = image_scale * least / (image_norm + epsilon) * to_image
    by_text: Tensor = text_scale * least / (text_norm + epsilon) * to_text
    return image + by_image + by_text

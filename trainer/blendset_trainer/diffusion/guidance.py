# SPDX-License-Identifier: Apache-2.0
"""Guidance by a caption and by reference pictures at once."""

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
    """The prediction that neither the references nor the caption dominates (SynCD, arXiv 2502.01720, guidance).

    Predictions (B, ...) without both, with the references, with references and caption. Their differences are taken
    equally long, as long as the shorter over `dims`, and added to the prediction with references. `epsilon` keeps a
    difference of nothing from being divided by its length.
    """
    to_image, to_text = image - unconditional, full - image
    image_norm, text_norm = (
        torch.linalg.vector_norm(each, dim=tuple(dims), keepdim=True) for each in (to_image, to_text)
    )
    least = torch.minimum(image_norm, text_norm)
    by_image: Tensor = image_scale * least / (image_norm + epsilon) * to_image
    by_text: Tensor = text_scale * least / (text_norm + epsilon) * to_text
    return image + by_image + by_text

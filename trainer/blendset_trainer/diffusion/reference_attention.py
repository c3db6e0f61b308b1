# SPDX-License-Identifier: Apache-2.0
"""Predictions with reference images: images and references in one batch, and attention from images to references.

Each reference is a row of the batch, with its own noise and the empty prompt. References attend to each other and not
to the image, so that sampling treats them as training did.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.shared_attention import ViewSets, share_attention


@dataclass(frozen=True, eq=False)
class NoisyReferences:
    """The k references of each of B images: noisy latents (B, k, C, h, w) at levels (B,), the features of the empty
    prompt (one row each, by name), and the references' size conditions (B, k, 6).
    """

    latents: Tensor
    level: Tensor
    null_prompt: Mapping[str, Tensor]
    sizes: Tensor


def reference_attention(family: Family, visibility: Tensor | None) -> AbstractContextManager[None]:
    """Within it images attend to their references where `visibility` (B, k, height, width) is true; the backward pass
    belongs inside too. None changes nothing.
    """
    if visibility is None:
        return nullcontext()
    height, width = visibility.shape[-2:]
    ids = torch.nn.functional.pad(visibility.long(), (0, 0, 0, 0, 1, 0))  # no reference attends to the image
    grid = height // family.pixels_per_token, width // family.pixels_per_token
    return share_attention(family.module, ViewSets(ids.to(family.module.device), grid))


def predict_with_references(
    family: Family,
    noisy: Tensor,
    level: Tensor,
    features: Mapping[str, Tensor],
    conditions: Conditions,
    references: NoisyReferences,
) -> Tensor:
    """`Family.predict` for images with references, within `reference_attention`: (B, C, h, w), of the images only."""
    count = references.latents.shape[1]
    all_levels = _interleave(level, references.level[:, None].expand(-1, count))
    all_features = {
        name: _interleave(
            values, references.null_prompt[name].to(values)[None].expand(len(values), count, *values.shape[1:])
        )
        for name, values in features.items()
    }
    all_conditions = Conditions(_interleave(conditions.sizes, references.sizes), conditions.guidance)
    return family.predict(_interleave(noisy, references.latents), all_levels, all_features, all_conditions)[
        :: 1 + count
    ]


def _interleave(images: Tensor, references: Tensor) -> Tensor:
    """Each image of (B, ...) followed by its references of (B, k, ...): a batch (B · (1 + k), ...)."""
    return torch.cat([images[:, None], references], dim=1).flatten(0, 1)

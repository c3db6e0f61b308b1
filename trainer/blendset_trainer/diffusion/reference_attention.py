# SPDX-License-Identifier: Apache-2.0
"""Predictions for pictures beside references: all in one batch, with attention that lets pictures see the references.

Each reference is a row of the batch, with its own noise and no words. References see each other and not the picture, so
that they are to a picture in sampling what they were in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.shared_attention import ViewSets, shared_attention


@dataclass(frozen=True, eq=False)
class NoisyReferences:
    """Of B pictures, k each: latents (B, k, C, h, w) at levels (B,), what is read of no caption, one row by name, and
    the references' own sizes (B, k, 6).
    """

    latents: Tensor
    level: Tensor
    wordless: Mapping[str, Tensor]
    sizes: Tensor


def seeing(family: Family, seen: Tensor | None) -> AbstractContextManager[None]:
    """In which pictures see of their references what `seen` (B, k, height, width) says; forward and backward."""
    if seen is None:
        return nullcontext()
    height, width = seen.shape[-2:]
    ids = torch.nn.functional.pad(seen.long(), (0, 0, 0, 0, 1, 0))  # nobody sees the picture
    grid = height // family.pixels_per_token, width // family.pixels_per_token
    return shared_attention(family.module, ViewSets(ids.to(family.module.device), grid))


def predict_beside(
    family: Family,
    noisy: Tensor,
    level: Tensor,
    texts: Mapping[str, Tensor],
    conditions: Conditions,
    references: NoisyReferences,
) -> Tensor:
    """`Family.predict` for pictures beside their references, inside of `seeing`; (B, C, h, w), of the pictures only."""
    count = references.latents.shape[1]
    rows = _rows(level, references.level[:, None].expand(-1, count))
    read = {
        name: _rows(values, references.wordless[name].to(values)[None].expand(len(values), count, *values.shape[1:]))
        for name, values in texts.items()
    }
    told = Conditions(_rows(conditions.sizes, references.sizes), conditions.guidance)
    return family.predict(_rows(noisy, references.latents), rows, read, told)[:: 1 + count]


def _rows(pictures: Tensor, references: Tensor) -> Tensor:
    """Each picture (B, ...), then its references (B, k, ...): a batch (B · (1 + k), ...)."""
    return torch.cat([pictures[:, None], references], dim=1).flatten(0, 1)

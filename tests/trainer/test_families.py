# SPDX-License-Identifier: Apache-2.0
"""Each family of models learns from pictures and captions, and what it learnt is read by diffusers as it is.

Tiny random pipelines go through the loader that real ones go through.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from blendset_trainer.training.families import Conditions, Family, load_family
from blendset_trainer.training.noise import mixed, target
from tests.trainer import tiny_pipelines
from tests.trainer.tiny_pipelines import PIXELS

Make = Callable[[str], Path]
CAPTIONS = ["a red chair", "the blue lamp"]
KINDS = [
    "stable_diffusion", "stable_diffusion_2", "stable_diffusion_xl", "pixart_alpha", "pixart_sigma",
    "stable_diffusion_3", "stable_diffusion_3_without_t5", "flux", "flux_schnell",
]  # fmt: skip


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the tiny pipeline of a kind on first use; returns its folder."""
    folder = tmp_path_factory.mktemp("pipelines")
    return cache(lambda kind: getattr(tiny_pipelines, kind)(folder / kind))


def load(folder: Path, **options: object) -> Family:
    return load_family(str(folder), **{"dtype": torch.float32, **options})  # type: ignore[arg-type]


def pictures(count: int = 2) -> Tensor:
    return torch.rand(count, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0)) * 2 - 1


def levels(family: Family) -> Tensor:
    return torch.tensor([40, 700]) if family.axis.discrete else torch.tensor([0.2, 0.9], dtype=torch.float64)


def noise_for(moments: Tensor, seed: int) -> Tensor:
    count, channels, height, width = moments.shape
    return torch.randn(count, channels // 2, height, width, generator=torch.Generator().manual_seed(seed))


def train(family: Family, steps: int = 5) -> list[float]:
    """The loop of the trainer in a few lines, the same batch and noise over and over; the losses."""
    trained = [each for each in family.module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-3)
    moments, texts, level = family.moments(pictures()), family.texts(CAPTIONS), levels(family)
    latents, noise = family.latents(moments, noise_for(moments, 1)), noise_for(moments, 2)
    noisy, wanted = (
        mixed(family.axis, latents, noise, level),
        target(family.prediction, family.axis, latents, noise, level),
    )
    losses = []
    for _ in range(steps):
        predicted = family.predict(noisy, level, texts, Conditions.uncropped(2, PIXELS, PIXELS))
        loss = torch.nn.functional.mse_loss(predicted, wanted)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("kind", KINDS)
def test_a_family_learns(pipeline: Make, kind: str) -> None:
    family = load(pipeline(kind), full=True)
    family.module.requires_grad_(True)
    losses = train(family)
    assert losses[-1] < losses[0]

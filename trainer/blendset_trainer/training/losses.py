# SPDX-License-Identifier: Apache-2.0
"""The loss of single samples: which noise each gets, and how far the prediction is from its target.

Level, noise and the autoencoder's draw are functions of (seed, sample, visit), drawn on the CPU: every device, process
count and batch order sees the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from blendset_trainer.training.draws import generator, uniform
from blendset_trainer.training.families import Conditions, Family
from blendset_trainer.training.feed import Batch
from blendset_trainer.training.noise import mixed, target
from blendset_trainer.training.timesteps import TimestepPlan

Texts = Callable[[Sequence[str]], dict[str, Tensor]]
"""From captions to what the denoiser reads of them."""


def levels_of(plan: TimestepPlan, batch: Batch, seed: int) -> Tensor:
    """The noise level of each sample of a batch, (B,): its source's density, at the sample's own place in it."""
    places = [uniform(seed, "level", *identity) for identity in identities(batch)]
    levels = torch.empty(len(places), dtype=torch.int64 if plan.base.axis.discrete else torch.float64)
    for source in set(batch.sources):
        mine = torch.tensor([each == source for each in batch.sources])
        u = torch.tensor(places, dtype=torch.float64)[mine]
        levels[mine] = plan.level(source, u, batch.lowest[mine], batch.highest[mine])
    return levels


def loss_weights(plan: TimestepPlan, batch: Batch, levels: Tensor) -> Tensor:
    """What each sample's loss counts, (B,): its own weight, times the plan's at its level."""
    by_level = [plan.loss_weight(source, level[None]) for source, level in zip(batch.sources, levels, strict=True)]
    return batch.weights * torch.cat(by_level)


def sample_losses(family: Family, texts: Texts, batch: Batch, levels: Tensor, seed: int) -> Tensor:
    """The mean squared error of each sample's prediction at its noise level, (B,); masked where the batch has masks."""
    moments = batch.latents if batch.pixels is None else family.moments(batch.pixels / 127.5 - 1)
    assert moments is not None  # a batch has either
    device, (channels, *size) = moments.device, moments.shape[1:]  # channels: means and deviations
    latents = family.latents(moments, drawn(seed, "posterior", batch, (channels // 2, *size)).to(device))
    noise, levels = drawn(seed, "noise", batch, latents.shape[1:]).to(device), levels.to(device)
    noisy = mixed(family.axis, latents, noise, levels)
    goal = target(family.prediction, family.axis, latents, noise, levels)
    prediction = family.predict(noisy, levels, texts(batch.texts), Conditions(batch.conditions))
    error = (prediction.float() - goal.float()).square()
    if batch.mask is None:
        return error.mean(dim=(1, 2, 3))
    mask = torch.nn.functional.interpolate(batch.mask.to(error), error.shape[-2:], mode="area")
    return (error * mask).mean(dim=(1, 2, 3)) / mask.mean(dim=(1, 2, 3)).clamp(min=1e-6)


def identities(batch: Batch) -> list[tuple[str, str, int]]:
    """What each sample's draws follow from, beside the seed."""
    return list(zip(batch.sources, batch.ids, batch.visits, strict=True))


def drawn(seed: int, what: str, batch: Batch, shape: Sequence[int]) -> Tensor:
    """Normal noise of that shape for each sample of a batch, on the CPU; `what` it is for keeps draws apart."""
    return torch.stack([torch.randn(*shape, generator=generator(seed, what, *each)) for each in identities(batch)])

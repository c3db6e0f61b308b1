# SPDX-License-Identifier: Apache-2.0
"""The loss of single samples: which noise each gets, and how far the prediction is from its target.

Level, noise and the autoencoder's draw are functions of (seed, sample, visit), drawn on the CPU: every device, process
count and batch order sees the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.noise import add_noise, compute_target
from blendset_trainer.diffusion.reference_attention import NoisyReferences, predict_with_references
from blendset_trainer.training.data.loader import Batch
from blendset_trainer.training.data.references import References
from blendset_trainer.training.draws import generator, uniform
from blendset_trainer.training.timesteps.plan import TimestepPlan

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
    """The mean squared error of each sample's prediction at its noise level, (B,); masked where the batch has masks.

    Where it has references, attention must see them (`reference_attention`).
    """
    moments = _moments(family, batch.pixels, batch.latents)
    device, (channels, *size) = moments.device, moments.shape[1:]  # channels: means and deviations
    latents = family.sample_latents(moments, drawn(seed, "posterior", batch, (channels // 2, *size)).to(device))
    noise, levels = drawn(seed, "noise", batch, latents.shape[1:]).to(device), levels.to(device)
    noisy = add_noise(family.axis, latents, noise, levels)
    goal = compute_target(family.prediction, family.axis, latents, noise, levels)
    given = noisy, levels, texts(batch.texts), Conditions(batch.conditions)
    if batch.references is None:
        prediction = family.predict(*given)
    else:
        prediction = predict_with_references(
            family, *given, _noisy(batch.references, family, texts, batch, levels, seed)
        )
    error = (prediction.float() - goal.float()).square()
    if batch.mask is None:
        return error.mean(dim=(1, 2, 3))
    mask = torch.nn.functional.interpolate(batch.mask.to(error), error.shape[-2:], mode="area")
    return (error * mask).mean(dim=(1, 2, 3)) / mask.mean(dim=(1, 2, 3)).clamp(min=1e-6)


def _noisy(
    references: References, family: Family, texts: Texts, batch: Batch, levels: Tensor, seed: int
) -> NoisyReferences:
    """A batch's references at the noise that they are shown with, drawn for each sample."""
    moments = _moments(family, references.pixels, references.latents)
    levels = torch.zeros_like(levels) if references.clean else levels
    channels, *size = moments.shape[2:]
    shape = (moments.shape[1], channels // 2, *size)
    draws = [drawn(seed, f"{what} of references", batch, shape).to(moments.device) for what in ("posterior", "noise")]
    latents = family.sample_latents(moments.flatten(0, 1), draws[0].flatten(0, 1)).unflatten(0, moments.shape[:2])
    noisy = add_noise(family.axis, latents, draws[1], levels)
    return NoisyReferences(noisy, levels, texts([""]), references.conditions)


def _moments(family: Family, pixels: Tensor | None, latents: Tensor | None) -> Tensor:
    """From pixels (..., 3, H, W) in 8 bits, or as they are."""
    if pixels is None:
        assert latents is not None  # a batch has either
        return latents
    pictures = pixels.flatten(0, -4) / 127.5 - 1
    return family.encode_images(pictures).unflatten(0, pixels.shape[:-3])  # type: ignore[no-any-return]


def identities(batch: Batch) -> list[tuple[str, str, int]]:
    """What each sample's draws follow from, beside the seed."""
    return list(zip(batch.sources, batch.ids, batch.visits, strict=True))


def drawn(seed: int, what: str, batch: Batch, shape: Sequence[int]) -> Tensor:
    """Normal noise of that shape for each sample of a batch, on the CPU; `what` it is for keeps draws apart."""
    return torch.stack([torch.randn(*shape, generator=generator(seed, what, *each)) for each in identities(batch)])

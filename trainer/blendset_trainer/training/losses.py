# SPDX-License-Identifier: Apache-2.0
"""The losses of single samples: the noise level of each, its noise, and the error of the prediction.

Level, noise and the VAE's sample are functions of (seed, sample, repeat) and computed on the CPU, so they are the same
on every device, for any number of processes and any order of batches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from blendset.randomness import sample_uniform
from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.noise import add_noise, compute_target
from blendset_trainer.diffusion.randomness import make_generator
from blendset_trainer.diffusion.reference_attention import NoisyReferences, predict_with_references
from blendset_trainer.training.data.loader import Batch
from blendset_trainer.training.data.references import References
from blendset_trainer.training.data.train_data import EncodePrompts
from blendset_trainer.training.timesteps.plan import TimestepPlan


def sample_levels(plan: TimestepPlan, batch: Batch, seed: int) -> Tensor:
    """The noise level of each sample of a batch, (B,), drawn from the density of its source."""
    fractions = torch.tensor(
        [sample_uniform(seed, "level", *identity) for identity in identify_samples(batch)], dtype=torch.float64
    )
    levels = torch.empty(len(fractions), dtype=torch.int64 if plan.base.axis.discrete else torch.float64)
    for source in set(batch.sources):
        rows = torch.tensor([name == source for name in batch.sources])
        levels[rows] = plan.sample_levels(source, fractions[rows], batch.lowest[rows], batch.highest[rows])
    return levels


def compute_loss_weights(plan: TimestepPlan, batch: Batch, levels: Tensor) -> Tensor:
    """The weight of each sample's loss, (B,): the sample's own times the plan's at its level, (B,)."""
    by_level = [
        plan.compute_loss_weights(source, level[None]) for source, level in zip(batch.sources, levels, strict=True)
    ]
    return batch.weights * torch.cat(by_level)


def compute_losses(model: Family, encode_prompts: EncodePrompts, batch: Batch, levels: Tensor, seed: int) -> Tensor:
    """The mean squared error of each sample's prediction at its noise level, (B,) of (B,), weighted by the mask.

    A batch with references needs `reference_attention` around the call.
    """
    posterior = _encode(model, batch.pixels, batch.latents)
    device, (channels, *size) = posterior.device, posterior.shape[1:]  # channels: of mean and standard deviation
    latents = model.sample_latents(posterior, sample_noise(seed, "posterior", batch, (channels // 2, *size)).to(device))
    noise, levels = sample_noise(seed, "noise", batch, latents.shape[1:]).to(device), levels.to(device)
    noisy = add_noise(model.axis, latents, noise, levels)
    target = compute_target(model.prediction, model.axis, latents, noise, levels)
    inputs = noisy, levels, encode_prompts(batch.captions), Conditions(batch.conditions)
    if batch.references is None:
        prediction = model.predict(*inputs)
    else:
        references = _make_noisy_references(batch.references, model, encode_prompts, batch, levels, seed)
        prediction = predict_with_references(model, *inputs, references)
    error = (prediction.float() - target.float()).square()
    if batch.mask is None:
        return error.mean(dim=(1, 2, 3))
    mask = torch.nn.functional.interpolate(batch.mask.to(error), error.shape[-2:], mode="area")
    return (error * mask).mean(dim=(1, 2, 3)) / mask.mean(dim=(1, 2, 3)).clamp(min=1e-6)


def _make_noisy_references(
    references: References, model: Family, encode_prompts: EncodePrompts, batch: Batch, levels: Tensor, seed: int
) -> NoisyReferences:
    """The references of a batch with their noise: the levels (B,) of their samples, or none for clean ones."""
    posterior = _encode(model, references.pixels, references.latents)
    levels = torch.zeros_like(levels) if references.clean else levels
    channels, *size = posterior.shape[2:]
    shape = (posterior.shape[1], channels // 2, *size)
    sampled, noise = (
        sample_noise(seed, f"{purpose} of references", batch, shape).to(posterior.device)
        for purpose in ("posterior", "noise")
    )
    latents = model.sample_latents(posterior.flatten(0, 1), sampled.flatten(0, 1)).unflatten(0, posterior.shape[:2])
    noisy = add_noise(model.axis, latents, noise, levels)
    return NoisyReferences(noisy, levels, encode_prompts([""]), references.conditions)


def _encode(model: Family, pixels: Tensor | None, posterior: Tensor | None) -> Tensor:
    """The posterior (..., 2C, h, w) of 8-bit pixels (..., 3, H, W); the cached one where there are no pixels."""
    if pixels is None:
        assert posterior is not None  # a batch has either
        return posterior
    images = pixels.flatten(0, -4) / 127.5 - 1
    return model.encode_images(images).unflatten(0, pixels.shape[:-3])  # type: ignore[no-any-return]


def identify_samples(batch: Batch) -> list[tuple[str, str, int]]:
    """Source, id and repeat of each sample: with the seed, all that its random numbers depend on."""
    return list(zip(batch.sources, batch.ids, batch.repeats, strict=True))


def sample_noise(seed: int, purpose: str, batch: Batch, shape: Sequence[int]) -> Tensor:
    """Standard normal noise (B, *shape) on the CPU, independent for each `purpose`."""
    generators = [make_generator(seed, purpose, *identity) for identity in identify_samples(batch)]
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])

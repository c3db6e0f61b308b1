# SPDX-License-Identifier: Apache-2.0
"""A diffusion model of small patches, trained by a timestep plan and sampled; and what a linear one would give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from blendset.options import REQUIRED, option
from blendset_trainer.diffusion.noise import NoiseAxis, add_noise
from blendset_trainer.diffusion.randomness import make_generator
from blendset_trainer.training.data.sampler import Sampler, SampleRef
from blendset_trainer.training.timesteps.plan import TimestepPlan


@dataclass(frozen=True)
class TtrModelSettings:
    width: int = option(REQUIRED, "channels")
    blocks: int = option(REQUIRED, "residual blocks of two convolutions")
    steps: int = option(REQUIRED, "of the optimizer")
    batch: int = option(REQUIRED, "patches in each")
    learning_rate: float = option(REQUIRED, "the highest; it rises for three tenths of the steps, then falls to zero")
    ema: float = option(REQUIRED, "decay of the running average of the weights")


class Block(nn.Module):
    """A residual block of two convolutions; the noise level shifts the features between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.GroupNorm(8, width), nn.Conv2d(width, width, 3, padding=1))
        self.level = nn.Linear(width, 2 * width)
        self.after = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        scale, shift = self.level(level)[..., None, None].chunk(2, dim=1)
        changed: Tensor = self.after(functional.silu(self.before(x) * (1 + scale) + shift))
        return x + changed


class Denoiser(nn.Module):
    """Predicts the noise in patches (B, 1, side, side), at half their resolution and four times the channels.

    Inside it predicts velocity (arXiv 2202.00512, 4): where all is noise, small errors in that stay small in the image.
    """

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.frequencies = nn.Buffer(torch.linspace(0.1, 2.5, width // 2))
        self.embed = nn.Sequential(nn.Linear(width, width), nn.SiLU())
        self.enter = nn.Conv2d(4, width, 3, padding=1)
        self.blocks = nn.ModuleList(Block(width) for _ in range(blocks))
        self.leave = nn.Sequential(nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, 4, 3, padding=1))

    def forward(self, noisy: Tensor, log_snr: Tensor) -> Tensor:
        phase = log_snr.float()[:, None] * self.frequencies
        level = self.embed(torch.cat([phase.sin(), phase.cos()], dim=1))
        x = self.enter(functional.pixel_unshuffle(noisy, 2))
        for block in self.blocks:
            x = block(x, level)
        alpha, sigma = log_snr.float().sigmoid().sqrt(), (-log_snr.float()).sigmoid().sqrt()
        velocity = functional.pixel_shuffle(self.leave(x), 2)
        return alpha[:, None, None, None] * velocity + sigma[:, None, None, None] * noisy


def sample_batches(
    images: Mapping[str, Tensor], plan: TimestepPlan, size: int, seed: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Images (B, 1, side, side), noise and levels (B,); of these the plan decides the levels only."""
    buckets = {name: np.zeros(len(images[name]), np.int64) for name in plan.sources}
    for draws in Sampler(buckets, plan.compute_shares(), micro_batch=size, seed=seed).iterate_micro_batches():
        names = [plan.sources[draw.source] for draw in draws]
        randoms = [
            make_generator(seed, name, draw.sample, draw.repeat) for name, draw in zip(names, draws, strict=True)
        ]
        clean = torch.stack([images[name][draw.sample] for name, draw in zip(names, draws, strict=True)])
        u = torch.stack([torch.rand((), generator=random) for random in randoms])
        noise = torch.stack([torch.randn(clean.shape[1:], generator=random) for random in randoms])
        yield clean, noise, sample_levels(plan, draws, u)


def sample_levels(plan: TimestepPlan, draws: Sequence[SampleRef], u: Tensor) -> Tensor:
    """Draw a noise level for each sample of a batch."""
    source = torch.tensor([draw.source for draw in draws])
    level = torch.empty(len(draws), dtype=torch.int64)
    for number, name in enumerate(plan.sources):
        level[source == number] = plan.sample_levels(name, u[source == number])
    return level


def train_model(images: Mapping[str, Tensor], plan: TimestepPlan, settings: TtrModelSettings, seed: int) -> nn.Module:
    """The running average of a model's weights after all steps."""
    torch.manual_seed(seed)
    axis, model = plan.base.axis, Denoiser(settings.width, settings.blocks)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings.ema))
    optimizer = torch.optim.AdamW(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, settings.steps)
    for clean, noise, level in islice(sample_batches(images, plan, settings.batch, seed), settings.steps):
        predicted = model(add_noise(axis, clean, noise, level), axis.log_snr(level))
        functional.mse_loss(predicted, noise).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        average.update_parameters(model)
    return average.eval()


def sample_ddim(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, axis: NoiseAxis, steps: int) -> Tensor:
    """Deterministic DDIM (arXiv 2010.02502, eq. 12 with sigma 0), in equal steps of log-SNR; what it predicts last.

    Steps of equal timesteps are too coarse near the clean end, and cost high frequencies.
    """
    noisiest, cleanest = axis.log_snr(axis.level(torch.tensor([-torch.inf, torch.inf])))
    levels = axis.level(torch.linspace(noisiest, cleanest, steps, dtype=torch.float64)).unique().flip(0)
    noisy = noise
    for level, cleaner in pairwise([*levels, None]):
        predicted = predict(noisy, level)
        alpha, sigma = (float(each) for each in axis.alpha_sigma(level))
        clean = (noisy - sigma * predicted) / alpha
        if cleaner is not None:
            alpha, sigma = (float(each) for each in axis.alpha_sigma(cleaner))
            noisy = alpha * clean + sigma * predicted
    return clean


def predict_power(plan: TimestepPlan, sources: Mapping[str, Tensor], steps: int) -> Tensor:
    """The power that the best linear denoiser generates at each frequency from the power of the sources, of one shape.

    At each level it learns the mixture of the sources that train it; DDIM then multiplies each frequency's noise.
    """
    axis, responsibility = plan.base.axis, plan.responsibility()
    each = torch.stack([sources[name].double() for name in plan.sources])

    def predict(noisy: Tensor, level: Tensor) -> Tensor:
        alpha, sigma = axis.alpha_sigma(level)
        mixture: Tensor = torch.tensordot(responsibility[:, level], each, dims=1)
        return sigma / (alpha**2 * mixture + sigma**2) * noisy

    return sample_ddim(predict, torch.ones_like(each[0]), axis, steps) ** 2

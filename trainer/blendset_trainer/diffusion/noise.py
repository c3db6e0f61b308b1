# SPDX-License-Identifier: Apache-2.0
"""Noise levels on one axis, the log signal-to-noise ratio ln(alpha²/sigma²), for every schedule of the field.

A noisy sample is x = alpha x0 + sigma noise. Levels are computed in double precision on the CPU; they are few.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.options import nearest

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What a denoiser is trained to give; the first three are diffusers' own names."""
TIMESTEPS = 1000
"""Of every named DDPM schedule."""


class NoiseAxis(ABC):
    """One noise schedule. Levels grow with the noise: whole timesteps where `discrete`, else the schedule's sigma."""

    name: str
    discrete: bool

    @abstractmethod
    def log_snr(self, level: Tensor) -> Tensor:
        """The log-SNR of levels; any shape."""

    @abstractmethod
    def level(self, log_snr: Tensor) -> Tensor:
        """The level of this log-SNR, the nearest timestep where `discrete`; any shape."""

    @abstractmethod
    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """What signal and noise are multiplied by; any shape."""


@dataclass(frozen=True, eq=False)
class DdpmAxis(NoiseAxis):
    """Timesteps 0, 1, ... of a variance-preserving schedule: alpha² is `alphas_cumprod`, sigma² the rest to 1."""

    name: str
    alphas_cumprod: Tensor
    discrete = True

    @property
    def timesteps(self) -> int:
        return len(self.alphas_cumprod)

    def log_snr(self, level: Tensor) -> Tensor:
        return torch.logit(self.alphas_cumprod)[level.cpu().long()]

    def level(self, log_snr: Tensor) -> Tensor:
        noise = -torch.logit(self.alphas_cumprod)
        between = (noise[:-1] + noise[1:]) / 2
        return torch.searchsorted(between, -_double(log_snr), right=True)

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        signal = self.alphas_cumprod[level.cpu().long()]
        return signal.sqrt(), (1 - signal).sqrt()


@dataclass(frozen=True)
class FlowAxis(NoiseAxis):
    """Rectified flow: the level is sigma in 0..1 and alpha is 1 - sigma, whatever shift a sampler walks it with."""

    name: str = "flow"
    discrete = False

    def log_snr(self, level: Tensor) -> Tensor:
        return -2 * torch.logit(_double(level))

    def level(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-_double(log_snr) / 2)

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - _double(level), _double(level)


@dataclass(frozen=True)
class EdmAxis(NoiseAxis):
    """Noise added to an unscaled signal: the level is sigma > 0 and alpha is 1 (Karras et al., arXiv 2206.00364)."""

    name: str = "edm"
    discrete = False

    def log_snr(self, level: Tensor) -> Tensor:
        return -2 * torch.log(_double(level))

    def level(self, log_snr: Tensor) -> Tensor:
        return torch.exp(-_double(log_snr) / 2)

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(level, dtype=torch.float64, device="cpu"), _double(level)


def mixed(axis: NoiseAxis, latents: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Noisy latents, in their own precision: `latents` and `noise` (B, ...), `level` (B,)."""
    alpha, sigma = _beside(axis, level, latents)
    return alpha * latents + sigma * noise


def target(prediction: Prediction, axis: NoiseAxis, latents: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """What the denoiser should give for `mixed`; shapes as there."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return latents
    if prediction == "flow":
        return noise - latents
    alpha, sigma = _beside(axis, level, latents)
    return alpha * noise - sigma * latents


def linear(first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Betas of DDPM, DiT and PixArt."""
    return torch.linspace(first, last, TIMESTEPS, dtype=torch.float64)


def scaled_linear(first: float = 0.00085, last: float = 0.012) -> Tensor:
    """Betas of Stable Diffusion and SDXL: linear in their square roots."""
    return torch.linspace(math.sqrt(first), math.sqrt(last), TIMESTEPS, dtype=torch.float64) ** 2


def cosine() -> Tensor:
    """Betas of Nichol and Dhariwal (arXiv 2102.09672, eq. 17)."""
    time = torch.arange(TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS
    signal = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - signal[1:] / signal[:-1]).clamp(max=0.999)


def signal_left(betas: Tensor) -> Tensor:
    """`alphas_cumprod` of betas."""
    return torch.cumprod(1 - betas, 0)


def zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """The schedule stretched so that its last timestep is noise alone (Lin et al., arXiv 2305.08891, algorithm 1)."""
    root = alphas_cumprod.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


_NAMED: dict[str, Callable[[], NoiseAxis]] = {
    "pixart-linear": lambda: DdpmAxis("pixart-linear", signal_left(linear())),
    "sd-scaled-linear": lambda: DdpmAxis("sd-scaled-linear", signal_left(scaled_linear())),
    "sd-zero-snr": lambda: DdpmAxis("sd-zero-snr", zero_terminal_snr(signal_left(scaled_linear()))),
    "cosine": lambda: DdpmAxis("cosine", signal_left(cosine())),
    "flow": FlowAxis,
    "edm": EdmAxis,
}
AXES = tuple(_NAMED)
"""The schedules that have a name."""


def axis_named(name: str) -> NoiseAxis:
    """One of `AXES`; BlendsetError for any other."""
    if name not in _NAMED:
        near = nearest(name, AXES)
        cure = f"did you mean '{near}'?" if near else f"there are {', '.join(AXES)}."
        raise BlendsetError(f"There is no noise schedule '{name}'; {cure}")
    return _NAMED[name]()


def axis_of(scheduler: Any) -> NoiseAxis:
    """The axis of a diffusers scheduler, of whatever sampler it is.

    The tables of a flow scheduler descend, are shifted by some samplers and not by others, and are not what a model
    is trained on: its level is sigma itself, and its shift belongs to the density (`densities.shift_of`).
    """
    if "FlowMatch" in type(scheduler).__name__ or scheduler.config.get("prediction_type") == "flow_prediction":
        return FlowAxis()
    if "sigma_data" in scheduler.config:
        return EdmAxis()
    return DdpmAxis(type(scheduler).__name__, scheduler.alphas_cumprod.double().cpu())


def prediction_of(scheduler: Any) -> Prediction:
    """What the denoiser of a diffusers scheduler predicts."""
    return "flow" if isinstance(axis_of(scheduler), FlowAxis) else scheduler.config.prediction_type


def _double(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float64)


def _beside(axis: NoiseAxis, level: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma with the precision and device of latents, to be multiplied with them."""
    alpha, sigma = axis.alpha_sigma(level)
    shape = (-1, *[1] * (latents.ndim - 1))
    return alpha.to(latents).reshape(shape), sigma.to(latents).reshape(shape)

# SPDX-License-Identifier: Apache-2.0
"""Noise levels of every schedule on one axis, the log signal-to-noise ratio ln(alpha²/sigma²).

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
from blendset.options import find_nearest

Prediction = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What a denoiser is trained to predict; the first three are diffusers' own names."""
TIMESTEPS = 1000
"""How many every named DDPM schedule has."""


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
        """Alpha and sigma, which signal and noise are multiplied by; any shape."""


@dataclass(frozen=True, eq=False)
class DdpmAxis(NoiseAxis):
    """Timesteps 0, 1, ... of a variance-preserving schedule: alpha² is `alphas_cumprod`, sigma² the rest to 1."""

    name: str
    alphas_cumprod: Tensor
    discrete = True

    @property
    def timesteps(self) -> int:
        """How many timesteps the schedule has."""
        return len(self.alphas_cumprod)

    def log_snr(self, level: Tensor) -> Tensor:
        """The log-SNR of levels; any shape."""
        return torch.logit(self.alphas_cumprod)[level.cpu().long()]

    def level(self, log_snr: Tensor) -> Tensor:
        """The level of this log-SNR, the nearest timestep; any shape."""
        noise = -torch.logit(self.alphas_cumprod)
        between = (noise[:-1] + noise[1:]) / 2
        return torch.searchsorted(between, -_to_double(log_snr), right=True)

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma of levels; any shape."""
        signal = self.alphas_cumprod[level.cpu().long()]
        return signal.sqrt(), (1 - signal).sqrt()


@dataclass(frozen=True)
class FlowAxis(NoiseAxis):
    """Rectified flow: the level is sigma in 0..1 and alpha is 1 - sigma, whatever the shift of a sampler."""

    name: str = "flow"
    discrete = False

    def log_snr(self, level: Tensor) -> Tensor:
        """The log-SNR of levels; any shape."""
        return -2 * torch.logit(_to_double(level))

    def level(self, log_snr: Tensor) -> Tensor:
        """The level of this log-SNR; any shape."""
        return torch.sigmoid(-_to_double(log_snr) / 2)

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma of levels; any shape."""
        return 1 - _to_double(level), _to_double(level)


@dataclass(frozen=True)
class EdmAxis(NoiseAxis):
    """Noise added to an unscaled signal: the level is sigma > 0 and alpha is 1 (Karras et al., arXiv 2206.00364)."""

    name: str = "edm"
    discrete = False

    def log_snr(self, level: Tensor) -> Tensor:
        """The log-SNR of levels; any shape."""
        return -2 * torch.log(_to_double(level))

    def level(self, log_snr: Tensor) -> Tensor:
        """The level of this log-SNR; any shape."""
        return torch.exp(-_to_double(log_snr) / 2)

    def alpha_sigma(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """Alpha and sigma of levels; any shape."""
        return torch.ones_like(level, dtype=torch.float64, device="cpu"), _to_double(level)


def add_noise(axis: NoiseAxis, latents: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """Noisy latents (B, ...) in the dtype of `latents`: alpha latents + sigma noise, both (B, ...), at levels (B,)."""
    alpha, sigma = _broadcast_alpha_sigma(axis, level, latents)
    return alpha * latents + sigma * noise


def compute_target(prediction: Prediction, axis: NoiseAxis, latents: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """What the denoiser should predict for what `add_noise` gives; shapes as there."""
    if prediction == "epsilon":
        return noise
    if prediction == "sample":
        return latents
    if prediction == "flow":
        return noise - latents
    alpha, sigma = _broadcast_alpha_sigma(axis, level, latents)
    return alpha * noise - sigma * latents


def linear_betas(first: float = 1e-4, last: float = 0.02) -> Tensor:
    """Betas (TIMESTEPS,) of DDPM, DiT and PixArt."""
    return torch.linspace(first, last, TIMESTEPS, dtype=torch.float64)


def scaled_linear_betas(first: float = 0.00085, last: float = 0.012) -> Tensor:
    """Betas (TIMESTEPS,) of Stable Diffusion and SDXL: linear in their square roots."""
    return torch.linspace(math.sqrt(first), math.sqrt(last), TIMESTEPS, dtype=torch.float64) ** 2


def cosine_betas() -> Tensor:
    """Betas (TIMESTEPS,) of Nichol and Dhariwal (arXiv 2102.09672, eq. 17)."""
    time = torch.arange(TIMESTEPS + 1, dtype=torch.float64) / TIMESTEPS
    signal = torch.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - signal[1:] / signal[:-1]).clamp(max=0.999)


def alphas_cumprod(betas: Tensor) -> Tensor:
    """Diffusers' `alphas_cumprod`, the alpha² of each timestep, of betas (T,)."""
    return torch.cumprod(1 - betas, 0)


def rescale_zero_terminal_snr(alphas_cumprod: Tensor) -> Tensor:
    """`alphas_cumprod` (T,) rescaled so that the last timestep is pure noise (Lin et al., arXiv 2305.08891, alg. 1)."""
    root = alphas_cumprod.sqrt()
    return ((root - root[-1]) * root[0] / (root[0] - root[-1])) ** 2


_AXIS_MAKERS: dict[str, Callable[[], NoiseAxis]] = {
    "pixart-linear": lambda: DdpmAxis("pixart-linear", alphas_cumprod(linear_betas())),
    "sd-scaled-linear": lambda: DdpmAxis("sd-scaled-linear", alphas_cumprod(scaled_linear_betas())),
    "sd-zero-snr": lambda: DdpmAxis("sd-zero-snr", rescale_zero_terminal_snr(alphas_cumprod(scaled_linear_betas()))),
    "cosine": lambda: DdpmAxis("cosine", alphas_cumprod(cosine_betas())),
    "flow": FlowAxis,
    "edm": EdmAxis,
}
AXES = tuple(_AXIS_MAKERS)
"""The names of schedules."""


def axis_from_name(name: str) -> NoiseAxis:
    """The axis of a schedule in `AXES`; BlendsetError for any other name."""
    if name not in _AXIS_MAKERS:
        near = find_nearest(name, AXES)
        cure = f"did you mean '{near}'?" if near else f"there are {', '.join(AXES)}."
        raise BlendsetError(f"There is no noise schedule '{name}'; {cure}")
    return _AXIS_MAKERS[name]()


def axis_from_scheduler(scheduler: Any) -> NoiseAxis:
    """The noise axis of a diffusers scheduler, whichever sampler it is.

    A flow scheduler's tables are not used: they descend, and some samplers shift them. The level is sigma itself, and
    the shift belongs to the density (`densities.shift_from_scheduler`).
    """
    if "FlowMatch" in type(scheduler).__name__ or scheduler.config.get("prediction_type") == "flow_prediction":
        return FlowAxis()
    if "sigma_data" in scheduler.config:
        return EdmAxis()
    return DdpmAxis(type(scheduler).__name__, scheduler.alphas_cumprod.double().cpu())


def prediction_from_scheduler(scheduler: Any) -> Prediction:
    """What a denoiser predicts, by its diffusers scheduler."""
    return "flow" if isinstance(axis_from_scheduler(scheduler), FlowAxis) else scheduler.config.prediction_type


def _to_double(values: Tensor) -> Tensor:
    return values.to("cpu", torch.float64)


def _broadcast_alpha_sigma(axis: NoiseAxis, level: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Alpha and sigma (B, 1, ...) with the dtype and device of latents (B, ...)."""
    alpha, sigma = axis.alpha_sigma(level)
    shape = (-1, *[1] * (latents.ndim - 1))
    return alpha.to(latents).reshape(shape), sigma.to(latents).reshape(shape)

# SPDX-License-Identifier: Apache-2.0
"""Base densities: how often a family trains each noise level when no source is asked.

A density is read through its quantiles: the fraction of its mass with less noise, 0..1, names a level, and is uniform.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.training.noise import NoiseAxis

UNIFORM, LOGIT_NORMAL, LOG_NORMAL = "uniform", "logit-normal", "log-normal"
BASES = (UNIFORM, LOGIT_NORMAL, LOG_NORMAL)
_BELL = {LOGIT_NORMAL: (0.0, 1.0), LOG_NORMAL: (-1.2, 1.2)}
"""Mean and deviation of ln(sigma/alpha): SD3's (arXiv 2403.03206, 3.1) and EDM's (arXiv 2206.00364, table 1)."""
_FINEST = 1e-12
"""Fractions keep this far from 0 and 1, where levels would be infinite."""


class BaseDensity(ABC):
    """A density over the levels of an axis. Fractions grow with the noise."""

    axis: NoiseAxis

    @abstractmethod
    def cells(self) -> Tensor:
        """Fractions that cut the axis into cells, ascending from 0 to 1; of timesteps, one cell each."""

    @abstractmethod
    def fraction(self, log_snr: Tensor) -> Tensor:
        """The mass with less noise than this, continuous."""

    @abstractmethod
    def cut(self, log_snr: Tensor) -> Tensor:
        """`fraction`, moved to the nearest place between two levels where levels are discrete."""

    @abstractmethod
    def log_snr(self, fraction: Tensor) -> Tensor:
        """The inverse of `fraction`."""

    @abstractmethod
    def level(self, fraction: Tensor) -> Tensor:
        """The level there: a timestep (int64) or a sigma (float64)."""


@dataclass(frozen=True, eq=False)
class SmoothDensity(BaseDensity):
    """Of sigmas. `below` is the distribution of x = ln(sigma/alpha) when it is centred, `at` the inverse."""

    axis: NoiseAxis
    below: Callable[[Tensor], Tensor]
    at: Callable[[Tensor], Tensor]
    mean: float
    deviation: float

    def cells(self) -> Tensor:
        log_snr = torch.linspace(30, -30, 3001, dtype=torch.float64)
        return ascending(torch.tensor([0.0, 1.0], dtype=torch.float64), self.fraction(log_snr))

    def fraction(self, log_snr: Tensor) -> Tensor:
        return self.below((-log_snr / 2 - self.mean) / self.deviation)

    def cut(self, log_snr: Tensor) -> Tensor:
        return self.fraction(log_snr)

    def log_snr(self, fraction: Tensor) -> Tensor:
        return -2 * (self.mean + self.deviation * self.at(fraction))

    def level(self, fraction: Tensor) -> Tensor:
        return self.axis.level(self.log_snr(fraction.clamp(_FINEST, 1 - _FINEST)))


@dataclass(frozen=True, eq=False)
class SteppedDensity(BaseDensity):
    """Of timesteps: `edges` (T + 1,) are -log-SNR half way between them, `below` (T + 1,) the mass before each."""

    axis: NoiseAxis
    edges: Tensor
    below: Tensor

    def cells(self) -> Tensor:
        return self.below

    def fraction(self, log_snr: Tensor) -> Tensor:
        return interpolated(-log_snr, self.edges, self.below)

    def cut(self, log_snr: Tensor) -> Tensor:
        return self.below[torch.searchsorted(self.edges[1:], -log_snr, right=True)]

    def log_snr(self, fraction: Tensor) -> Tensor:
        return -interpolated(fraction, self.below, self.edges)

    def level(self, fraction: Tensor) -> Tensor:
        return (torch.searchsorted(self.below, fraction, right=True) - 1).clamp(0, len(self.below) - 2)


def base_density(
    name: str, axis: NoiseAxis, shift: float = 1.0, mean: float | None = None, deviation: float | None = None
) -> BaseDensity:
    """One of `BASES` on an axis: uniform over timesteps or flow sigmas, or normal in ln(sigma/alpha).

    A shift s, which moves flow's sigma to s sigma/(1 + (s - 1) sigma), adds ln s to ln(sigma/alpha) whatever the axis.
    """
    if name == UNIFORM and axis.discrete:
        if shift != 1:
            raise BlendsetError(f"The uniform density of {axis.name}'s timesteps takes no shift; leave shift at 1.")
        edges = _edges(axis)
        return SteppedDensity(axis, edges, torch.linspace(0, 1, len(edges), dtype=torch.float64))
    if name == UNIFORM and axis.name == "edm":
        raise BlendsetError("EDM's sigmas have no end and so no uniform density; choose base = 'log-normal'.")
    usual = _BELL.get(name, (0.0, 1.0))
    centre = (usual[0] if mean is None else mean) + math.log(shift)
    spread = usual[1] if deviation is None else deviation
    below, at = (torch.sigmoid, torch.logit) if name == UNIFORM else (torch.special.ndtr, torch.special.ndtri)
    smooth = SmoothDensity(axis, below, at, centre, spread)
    return _stepped(smooth) if axis.discrete else smooth


def shift_of(scheduler: Any, tokens: int) -> float:
    """The shift that a diffusers flow scheduler samples with, 1 for any other; `tokens` is the length of the image.

    FLUX's is dynamic: ln(shift) is linear in the tokens.
    """
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        return float(config.get("shift") or 1.0)
    rise = (config["max_shift"] - config["base_shift"]) / (config["max_image_seq_len"] - config["base_image_seq_len"])
    return math.exp(config["base_shift"] + rise * (tokens - config["base_image_seq_len"]))


def interpolated(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """y at `at`, linear between the points (x ascending, y), at its ends beyond them; of steps in y, the upper side."""
    cell = (torch.searchsorted(x, at, right=True) - 1).clamp(0, len(x) - 2)
    part = ((at - x[cell]) / (x[cell + 1] - x[cell])).clamp(0, 1)
    return y[cell] + part * (y[cell + 1] - y[cell])


def ascending(*values: Tensor) -> Tensor:
    """All the values, each once."""
    once: Tensor = torch.unique(torch.cat(values))
    return once


def _edges(axis: NoiseAxis) -> Tensor:
    """-log-SNR half way between an axis' timesteps, and as far beyond the first and the last; finite."""
    noise = -axis.log_snr(torch.arange(_timesteps(axis)))
    noise = torch.nan_to_num(noise, posinf=float(2 * noise[-2] - noise[-3]))
    ends = torch.stack([2 * noise[0] - noise[1], 2 * noise[-1] - noise[-2]])
    padded = torch.cat([ends[:1], noise, ends[1:]])
    return (padded[:-1] + padded[1:]) / 2


def _timesteps(axis: NoiseAxis) -> int:
    return int(axis.level(torch.tensor(-torch.inf))) + 1


def _stepped(smooth: SmoothDensity) -> SteppedDensity:
    """The mass of a smooth density that is nearest to each timestep."""
    edges = _edges(smooth.axis)
    below = smooth.fraction(-edges)
    return SteppedDensity(smooth.axis, edges, (below - below[0]) / (below[-1] - below[0]))

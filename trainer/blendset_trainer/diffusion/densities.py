# SPDX-License-Identifier: Apache-2.0
"""Base densities: how often a family trains each noise level when no source is asked.

A density is read through its quantiles: the fraction of its mass with less noise, 0..1, names a level, and is uniform.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.noise import NoiseAxis

UNIFORM, LOGIT_NORMAL, LOG_NORMAL = "uniform", "logit-normal", "log-normal"
BASES = (UNIFORM, LOGIT_NORMAL, LOG_NORMAL)
_BELL = {LOGIT_NORMAL: (0.0, 1.0), LOG_NORMAL: (-1.2, 1.2)}
"""Mean and deviation of ln(sigma/alpha): SD3's (arXiv 2403.03206, 3.1) and EDM's (arXiv 2206.00364, table 1)."""


@dataclass(frozen=True, eq=False)
class BaseDensity:
    """A density over the levels of an axis, as a table: `below` (N + 1,) is the mass with less noise than `edges`.

    `edges` are -log-SNR; of timesteps, those half way between one and the next, so that each has one cell. Reading the
    table takes nothing but the four operations, whose results do not depend on what else is computed beside them.
    """

    axis: NoiseAxis
    edges: Tensor
    below: Tensor

    def fraction(self, log_snr: Tensor) -> Tensor:
        """The mass with less noise than this."""
        return interpolated(-log_snr, self.edges, self.below)

    def log_snr(self, fraction: Tensor) -> Tensor:
        """The inverse of `fraction`."""
        return -interpolated(fraction, self.below, self.edges)

    def cut(self, log_snr: Tensor) -> Tensor:
        """`fraction`, of timesteps moved to the nearest edge between two cells."""
        if self.axis.discrete:
            return self.below[torch.searchsorted(self.edges[1:], -log_snr, right=True)]
        return self.fraction(log_snr)

    def level(self, fraction: Tensor) -> Tensor:
        """The timestep (int64) or the sigma (float64) at which this much of the mass has less noise."""
        if self.axis.discrete:
            return (torch.searchsorted(self.below, fraction, right=True) - 1).clamp(0, len(self.below) - 2)
        return interpolated(fraction, self.below, self._levels)

    @cached_property
    def _levels(self) -> Tensor:
        return self.axis.level(-self.edges)

    def with_edges(self, log_snr: Tensor) -> BaseDensity:
        """The same density with edges there too, exact where levels are continuous; timesteps have all they can."""
        if self.axis.discrete:
            return self
        inside = log_snr[(-log_snr > self.edges[0]) & (-log_snr < self.edges[-1])]
        edges = ascending(self.edges, -inside)
        return BaseDensity(self.axis, edges, interpolated(edges, self.edges, self.below))


def base_density(
    name: str, axis: NoiseAxis, shift: float = 1.0, mean: float | None = None, deviation: float | None = None
) -> BaseDensity:
    """One of `BASES` on an axis: uniform over timesteps or flow sigmas, or normal in ln(sigma/alpha).

    A shift s, which moves flow's sigma to s sigma/(1 + (s - 1) sigma), adds ln s to ln(sigma/alpha) whatever the axis.
    """
    edges = _between_timesteps(axis) if axis.discrete else torch.linspace(-30, 30, 6001, dtype=torch.float64)
    if name == UNIFORM and axis.discrete:
        if shift != 1:
            raise BlendsetError(f"The uniform density of {axis.name}'s timesteps takes no shift; leave shift at 1.")
        return BaseDensity(axis, edges, torch.linspace(0, 1, len(edges), dtype=torch.float64))
    if name == UNIFORM and axis.name == "edm":
        raise BlendsetError("EDM's sigmas have no end and so no uniform density; choose base = 'log-normal'.")
    usual = _BELL.get(name, (0.0, 1.0))  # a uniform flow sigma is logistic in ln(sigma/alpha)
    centre = (usual[0] if mean is None else mean) + math.log(shift)
    place = (edges / 2 - centre) / (usual[1] if deviation is None else deviation)
    below = torch.sigmoid(place) if name == UNIFORM else torch.special.ndtr(place)
    rising = torch.cat([below.diff() > 0, torch.tensor([True])]) | torch.tensor(axis.discrete)
    below, edges = below[rising], edges[rising]
    return BaseDensity(axis, edges, (below - below[0]) / (below[-1] - below[0]))


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


def _between_timesteps(axis: NoiseAxis) -> Tensor:
    """-log-SNR half way between an axis' timesteps, and as far beyond the first and the last; finite."""
    last = int(axis.level(torch.tensor(-torch.inf)))
    noise = -axis.log_snr(torch.arange(last + 1))
    noise = torch.nan_to_num(noise, posinf=float(2 * noise[-2] - noise[-3]))
    ends = torch.stack([2 * noise[0] - noise[1], 2 * noise[-1] - noise[-2]])
    padded = torch.cat([ends[:1], noise, ends[1:]])
    return (padded[:-1] + padded[1:]) / 2

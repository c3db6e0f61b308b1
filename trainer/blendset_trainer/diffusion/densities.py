# SPDX-License-Identifier: Apache-2.0
"""Base densities: how often a model family trains each noise level, whatever the sources.

Levels are named by the fraction of the density's mass with less noise, 0..1, which is uniform.
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
    """A density over the levels of an axis, as a table: `cumulative` (N + 1,) is the mass with less noise than `edges`.

    `edges` (N + 1,) are -log-SNR, ascending; those of timesteps lie half way between one and the next, so that each
    timestep has one cell. The table is read by additions, multiplications and divisions alone, whose results do not
    depend on the rest of the batch.
    """

    axis: NoiseAxis
    edges: Tensor
    cumulative: Tensor

    def cdf(self, log_snr: Tensor) -> Tensor:
        """The mass with less noise than this log-SNR; any shape."""
        return interpolate(-log_snr, self.edges, self.cumulative)

    def inverse_cdf(self, fraction: Tensor) -> Tensor:
        """The log-SNR with this mass below it: the inverse of `cdf`; any shape."""
        return -interpolate(fraction, self.cumulative, self.edges)

    def cdf_at_edge(self, log_snr: Tensor) -> Tensor:
        """The mass with less noise, as `cdf`; of timesteps, at the nearest edge between two cells; any shape."""
        if self.axis.discrete:
            return self.cumulative[torch.searchsorted(self.edges[1:], -log_snr, right=True)]
        return self.cdf(log_snr)

    def quantile(self, fraction: Tensor) -> Tensor:
        """The timestep (int64) or the sigma (float64) at which this much of the mass has less noise; any shape."""
        if self.axis.discrete:
            return (torch.searchsorted(self.cumulative, fraction, right=True) - 1).clamp(0, len(self.cumulative) - 2)
        return interpolate(fraction, self.cumulative, self._levels)

    @cached_property
    def cell_log_snr(self) -> Tensor:
        """The log-SNR of the level in the middle of each cell, (N,)."""
        return self.axis.log_snr(self.quantile((self.cumulative[:-1] + self.cumulative[1:]) / 2))

    @cached_property
    def _levels(self) -> Tensor:
        return self.axis.level(-self.edges)

    def with_edges(self, log_snr: Tensor) -> BaseDensity:
        """The same density with edges at `log_snr` (N,) too; timesteps stay as they are, for they have all edges."""
        if self.axis.discrete:
            return self
        inside = log_snr[(-log_snr > self.edges[0]) & (-log_snr < self.edges[-1])]
        edges = sort_unique(self.edges, -inside)
        return BaseDensity(self.axis, edges, interpolate(edges, self.edges, self.cumulative))


def make_base_density(
    name: str, axis: NoiseAxis, shift: float = 1.0, mean: float | None = None, deviation: float | None = None
) -> BaseDensity:
    """The density `name` of `BASES` on an axis: uniform over timesteps or flow sigmas, or normal in ln(sigma/alpha).

    A shift s, which moves flow's sigma to s sigma/(1 + (s - 1) sigma), adds ln s to ln(sigma/alpha) whatever the axis.
    """
    edges = _find_timestep_edges(axis) if axis.discrete else torch.linspace(-30, 30, 6001, dtype=torch.float64)
    if name == UNIFORM and axis.discrete:
        if shift != 1:
            raise BlendsetError(f"The uniform density of {axis.name}'s timesteps takes no shift; leave shift at 1.")
        return BaseDensity(axis, edges, torch.linspace(0, 1, len(edges), dtype=torch.float64))
    if name == UNIFORM and axis.name == "edm":
        raise BlendsetError("EDM's sigmas have no end and so no uniform density; choose base = 'log-normal'.")
    bell = _BELL.get(name, (0.0, 1.0))  # a uniform flow sigma is logistic in ln(sigma/alpha)
    centre = (bell[0] if mean is None else mean) + math.log(shift)
    standardized = (edges / 2 - centre) / (bell[1] if deviation is None else deviation)
    cumulative = torch.sigmoid(standardized) if name == UNIFORM else torch.special.ndtr(standardized)
    rising = torch.cat([cumulative.diff() > 0, torch.tensor([True])]) | torch.tensor(axis.discrete)
    cumulative, edges = cumulative[rising], edges[rising]
    return BaseDensity(axis, edges, (cumulative - cumulative[0]) / (cumulative[-1] - cumulative[0]))


def shift_from_scheduler(scheduler: Any, tokens: int) -> float:
    """The shift that a diffusers flow scheduler samples with, 1 for any other scheduler.

    FLUX's shift is dynamic: its logarithm is linear in `tokens`, the number of tokens of an image.
    """
    config = scheduler.config
    if not config.get("use_dynamic_shifting"):
        return float(config.get("shift") or 1.0)
    slope = (config["max_shift"] - config["base_shift"]) / (config["max_image_seq_len"] - config["base_image_seq_len"])
    return math.exp(config["base_shift"] + slope * (tokens - config["base_image_seq_len"]))


def interpolate(at: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """y at `at` (any shape): linear between points (N,) of ascending x, constant beyond, the upper side of steps."""
    cell = (torch.searchsorted(x, at, right=True) - 1).clamp(0, len(x) - 2)
    weight = ((at - x[cell]) / (x[cell + 1] - x[cell])).clamp(0, 1)
    return y[cell] + weight * (y[cell + 1] - y[cell])


def sort_unique(*values: Tensor) -> Tensor:
    """All values of tensors (N,) in ascending order, each once, (M,)."""
    unique: Tensor = torch.unique(torch.cat(values))
    return unique


def _find_timestep_edges(axis: NoiseAxis) -> Tensor:
    """The -log-SNR half way between timesteps, and as far beyond the first and the last; finite, (T + 1,)."""
    last = int(axis.level(torch.tensor(-torch.inf)))
    noise = -axis.log_snr(torch.arange(last + 1))
    noise = torch.nan_to_num(noise, posinf=float(2 * noise[-2] - noise[-3]))
    ends = torch.stack([2 * noise[0] - noise[1], 2 * noise[-1] - noise[-2]])
    padded = torch.cat([ends[:1], noise, ends[1:]])
    return (padded[:-1] + padded[1:]) / 2

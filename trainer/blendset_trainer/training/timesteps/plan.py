# SPDX-License-Identifier: Apache-2.0
"""Which source trains which noise levels, and how often: Bootstrap3D's training timestep reschedule (arXiv 2406.00093)
as one table of mass over sources and cells of the noise axis, from which shares and draws are derived.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.options import find_nearest
from blendset_trainer.diffusion.densities import BaseDensity, interpolate
from blendset_trainer.diffusion.noise import Prediction
from blendset_trainer.training.timesteps.bands import SourcePolicy, compute_source_weights, find_cuts, list_boundaries

Weighting = Callable[[Tensor], Tensor]
"""From log-SNR to the weight of the loss, up to a factor."""
SPARSE, DENSE, LEAST_WARNED_MASS = 0.2, 5.0, 0.001
"""Densities below and above this many times the base density are warned about, where they have at least this mass."""


@dataclass(frozen=True, eq=False)
class TimestepPlan:
    """How much each source trains each noise level.

    `mass` (sources, N) is the share of all training in each cell of the base density; it sums to 1. `cuts` (bands + 1,)
    are the fractions of the base between which losses are reported as bands.
    """

    sources: tuple[str, ...]
    base: BaseDensity
    mass: Tensor
    cuts: Tensor
    weighting: Weighting

    def compute_shares(self) -> dict[str, float]:
        """The share of all training by source; sums to 1."""
        return dict(zip(self.sources, self.mass.sum(1).tolist(), strict=True))

    def pdf(self, source: str) -> Tensor:
        """The probability of each cell for a source, (N,)."""
        mass = self.mass[self._find_row(source)]
        return mass / mass.sum()

    def marginal(self) -> Tensor:
        """The probability of each cell over all sources, (N,)."""
        return self.mass.sum(0)

    def responsibility(self) -> Tensor:
        """The probability of each source given the cell, (sources, N); nan where nothing is trained."""
        return self.mass / self.marginal()

    @property
    def edges(self) -> Tensor:
        """The fractions of the base that cells lie between, (N + 1,)."""
        return self.base.cumulative

    @cached_property
    def log_snr(self) -> Tensor:
        """The log-SNR of each cell, (N,)."""
        return self.base.cell_log_snr

    def sample_levels(
        self, source: str, u: Tensor, lowest: Tensor | None = None, highest: Tensor | None = None
    ) -> Tensor:
        """Levels (B,) of a source's density by its inverse, at u (B,) in [0, 1); each from its own u and bounds.

        `lowest` and `highest` (B,) bound single samples by log-SNR (nan is no bound), within their source's bands.
        BlendsetError where nothing is left of those.
        """
        cumulative = self._cumulative[self._find_row(source)]
        first, last = _bound_fractions(self.base, highest, torch.inf), _bound_fractions(self.base, lowest, -torch.inf)
        least, most = interpolate(first, self.edges, cumulative), interpolate(last, self.edges, cumulative)
        if bool((most <= least).any()):
            raise _nothing_left_error(source, most <= least, lowest, highest)
        at = _clamp_below(most, least + u.double() * (most - least))
        cell = torch.searchsorted(cumulative, at, right=True) - 1
        low, high = self.edges[cell], self.edges[cell + 1]
        fraction = low + (at - cumulative[cell]) / (cumulative[cell + 1] - cumulative[cell]) * (high - low)
        return self.base.quantile(_clamp_below(high.minimum(last), fraction.maximum(first)))

    def compute_loss_weights(self, source: str, level: Tensor) -> Tensor:
        """Weights (B,) of the loss at levels (B,). Their mean over the source's density is 1, so no share changes."""
        return self.weighting(self.base.axis.log_snr(level)) / self._mean_loss_weights[self._find_row(source)]

    def compute_effective_mass(self) -> Tensor:
        """The share of each source and band in the weighted loss, (sources, bands); sums to 1."""
        return self.sum_by_band(self.mass * self.weighting(self.log_snr) / self._mean_loss_weights[:, None])

    def sum_by_band(self, values: Tensor) -> Tensor:
        """Sums over the cells of each band: (..., N) to (..., bands)."""
        band = torch.searchsorted(self.cuts[1:-1], self.edges[:-1], right=True)
        return values.new_zeros(*values.shape[:-1], len(self.cuts) - 1).index_add_(-1, band, values)

    def find_bands(self, level: Tensor) -> Tensor:
        """The band of each level, an index into `band_names`; any shape."""
        return torch.searchsorted(self.cuts[1:-1], self.base.cdf_at_edge(self.base.axis.log_snr(level)), right=True)

    @cached_property
    def band_names(self) -> tuple[str, ...]:
        """The bands named by the levels of the axis, cleanest first."""
        return tuple(_format_levels(self.base, low, high) for low, high in pairwise(self.cuts.tolist()))

    def list_warnings(self) -> Iterator[str]:
        """A sentence for each stretch of levels that is trained much more or less often than in the base density."""
        base, marginal = self.edges.diff(), self.marginal()
        for start, stop in (*_find_runs(marginal < SPARSE * base), *_find_runs(marginal > DENSE * base)):
            usual, here = float(base[start:stop].sum()), float(marginal[start:stop].sum())
            if max(usual, here) >= LEAST_WARNED_MASS:
                where = _format_levels(self.base, *self.edges[[start, stop]].tolist())
                often = f"trained {here / usual:.2g} times as often as the model's own density would"
                yield f"{where} is {often if here else 'never trained'}."

    @cached_property
    def _cumulative(self) -> Tensor:
        """The probability before each edge, (sources, N + 1), from 0 to exactly 1."""
        total = torch.cumsum(self.mass, 1)
        return torch.cat([torch.zeros_like(total[:, :1]), total / total[:, -1:]], 1)

    @cached_property
    def _mean_loss_weights(self) -> Tensor:
        """The mean of the weighting over each source's density, (sources,)."""
        return (self.mass * self.weighting(self.log_snr)).sum(1) / self.mass.sum(1)

    def _find_row(self, source: str) -> int:
        """The number of a source; BlendsetError for one that the plan does not have."""
        if source not in self.sources:
            raise unknown_source_error(source, self.sources)
        return self.sources.index(source)


def make_timestep_plan(
    policies: Sequence[SourcePolicy],
    base: BaseDensity,
    *,
    shares: Mapping[str, float] | None = None,
    floor: float = 0.0,
    weighting: Weighting = torch.ones_like,
) -> TimestepPlan:
    """The plan of sources. Without `shares`, each level has the base's mass, split by the weights of the sources there.

    With `shares` (free mode) each source has a density of its own, and the marginal follows from these.
    `floor` is the least mass of every band between boundaries, taken from the others in proportion.
    BlendsetError where a source can train nothing or, without `shares`, where nobody trains a level.
    """
    sources = tuple(policy.source for policy in policies)
    base = base.with_edges(list_boundaries(policies))
    cuts = find_cuts(policies, base)
    weights = torch.stack([compute_source_weights(policy, base) for policy in policies])
    mass = _apply_floor(base.cumulative, cuts, floor)
    for start, stop in _find_runs(weights.sum(0) == 0) if shares is None else ():
        where = _format_levels(base, *base.cumulative[[start, stop]].tolist())
        raise BlendsetError(f"No source trains {where}; give one a band there, or set mode = 'free' to leave it out.")
    table = mass * (weights / weights.sum(0) if shares is None else weights)
    for source, total in zip(sources, table.sum(1).tolist(), strict=True):
        if not total > 0:
            raise BlendsetError(f"Source '{source}' can train no noise level; give its bands weight and room.")
    if shares is not None:
        share = torch.tensor([shares[source] for source in sources], dtype=torch.float64)
        table *= (share / share.sum() / table.sum(1))[:, None]
    return TimestepPlan(sources, base, table, cuts, weighting)


def make_min_snr_weighting(prediction: Prediction, gamma: float) -> Weighting:
    """Min-SNR-gamma (arXiv 2303.09556): min(SNR, gamma) on the error in x0, as a weight on the error of the prediction.

    That error is sigma/alpha times the one in epsilon, sigma times the one in v or in flow.
    """

    def compute_weight(log_snr: Tensor) -> Tensor:
        snr = log_snr.exp()
        if prediction == "epsilon":
            return (gamma / snr).clamp(max=1)
        capped = snr.clamp(max=gamma)
        if prediction == "sample":
            return capped
        return capped / (1 + snr if prediction == "v_prediction" else (1 + snr.sqrt()) ** 2)

    return compute_weight


def unknown_source_error(source: str, known: Sequence[str]) -> BlendsetError:
    """The error for a source that is not among those that are known."""
    near = find_nearest(source, known)
    cure = f"did you mean '{near}'?" if near else f"there are {', '.join(known)}."
    return BlendsetError(f"There is no source '{source}'; {cure}")


def _apply_floor(edges: Tensor, cuts: Tensor, floor: float) -> Tensor:
    """The mass of cells, (N,), raised so that no band between cuts has less than `floor`."""
    band = torch.searchsorted(cuts[1:-1], edges[:-1], right=True)
    mass = cuts.diff()
    if floor * len(mass) > 1:
        raise BlendsetError(f"A floor of {floor:g} for each of {len(mass)} bands is more than there is; lower it.")
    low = torch.zeros_like(mass, dtype=torch.bool)
    for _ in mass:  # a band that gives mass away may fall to the floor itself
        raised = torch.where(low, floor, mass * (1 - floor * low.sum()) / mass[~low].sum())
        low |= raised < floor
    return edges.diff() * (raised / mass)[band]


def _format_levels(base: BaseDensity, low: float, high: float) -> str:
    """The name of the levels between two fractions, in the words of the axis."""
    ends = torch.tensor([low, high], dtype=torch.float64)
    if base.axis.discrete:
        first, last = base.quantile(torch.stack([ends[0], _clamp_below(ends[1], ends[1])])).tolist()
        return f"t {first}-{last}"
    least, most = base.quantile(ends).tolist()
    if low > 0 and high < 1:
        return f"sigma {least:.3g}-{most:.3g}"
    return f"sigma below {most:.3g}" if high < 1 else f"sigma above {least:.3g}" if low > 0 else "every sigma"


def _find_runs(marked: Tensor) -> Iterator[tuple[int, int]]:
    """The first cell and the end of each stretch of marked cells (N,)."""
    padded = torch.cat([torch.zeros(1), marked.double(), torch.zeros(1)]).diff()
    starts, stops = (padded > 0).nonzero()[:, 0].tolist(), (padded < 0).nonzero()[:, 0].tolist()
    return zip(starts, stops, strict=True)


def _bound_fractions(base: BaseDensity, bound: Tensor | None, none: float) -> Tensor:
    """Samples' bounds in log-SNR as fractions, (B,); `none`, for all, where there is no bound."""
    log_snr = torch.tensor([none]) if bound is None else bound.nan_to_num(nan=none, posinf=torch.inf, neginf=-torch.inf)
    return base.cdf_at_edge(log_snr.double())


def _clamp_below(end: Tensor, value: Tensor) -> Tensor:
    """The values, clamped to stay below the end."""
    return value.minimum(torch.nextafter(end, torch.zeros_like(end)))


def _nothing_left_error(source: str, empty: Tensor, lowest: Tensor | None, highest: Tensor | None) -> BlendsetError:
    bounds = [(word, bound) for word, bound in (("above", lowest), ("below", highest)) if bound is not None]
    bounded = " and ".join(f"{word} {float(bound[empty][0]):.4g}" for word, bound in bounds)
    return BlendsetError(
        f"A sample of source '{source}' may train log-SNR {bounded} only, where the source has no band; "
        "leave the sample out, or widen its bounds or the bands."
    )

# SPDX-License-Identifier: Apache-2.0
"""Intervals of means, of their differences, and of statistics of whole sets, over units that were sampled one by one.

A unit is what another draw would replace: a prompt, a subject, a scene. Pictures of one unit are averaged before they
come here. Means have Student's intervals, and differences of sets without common units Welch's: over 4,000 draws of
normal, exponential and three-valued units they hold the truth of a difference in 94.8 to 95.8 % (100 units) and 94.5 to
95.3 % (20 units), where the BCa bootstrap does in 94.4 to 96.4 % and 92.1 to 97.0 %.

Statistics of whole sets, such as distances, have jackknife intervals over groups of units, for a resample would hold
pictures twice, which such statistics take for agreement. The jackknife counts twice what pairs of units add to the
variance; that is taken out (Efron and Stein 1981, doi 10.1214/aos/1176345462), but never more than half, which is what
a statistic of nothing but pairs would need.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from blendset.errors import BlendsetError
from blendset_trainer.evaluation.statistics.estimates import CONFIDENCE, Estimate

GROUPS = 50
"""Of the jackknife, where there are as many units."""
PAIRS = 50
"""Of its groups, drawn at random, that are left out at once."""
Values = NDArray[np.float64]


def estimate_mean(values: Values, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of values (N,), one per unit; BlendsetError for fewer than two, or for one that is no number."""
    values = _check(values)
    return Estimate(float(values.mean()), *_bound_mean(values, confidence), len(values))


def estimate_paired(values: Values, others: Values, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of `values` - `others`, both (N,) over the same units in the same order.

    Raises BlendsetError where they are of different lengths, for fewer than two, or one that is no number.
    """
    if len(values) != len(others):
        raise BlendsetError(f"{len(values)} units cannot be paired with {len(others)}; give the same units to both.")
    differences = _check(values) - _check(others)
    low, high = _bound_mean(differences, confidence)
    return Estimate(
        float(differences.mean()), low, high, len(differences), _divide(differences.mean(), differences.std(ddof=1))
    )


def estimate_unpaired(values: Values, others: Values, confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of `values` (N,) minus that of `others` (M,), of units that have nothing to do with each other.

    Raises BlendsetError for fewer than two of either, or one that is no number.
    """
    values, others = _check(values), _check(others)
    difference = float(values.mean() - others.mean())
    spread = math.sqrt((values.var(ddof=1) + others.var(ddof=1)) / 2)
    units = min(len(values), len(others))
    if not spread:
        return Estimate(difference, difference, difference, units, _divide(difference, spread))
    interval = stats.ttest_ind(values, others, equal_var=False).confidence_interval(confidence)
    return Estimate(difference, float(interval.low), float(interval.high), units, _divide(difference, spread))


def estimate_share(hits: Values, counts: Values, confidence: float = CONFIDENCE) -> Estimate:
    """Return the share of hits among all that units hold: `hits` (N,) of `counts` (N,), at least one, in each unit.

    The interval is Korn and Graubard's for shares in clusters (1998): exact for as many independent draws as the units
    are worth. It stays within 0 and 1, and has a width where all agree. Raises BlendsetError where there is no unit.
    """
    if not len(hits):
        raise BlendsetError("A share needs at least one unit, and there is none; give more pictures.")
    hits, counts = np.asarray(hits, np.float64), np.asarray(counts, np.float64)
    units, total, share = len(hits), counts.sum(), float(hits.sum() / counts.sum())
    variance = units / max(units - 1, 1) * ((hits - share * counts) ** 2).sum() / total**2
    draws = share * (1 - share) / variance if variance else units
    if units > 1 and total > units:
        draws *= (stats.t.ppf((1 + confidence) / 2, total - 1) / stats.t.ppf((1 + confidence) / 2, units - 1)) ** 2
    draws = min(draws, total)
    tail, positive = (1 - confidence) / 2, share * draws
    low = stats.beta.ppf(tail, positive, draws - positive + 1) if share > 0 else 0.0
    high = stats.beta.ppf(1 - tail, positive + 1, draws - positive) if share < 1 else 1.0
    return Estimate(share, float(low), float(high), units)


@dataclass(frozen=True, eq=False)
class Replicates:
    """A statistic of a whole set of `units` units, its values `parts` (G,) without each of G groups of them, and those
    without both groups of each of P pairs: `pair_parts` (P,), the groups being `pairs` (P, 2).
    """

    value: float
    parts: Values
    units: int
    pairs: NDArray[np.int64] = field(default_factory=lambda: np.empty((0, 2), np.int64))
    pair_parts: Values = field(default_factory=lambda: np.empty(0))

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """Return the statistic with its interval."""
        half = self._compute_error() * float(stats.t.ppf((1 + confidence) / 2, len(self.parts) - 1))
        return Estimate(self.value, self.value - half, self.value + half, self.units)

    def subtract_paired(self, other: Replicates) -> Replicates:
        """Return the difference to the same statistic of a set of the same units, left out in the same groups."""
        return replace(
            self,
            value=self.value - other.value,
            parts=self.parts - other.parts,
            pair_parts=self.pair_parts - other.pair_parts,
        )

    def estimate_unpaired(self, other: Replicates, confidence: float = CONFIDENCE) -> Estimate:
        """Return the difference to the same statistic of a set that has nothing to do with this one."""
        groups = min(len(self.parts), len(other.parts))
        error = math.hypot(self._compute_error(), other._compute_error())
        half = error * float(stats.t.ppf((1 + confidence) / 2, groups - 1))
        value = self.value - other.value
        return Estimate(value, value - half, value + half, min(self.units, other.units))

    def _compute_error(self) -> float:
        """The standard error."""
        groups = len(self.parts)
        variance = (groups - 1) / groups * ((self.parts - self.parts.mean()) ** 2).sum()
        if len(self.pairs) > 1:
            alone = self.parts[self.pairs].sum(axis=1)
            added = groups * self.value - (groups - 1) * alone + (groups - 2) * self.pair_parts
            variance = max(variance - added.var(ddof=1) / 2, variance / 2)
        return math.sqrt(variance)


def average_replicates(runs: Sequence[Replicates]) -> Replicates:
    """Return the mean of statistics of sets of the same units, left out in the same groups."""
    value, parts, pair_parts = (
        np.mean([getattr(run, name) for run in runs], axis=0) for name in ("value", "parts", "pair_parts")
    )
    return replace(runs[0], value=float(value), parts=parts, pair_parts=pair_parts)


def jackknife(
    compute: Callable[[NDArray[np.bool_]], float], units: int, seed: int, groups: int = GROUPS, pairs: int = PAIRS
) -> Replicates:
    """Return the statistic that `compute` gives for a mask (units,) of the units to use, and its replicates.

    The units are left out in so many random groups, one after another, and then in random pairs of groups. Raises
    BlendsetError for fewer than two units.
    """
    if units < 2:
        raise BlendsetError(f"An interval needs at least two units, and there is {units}; give more pictures.")
    groups, random = min(units, groups), np.random.default_rng(seed)
    group = random.permutation(units) % groups
    parts = np.array([compute(group != number) for number in range(groups)], np.float64)
    all_pairs = np.stack(np.triu_indices(groups, 1), axis=1) if groups > 2 else np.empty((0, 2), np.int64)
    chosen = random.permutation(all_pairs)[:pairs]
    pair_parts = np.array([compute((group != one) & (group != other)) for one, other in chosen], np.float64)
    return Replicates(float(compute(np.ones(units, bool))), parts, units, chosen, pair_parts)


def _bound_mean(values: Values, confidence: float) -> tuple[float, float]:
    """The interval of the mean of values (N,)."""
    half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)


def _check(values: Values) -> Values:
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise BlendsetError(f"An interval needs at least two units, and there is {len(values)}; give more pictures.")
    if not np.isfinite(values).all():
        raise BlendsetError("A value is not a finite number (NaN or infinite); score the pictures again.")
    return values


def _divide(difference: float, spread: float) -> float | None:
    return float(difference / spread) if spread else None

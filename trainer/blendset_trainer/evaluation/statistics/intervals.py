# SPDX-License-Identifier: Apache-2.0
"""Intervals of means, of their differences, and of statistics of whole sets, over units that were sampled one by one.

A unit is what another draw would replace: a prompt, a subject, a scene. Pictures of one unit are averaged before they
come here. Means have bootstrap intervals (BCa, Efron 1987, doi 10.2307/2289144). Statistics of whole sets, such as
distances, have jackknife intervals over groups of units (Efron and Stein 1981), for a resample would hold pictures
twice, which such statistics take for agreement.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from blendset.errors import BlendsetError
from blendset_trainer.evaluation.statistics.estimates import CONFIDENCE, Estimate

RESAMPLES = 2000
MAX_BOOTSTRAP = 2000
"""With more units than this the bootstrap ends where Student's t does, which is at once."""
GROUPS = 50
"""Of the jackknife, where there are as many units."""
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
    if max(len(values), len(others)) > MAX_BOOTSTRAP:
        interval = stats.ttest_ind(values, others, equal_var=False).confidence_interval(confidence)
    else:
        interval = _bootstrap((values, others), lambda one, two, axis: one.mean(axis) - two.mean(axis), confidence)
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
    """A statistic of a whole set of `units` units, and its values `parts` (G,) without each of G groups of them."""

    value: float
    parts: Values
    units: int

    def estimate(self, confidence: float = CONFIDENCE) -> Estimate:
        """Return the statistic with its interval."""
        half = self._compute_error() * float(stats.t.ppf((1 + confidence) / 2, len(self.parts) - 1))
        return Estimate(self.value, self.value - half, self.value + half, self.units)

    def subtract_paired(self, other: Replicates) -> Replicates:
        """Return the difference to the same statistic of a set of the same units, left out in the same groups."""
        return Replicates(self.value - other.value, self.parts - other.parts, self.units)

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
        return float(np.sqrt((groups - 1) / groups * ((self.parts - self.parts.mean()) ** 2).sum()))


def jackknife(compute: Callable[[NDArray[np.bool_]], float], units: int, seed: int, groups: int = GROUPS) -> Replicates:
    """Return the statistic that `compute` gives for a mask (units,) of the units to use, and its replicates.

    The units are left out in so many random groups, one after another. Raises BlendsetError for fewer than two units.
    """
    if units < 2:
        raise BlendsetError(f"An interval needs at least two units, and there is {units}; give more pictures.")
    groups = min(units, groups)
    group = np.random.default_rng(seed).permutation(units) % groups
    parts = np.array([compute(group != number) for number in range(groups)], np.float64)
    return Replicates(float(compute(np.ones(units, bool))), parts, units)


def _bound_mean(values: Values, confidence: float) -> tuple[float, float]:
    """The interval of the mean of values (N,)."""
    spread = values.std(ddof=1)
    if not spread:
        return float(values[0]), float(values[0])
    if len(values) > MAX_BOOTSTRAP:
        half = stats.t.ppf((1 + confidence) / 2, len(values) - 1) * spread / math.sqrt(len(values))
        return float(values.mean() - half), float(values.mean() + half)
    interval = _bootstrap((values,), np.mean, confidence)
    return float(interval.low), float(interval.high)


def _bootstrap(
    samples: tuple[Values, ...], statistic: Callable[..., object], confidence: float
) -> stats._common.ConfidenceInterval:
    result = stats.bootstrap(
        samples, statistic, n_resamples=RESAMPLES, confidence_level=confidence, rng=np.random.default_rng(0), batch=200
    )
    return result.confidence_interval


def _check(values: Values) -> Values:
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        raise BlendsetError(f"An interval needs at least two units, and there is {len(values)}; give more pictures.")
    if not np.isfinite(values).all():
        raise BlendsetError("A value is not a finite number (NaN or infinite); score the pictures again.")
    return values


def _divide(difference: float, spread: float) -> float | None:
    return float(difference / spread) if spread else None

# SPDX-License-Identifier: Apache-2.0
"""Bradley-Terry strengths and win rates of systems from votes, with bootstrap intervals over units.

A system of strength s beats one of strength t with probability 1 / (1 + exp(t - s)) (Bradley and Terry 1952). A tie is
half a win for each. Each pair of systems has besides PRIOR wins each way that nobody voted for, so that a system that
never lost has a strength too (Hunter 2004, doi 10.1214/aos/1079120141, says when there is none without). Votes on one
unit are drawn together, whoever cast them: an interval is for other units and the same voters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.sparse.csgraph import connected_components

from blendset.errors import BlendsetError
from blendset_trainer.evaluation.statistics.estimates import CONFIDENCE, Estimate
from blendset_trainer.evaluation.votes.read import Vote

PRIOR = 0.1
"""Wins of each system over each other that are added to the votes."""
STEPS = 50
"""Of Newton's method at most; it needs about six."""
TOLERANCE = 1e-9
RESAMPLES = 2000
BATCH = 200
"""Resamples at a time: of 50,000 units they fill 80 MB."""
Wins = NDArray[np.float64]


@dataclass(frozen=True)
class Strength:
    """A system and its Bradley-Terry strength: a difference of 1 is odds of e : 1. Their mean is 0."""

    system: str
    estimate: Estimate

    @property
    def strength(self) -> float:
        """The strength without its interval."""
        return self.estimate.value


@dataclass(frozen=True)
class WinRate:
    """The share of votes between two systems that `one` won, ties as half; with the votes, and the ties among them."""

    one: str
    other: str
    estimate: Estimate
    votes: int
    ties: int


def fit_bradley_terry(votes: Sequence[Vote], resamples: int = RESAMPLES) -> list[Strength]:
    """Return the strengths of all systems that were voted on, the strongest first.

    Raises BlendsetError for votes on fewer than two units.
    """
    systems = list_systems(votes)
    wins = _tabulate_wins(votes, systems)
    if len(wins) < 2:
        raise BlendsetError(f"An interval needs votes on at least two units, and there is {len(wins)}; get more votes.")
    values, lows, highs = _bootstrap_units(wins, compute_strengths, resamples)
    estimates = (Estimate(float(v), float(a), float(b), len(wins)) for v, a, b in zip(values, lows, highs, strict=True))
    strengths = [Strength(system, estimate) for system, estimate in zip(systems, estimates, strict=True)]
    return sorted(strengths, key=lambda each: -each.strength)


def compute_win_rates(votes: Sequence[Vote], resamples: int = RESAMPLES) -> list[WinRate]:
    """Return the win rates of all pairs of systems that were voted on, the systems of each in alphabetical order.

    The interval of a system that won all votes or none is Clopper and Pearson's over units, for resamples tell nothing
    then; that of votes on one unit is 0 to 1.
    """
    rates = []
    for one, other in combinations(list_systems(votes), 2):
        between = [vote for vote in votes if (vote.one, vote.other) == (one, other)]
        if between:
            estimate = _estimate_rate(_tabulate_wins(between, [one, other]), resamples)
            ties = sum(vote.points == 0.5 for vote in between)
            rates.append(WinRate(one, other, estimate, len(between), ties))
    return rates


def list_systems(votes: Sequence[Vote]) -> list[str]:
    """Return the systems that were voted on, in alphabetical order."""
    return sorted({system for vote in votes for system in (vote.one, vote.other)})


def find_separation(votes: Sequence[Vote]) -> bool:
    """Tell whether some systems never lost to the others, so that only the prior bounds how much stronger they are."""
    beats = _tabulate_wins(votes, list_systems(votes)).sum(axis=0) > 0
    return bool(connected_components(beats, connection="strong")[0] > 1)


def compute_strengths(wins: Wins) -> Wins:
    """Return the strengths (N, systems) that are likeliest for N tables of wins (N, systems, systems), with the prior.

    A table's row holds the wins of one system over each other.
    """
    systems = wins.shape[-1]
    wins = wins + PRIOR * (1 - np.eye(systems))
    games = wins + wins.swapaxes(-1, -2)
    strengths = np.zeros(wins.shape[:-1])
    for _ in range(STEPS):
        chances = 1 / (1 + np.exp(strengths[:, None, :] - strengths[:, :, None]))
        slope = wins.sum(axis=-1) - (games * chances).sum(axis=-1)
        weights = games * chances * chances.swapaxes(-1, -2)
        curvature = np.eye(systems) * weights.sum(axis=-1)[:, :, None] - weights + 1  # the 1 holds the mean
        step = np.linalg.solve(curvature, slope[:, :, None])[:, :, 0]
        step *= np.minimum(1, 1 / np.maximum(np.abs(step).max(axis=-1, keepdims=True), 1e-300))  # at most 1 at a time
        strengths += step
        if np.abs(step).max() < TOLERANCE:
            break
    strengths -= strengths.mean(axis=-1, keepdims=True)
    return strengths


def _tabulate_wins(votes: Sequence[Vote], systems: Sequence[str]) -> Wins:
    """Wins (units, systems, systems) of the system of each row over that of each column."""
    unit_of = {unit: number for number, unit in enumerate(sorted({vote.unit for vote in votes}))}
    number_of = {system: number for number, system in enumerate(systems)}
    wins = np.zeros((len(unit_of), len(systems), len(systems)))
    for vote in votes:
        unit, one, other = unit_of[vote.unit], number_of[vote.one], number_of[vote.other]
        wins[unit, one, other] += vote.points
        wins[unit, other, one] += 1 - vote.points
    return wins


def _estimate_rate(wins: Wins, resamples: int) -> Estimate:
    """The share of wins of the first of two systems, from wins (units, 2, 2)."""

    def compute(tables: Wins) -> Wins:
        rates: Wins = tables[:, 0, 1] / (tables[:, 0, 1] + tables[:, 1, 0])
        return rates

    units = len(wins)
    if units < 2:
        return Estimate(float(compute(wins)[0]), 0.0, 1.0, units)
    value, low, high = (float(each) for each in _bootstrap_units(wins, compute, resamples))
    if value in (0.0, 1.0):
        interval = stats.binomtest(round(value * units), units).proportion_ci(CONFIDENCE)
        low, high = float(interval.low), float(interval.high)
    return Estimate(value, low, high, units)


def _bootstrap_units(wins: Wins, compute: Callable[[Wins], Wins], resamples: int) -> tuple[Wins, Wins, Wins]:
    """What `compute` gives for the sum of wins (units, systems, systems), and its bounds over resamples of the units.

    The percentiles are those that make few units as uncertain as Student's t does (Hesterberg 2015, doi
    10.1080/00031305.2015.1089789).
    """
    units = len(wins)
    rng = np.random.default_rng(0)
    chances = np.full(units, 1 / units)
    sizes = [min(BATCH, resamples - start) for start in range(0, resamples, BATCH)]
    sums = [rng.multinomial(units, chances, size) @ wins.reshape(units, -1) for size in sizes]
    tables = np.concatenate(sums).reshape(-1, *wins.shape[1:])
    tail = stats.norm.cdf(math.sqrt(units / (units - 1)) * stats.t.ppf((1 - CONFIDENCE) / 2, units - 1))
    low, high = np.quantile(compute(tables), [tail, 1 - tail], axis=0)
    return compute(wins.sum(axis=0)[None])[0], low, high

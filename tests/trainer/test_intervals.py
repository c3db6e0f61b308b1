# SPDX-License-Identifier: Apache-2.0
"""Intervals hold the truth as often as they say, and call equal what is equal, over many seeded draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from blendset.errors import BlendsetError
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.statistics.intervals import (
    estimate_mean,
    estimate_paired,
    estimate_unpaired,
    jackknife,
)
from blendset_trainer.evaluation.statistics.kernels import Features, Statistic, prepare_mmd2, prepare_vendi
from blendset_trainer.evaluation.statistics.neighbours import prepare_neighbours

Values = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Values]
UNITS, REPEATS = 100, 1000
DIFFERENCE = 0.3
VOTES = np.array([-1.0, 0.0, 1.0])
DRAWS: dict[str, tuple[Draw, Draw]] = {
    "normal": (lambda random, n: random.normal(DIFFERENCE, 1.5, n), lambda random, n: random.normal(size=n)),
    "exponential": (
        lambda random, n: DIFFERENCE + random.exponential(1.5, n) - 0.5,
        lambda random, n: random.exponential(size=n),
    ),
    "votes": (lambda random, n: random.choice(VOTES, n, p=[0.2, 0.3, 0.5]), lambda random, n: random.choice(VOTES, n)),
}
"""Two distributions each, whose means are DIFFERENCE apart."""


def share(outcomes: list[bool]) -> float:
    """The share that is true."""
    return float(np.mean(outcomes))


def draw_estimates(compare: Callable[[Values, Values], Estimate], first: Draw, second: Draw) -> list[Estimate]:
    """REPEATS comparisons of independent draws."""
    randoms = (np.random.default_rng(number) for number in range(REPEATS))
    return [compare(first(random, UNITS), second(random, UNITS)) for random in randoms]


def covers(estimate: Estimate, truth: float) -> bool:
    """Whether an interval holds the truth."""
    return estimate.low <= truth <= estimate.high


# --- means ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compare", "kind"),
    [
        (estimate_paired, "normal"),
        (estimate_paired, "exponential"),
        (estimate_paired, "votes"),
        (estimate_unpaired, "normal"),
        (estimate_unpaired, "exponential"),
        (estimate_unpaired, "votes"),
    ],
)
def test_intervals_of_differences_cover_the_truth(compare: Callable[[Values, Values], Estimate], kind: str) -> None:
    found = draw_estimates(compare, *DRAWS[kind])
    assert 0.93 <= share([covers(each, DIFFERENCE) for each in found]) <= 0.97
    assert np.mean([each.value for each in found]) == pytest.approx(DIFFERENCE, abs=0.03)


def test_two_draws_of_one_distribution_are_rarely_called_different() -> None:
    """By as much as a difference of two shifted normal distributions is missed, so that this is of a skewed one."""
    found = draw_estimates(estimate_unpaired, DRAWS["exponential"][1], DRAWS["exponential"][1])
    assert 0.03 <= share([each.excludes_zero for each in found]) <= 0.07


@pytest.mark.parametrize("units", [5, 12])
@pytest.mark.parametrize("estimate", [estimate_mean, lambda values: estimate_unpaired(values, values[::-1] * 0)])
def test_few_units_have_wide_intervals(units: int, estimate: Callable[[Values], Estimate]) -> None:
    """A bootstrap of percentiles covers 84 % of five normal values, and 90 % of twelve."""
    draws = [np.random.default_rng(seed).normal(size=units) for seed in range(300)]
    assert 0.9 <= share([covers(estimate(values), 0) for values in draws]) <= 0.98


def test_intervals_are_those_of_scipy() -> None:
    values, others = np.random.default_rng(0).normal(size=(2, 30))
    for found, reference in (
        (estimate_mean(values), stats.ttest_1samp(values, 0)),
        (estimate_paired(values, others), stats.ttest_rel(values, others)),
        (estimate_unpaired(values, others[:20]), stats.ttest_ind(values, others[:20], equal_var=False)),
    ):
        interval = reference.confidence_interval(0.95)
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_pairs_of_a_common_cause_have_narrow_intervals() -> None:
    random = np.random.default_rng(0)
    cause = random.normal(size=UNITS)
    one, other = (cause + 0.1 * random.normal(size=UNITS) for _ in range(2))
    paired, unpaired = estimate_paired(one + 0.1, other), estimate_unpaired(one + 0.1, other)
    assert paired.excludes_zero and not unpaired.excludes_zero
    assert paired.effect is not None and unpaired.effect is not None
    assert paired.effect > 5 * unpaired.effect > 0


@pytest.mark.parametrize("compare", [estimate_paired, estimate_unpaired])
def test_equal_values_have_no_interval(compare: Callable[[Values, Values], Estimate]) -> None:
    found = compare(np.full(5, 2.0), np.full(5, 1.5))
    assert (found.value, found.low, found.high, found.effect) == (0.5, 0.5, 0.5, None)


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (lambda: estimate_mean(np.array([1.0])), "needs at least two units"),
        (lambda: estimate_mean(np.array([1.0, np.nan])), "not a finite number"),
        (lambda: estimate_unpaired(np.ones(3), np.array([1.0, np.inf])), "not a finite number"),
        (lambda: estimate_paired(np.ones(3), np.ones(4)), "3 units cannot be paired with 4"),
        (lambda: jackknife(lambda kept: 0.0, 1, 0), "needs at least two units"),
    ],
)
def test_what_has_no_interval_says_so(compute: Callable[[], object], words: str) -> None:
    with pytest.raises(BlendsetError, match=words):
        compute()


# --- statistics of whole sets -----------------------------------------------------------------------------------------

SETS = 200
TRUSTED = np.random.default_rng(10**6).normal(size=(150, 4))


def prepare_mmd2_to_trusted(features: Features) -> Statistic:
    return prepare_mmd2(features, TRUSTED)


def prepare_diversity(features: Features) -> Statistic:
    return prepare_vendi(features / np.linalg.norm(features, axis=1, keepdims=True))


def prepare_coverage(features: Features) -> Statistic:
    return prepare_neighbours(features, TRUSTED)["coverage"]


def draw_differences(
    prepare: Callable[[Features], Statistic], shift: float, common: float, is_paired: bool, sets: int = SETS
) -> list[Estimate]:
    """Differences of a statistic of pairs of sets, 0.3 and `shift` away from the trusted one; in pairs they have
    `common` of their parts in common."""
    found = []
    for seed in range(sets):
        base, own = np.random.default_rng(seed).normal(size=(2, UNITS, 4))
        other = common * base + np.sqrt(1 - common**2) * own
        moved = (base + 0.3 * np.eye(4)[0], other + shift * np.eye(4)[0])
        ours, theirs = (jackknife(prepare(features), UNITS, seed=0) for features in moved)
        found.append(ours.subtract_paired(theirs).estimate() if is_paired else ours.estimate_unpaired(theirs))
    return found


@pytest.mark.parametrize(("common", "is_paired"), [(0.8, True), (0.0, False)])
def test_intervals_of_differences_of_distances_cover_the_truth(common: float, is_paired: bool) -> None:
    """The truth is the mean, for MMD² is unbiased. Sets are resampled, the trusted stay as they are."""
    found = draw_differences(prepare_mmd2_to_trusted, 0.8, common, is_paired)
    truth = float(np.mean([each.value for each in found]))
    assert truth < 0
    assert 0.93 <= share([covers(each, truth) for each in found]) <= 0.97
    assert share([each.excludes_zero for each in found]) > 0.7


@pytest.mark.parametrize(
    ("prepare", "common", "is_paired", "least"),
    [
        (prepare_mmd2_to_trusted, 0.8, True, 0.025),
        (prepare_mmd2_to_trusted, 0.0, False, 0.025),
        (prepare_coverage, 0.8, True, 0.03),
        (prepare_diversity, 0.0, False, 0.015),
    ],
)
def test_two_draws_are_called_different_as_often_as_intervals_say(
    prepare: Callable[[Features], Statistic], common: float, is_paired: bool, least: float
) -> None:
    """A jackknife that counts pairs of units twice calls 0 to 2 % of them different. Over 3,000 draws it is 3.5 % by
    MMD², 4.3 % by coverage, and 2.2 to 3.0 % by the Vendi score, whose intervals remain a tenth too wide."""
    found = draw_differences(prepare, 0.3, common, is_paired, REPEATS)
    assert least <= share([each.excludes_zero for each in found]) <= 0.07


def test_the_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=40)
    found = jackknife(lambda kept: float(values[kept].mean()), 40, seed=0).estimate()
    half = (found.high - found.low) / 2
    assert half == pytest.approx(2.0227 * values.std(ddof=1) / np.sqrt(40), rel=1e-4)
    assert found.value == pytest.approx(values.mean())


def test_groups_leave_each_unit_out_once() -> None:
    kept: list[NDArray[np.bool_]] = []

    def compute(mask: NDArray[np.bool_]) -> float:
        kept.append(mask)
        return 0.0

    jackknife(compute, 23, seed=1, groups=5)
    *parts, whole = kept
    assert whole.all()
    singles, pairs = ~np.array(parts[:5]), ~np.array(parts[5:])
    assert singles.sum(axis=0).tolist() == [1] * 23
    assert set(singles.sum(axis=1)) == {4, 5}
    assert len(pairs) == 10
    assert pairs.sum(axis=0).tolist() == [4] * 23

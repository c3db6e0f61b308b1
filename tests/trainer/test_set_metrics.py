# SPDX-License-Identifier: Apache-2.0
"""Figures of whole sets: as reference implementations compute them, and as their definitions promise."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blendset.dataset import Dataset
from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.set_metrics import prepare_set_metrics
from blendset_trainer.evaluation.statistics.frechet import LEAST_PICTURES, prepare_frechet
from blendset_trainer.evaluation.statistics.kernels import (
    Features,
    Mask,
    Statistic,
    prepare_cmmd,
    prepare_kid,
    prepare_mmd2,
    prepare_vendi,
)
from blendset_trainer.evaluation.statistics.neighbours import prepare_neighbours
from tests.trainer.record_reference_metrics import GOLDEN, SHAPES, Shape, make_features

REFERENCE = json.loads(GOLDEN.read_text("utf-8"))["values"]
DISTANCES: dict[str, Callable[[Features, Features], Statistic]] = {
    "mmd2": prepare_mmd2,
    "kid": prepare_kid,
    "cmmd": prepare_cmmd,
    "frechet": prepare_frechet,
}


def prepare_all(features: Features, trusted: Features) -> dict[str, Statistic]:
    """Every figure, whatever the number of pictures."""
    distances = {name: prepare(features, trusted) for name, prepare in DISTANCES.items()}
    return {**distances, **prepare_neighbours(features, trusted), "vendi": prepare_vendi(features)}


def make_normal(count: int, width: int = 8, seed: int = 0, spread: float = 1.0) -> Features:
    """Independent normal features (count, width)."""
    return np.random.default_rng(seed).normal(scale=spread, size=(count, width))


def count_all(features: Features) -> Mask:
    """A mask (N,) of all features (N, D)."""
    return np.ones(len(features), bool)


# --- references -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", SHAPES)
def test_figures_are_those_of_reference_implementations(case: str) -> None:
    """The record says which releases of which packages; record_reference_metrics.py makes it anew, and says what of
    theirs is not ours: KID over random subsets, kernels of equally many pictures only."""
    features, trusted = make_features(SHAPES[case])
    ours = prepare_all(features, trusted)
    assert REFERENCE[case].keys() >= {"frechet", "precision", "recall", "density", "coverage"}
    for name, value in REFERENCE[case].items():
        assert ours[name](count_all(features)) == pytest.approx(value, rel=1e-4, abs=0), name


def test_every_figure_of_a_set_has_a_reference() -> None:
    assert {name for values in REFERENCE.values() for name in values} == prepare_all(
        *make_features(Shape(8, 8, 3))
    ).keys()


# --- properties -------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 1000), count=st.integers(20, 60), width=st.integers(2, 40))
@settings(max_examples=30, deadline=None)
def test_masks_are_subsets(seed: int, count: int, width: int) -> None:
    random = np.random.default_rng(seed)
    features, trusted = random.normal(size=(count, width)), random.normal(size=(30, width))
    mask = random.permutation(np.arange(count) < random.integers(7, count + 1))
    chosen = features[mask]
    whole, subset = prepare_all(features, trusted), prepare_all(chosen, trusted)
    for name, compute in whole.items():
        if name == "frechet" and (mask.sum() <= width or len(trusted) <= width):
            continue  # a singular covariance has a root of rounding errors
        assert compute(mask) == pytest.approx(subset[name](count_all(chosen)), rel=1e-8, abs=1e-9), name


def test_far_masks_find_neighbours_beyond_those_that_were_sorted() -> None:
    """A mask of eight of 200 leaves few of anyone's nearest."""
    features, trusted = make_normal(200), make_normal(100, seed=1)
    mask = np.arange(200) % 25 == 0
    whole, subset = prepare_neighbours(features, trusted), prepare_neighbours(features[mask], trusted)
    for name, compute in whole.items():
        assert compute(mask) == subset[name](np.ones(8, bool)), name


@pytest.mark.parametrize("name", ["mmd2", "kid"])
def test_unbiased_distances_of_one_distribution_are_about_zero(name: str) -> None:
    """So much nearer to zero than the biased one, that a bias would show."""
    draws = [(make_normal(50, seed=2 * seed), make_normal(70, seed=2 * seed + 1)) for seed in range(200)]
    values = [DISTANCES[name](*pair)(count_all(pair[0])) for pair in draws]
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values)) < 3 * error
    assert min(values) < 0 < max(values)
    biased = [prepare_cmmd(*pair)(count_all(pair[0])) for pair in draws]
    assert min(biased) > 0


def test_distances_grow_with_a_shift() -> None:
    trusted = make_normal(300)
    for name, prepare in DISTANCES.items():
        moved = [prepare(make_normal(200, seed=1) + shift, trusted)(np.ones(200, bool)) for shift in (0, 0.3, 1, 2)]
        assert moved == sorted(moved), name


def test_recall_falls_first_where_spread_shrinks() -> None:
    trusted = make_normal(400)
    ours = {}
    for spread in (1.0, 0.7):
        figures = prepare_neighbours(make_normal(400, seed=1, spread=spread), trusted)
        ours[spread] = {name: compute(np.ones(400, bool)) for name, compute in figures.items()}
    before, after = ours[1.0], ours[0.7]
    assert after["precision"] > before["precision"] > 0.9
    assert before["recall"] > 0.9
    assert before["recall"] - after["recall"] > 0.2
    assert before["recall"] - after["recall"] > before["coverage"] - after["coverage"]


def test_alike_sets_have_density_and_coverage_near_one() -> None:
    figures = prepare_neighbours(make_normal(400, seed=1), make_normal(400))
    assert figures["density"](np.ones(400, bool)) == pytest.approx(1, abs=0.1)
    assert figures["coverage"](np.ones(400, bool)) > 0.95


@pytest.mark.parametrize("count", [3, 10, 40])
def test_vendi_counts_pictures_that_differ(count: int) -> None:
    """Of copies there is one, of orthogonal vectors there are all, of groups of copies as many as groups."""
    basis = np.eye(12)
    assert prepare_vendi(np.repeat(basis[:1], count, axis=0))(np.ones(count, bool)) == pytest.approx(1)
    groups = np.repeat(basis, count, axis=0)
    assert prepare_vendi(groups)(count_all(groups)) == pytest.approx(12)
    assert prepare_vendi(groups)(np.arange(len(groups)) < 4 * count) == pytest.approx(4)


# --- what a number of pictures allows ---------------------------------------------------------------------------------


def make_measurement(count: int, name: str = "clip-a") -> Measurement:
    """What a scorer of 4 numbers says of so many pictures, the last of which it has nothing of."""
    features = make_normal(count + 1, 4)
    features[-1] = np.nan
    index = pa.table({"view_id": [str(number) for number in range(count + 1)]})
    return Measurement(
        "pictures", Dataset.__new__(Dataset), index, "picture", np.array(index["view_id"].to_pylist()),
        features={name: features}, revisions={name: "r"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("count", "trusted", "names"),
    [
        (5, 100, set()),
        (6, 0, {"vendi"}),
        (6, 5, {"vendi"}),
        (6, 6, {"vendi", "mmd2", "kid", "cmmd", "precision", "recall", "density", "coverage"}),
    ],
)
def test_few_pictures_allow_few_figures(count: int, trusted: int, names: set[str]) -> None:
    metrics = prepare_set_metrics(make_measurement(count), {"clip-a": make_normal(trusted, 4)} if trusted else {})
    assert {each.metric.column for each in metrics} == names


@pytest.mark.parametrize(("short", "offered"), [((0, 0), True), ((1, 0), False), ((0, 1), False)])
def test_frechet_is_offered_from_two_thousand_pictures_on_both_sides(short: tuple[int, int], offered: bool) -> None:
    trusted = make_normal(LEAST_PICTURES - short[1], 4, seed=1)
    metrics = prepare_set_metrics(make_measurement(LEAST_PICTURES - short[0], "dino-a"), {"dino-a": trusted})
    found = {each.metric.column: each for each in metrics}
    assert LEAST_PICTURES == 2000
    assert ("frechet" in found) == offered
    assert "cmmd" not in found  # is of CLIP's features


def test_pictures_without_features_do_not_count() -> None:
    trusted = make_normal(30, 4, seed=1)
    measured = make_measurement(40)
    expected = prepare_all(measured.features["clip-a"][:-1], trusted)
    for each in prepare_set_metrics(measured, {"clip-a": trusted}):
        assert each.compute(np.ones(41, bool)) == pytest.approx(expected[each.metric.column](np.ones(40, bool)))

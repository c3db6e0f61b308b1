# SPDX-License-Identifier: Apache-2.0
"""Which scenes lie too far from the origin for single precision, and where theirs should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.placement.origin import find_local_origin, find_number_step


def make_extent(middle: tuple[float, float, float], size: float) -> np.ndarray:
    half = np.array([0.6, 0.6, 0.529]) * size / 2
    return np.array([middle - half, middle + half])


@pytest.mark.parametrize(
    ("middle", "size", "expected"),
    [
        ((433832.0, 477738.0, 3.0), 15.0, (433832, 477736, 0)),  # a yard at its map coordinates
        ((433832.0, 477738.0, 3.0), 20000.0, (0, 0, 0)),  # the whole country: fine as it is
        ((1000.0, 0.0, 0.0), 10.0, (0, 0, 0)),  # a room a kilometre away
        ((0.0, 0.0, 0.0), 1e-3, (0, 0, 0)),
        ((5.0, -7.0, 0.0), 1e-3, (5.0, -7.0, 0)),  # a grain on a table
        ((3e8, 0.0, 0.0), 100.0, (3e8, 0, 0)),
    ],
)
def test_a_scene_far_away_gets_an_origin_in_its_middle(
    middle: tuple[float, ...], size: float, expected: tuple[float, ...]
) -> None:
    origin = find_local_origin(make_extent(middle, size))  # type: ignore[arg-type]
    assert np.allclose(origin, expected, atol=size)
    assert np.array_equal(origin == 0, np.array(expected) == 0)


@given(st.floats(1e-3, 1e6), st.floats(-1e8, 1e8))
def test_an_origin_is_a_number_that_single_precision_has(size: float, place: float) -> None:
    origin = find_local_origin(make_extent((place, 0.0, -place), size))
    assert np.array_equal(origin, origin.astype(np.float32))
    assert size < 1 or np.array_equal(origin, np.rint(origin))
    left = np.array([place, 0.0, -place]) - origin
    assert (find_number_step(left) <= np.maximum(1e-5 * size, find_number_step(np.array([place])))).all()


@pytest.mark.parametrize("extent", [np.zeros((2, 3)), np.full((2, 3), np.nan), np.array([[0.0] * 3, [np.inf] * 3])])
def test_a_scene_without_a_size_stays(extent: np.ndarray) -> None:
    assert not find_local_origin(extent).any()

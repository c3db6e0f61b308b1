# SPDX-License-Identifier: Apache-2.0
"""Correspondences against rays: what is taken is where it should be, is truly seen, and little that is seen is lost."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import combinations

import numpy as np
import pytest
import ray_traced
from correspondence_measures import average_comparisons, compare_traced_pairs, compute_traced_truth
from numpy.typing import NDArray
from ray_traced import BALL, CENTRE, SMALL_BALL, make_camera

from blendset.cameras import Camera
from blendset.correspondence import (
    Ids,
    ViewGeometry,
    choose_view_sets,
    compute_baseline_deg,
    compute_covisibility,
    correspond,
    find_viewed_point,
)
from blendset.exr import read_passes, write_passes
from blendset.tokens import assign_tokens, label_tokens, pool_correspondence

GRID = (12, 12)


@cache
def view_at(azimuth_deg: float, elevation_deg: float = 30.0, size: int = 96) -> ViewGeometry:
    return ray_traced.trace_geometry(make_camera(azimuth_deg, elevation_deg, size=size))


@pytest.mark.parametrize("angle", [35.0, 70.0, 160.0])
def test_warped_positions_are_exact_and_complete(angle: float) -> None:
    """At 256 pixels; SynCD's rule loses or misplaces more of the same pairs at every baseline."""
    found = average_comparisons(compare_traced_pairs(angle, 8.0, starts=(10.0, 190.0)))
    assert found.ours.mean_error < 0.1
    assert found.ours.high_error < 0.4
    assert found.ours.pixels_kept > 0.95
    assert found.tokens_kept > 0.95
    assert found.ours.unseen < 0.002
    assert found.syncd.mean_error > 5 * found.ours.mean_error
    assert found.syncd.pixels_kept < found.ours.pixels_kept


@pytest.mark.parametrize("turn", [35.0, 70.0, 120.0])
def test_no_pixel_and_no_token_comes_from_another_object(turn: float) -> None:
    target, source = view_at(10.0), view_at(10.0 + turn)
    match = correspond(target, source)
    taken = source.passes.id.ravel()[match.neighbours]
    own = np.broadcast_to(target.passes.id[match.visible][:, None], taken.shape)
    assert (taken == own)[match.weights > 0].all()
    np.testing.assert_allclose(match.weights.sum(axis=1), 1)

    tokens = pool_correspondence(match, target.passes.id, source.passes.id, GRID)
    labels = [most_frequent(view.passes.id) for view in (target, source)]
    used = tokens.weights > 0
    assert (labels[1][tokens.neighbours] == labels[0][:, None])[used].all()
    assert used.any(axis=1).tolist() == (tokens.alpha > 0).tolist()
    assert tokens.alpha.max() == 1


def most_frequent(ids: Ids) -> NDArray[np.intp]:
    """The label of each token, one by one."""
    cells = np.split(ids, GRID[0])
    return np.array([np.bincount(cell.ravel()).argmax() for row in cells for cell in np.split(row, GRID[1], axis=1)])


def test_labels_of_tokens_need_no_whole_pixels() -> None:
    """A vision model's patches seldom divide a picture."""
    ids = np.zeros((7, 10), np.uint32)
    ids[:, 5:] = 9
    assert label_tokens(ids, (2, 4)).tolist() == [0, 0, 9, 9] * 2
    assert np.bincount(assign_tokens(ids.shape, (2, 4))).sum() == ids.size


def test_a_view_sees_all_of_itself() -> None:
    view = view_at(10.0)
    match = correspond(view, view)
    facing = match.visible[view.passes.id > 0].mean()
    assert facing > 0.98  # all but what it sees at less than three degrees
    offsets = match.coordinates - np.stack(np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5), axis=-1)
    assert np.abs(offsets[match.visible]).max() < 1e-4


def test_what_is_behind_something_is_not_visible() -> None:
    target, source = view_at(10.0), view_at(80.0)
    hidden = ~compute_traced_truth(target, source) & (target.passes.id > 0)
    assert hidden.mean() > 0.1
    assert correspond(target, source).visible[hidden].mean() < 0.002


def test_nothing_is_visible_to_a_camera_that_looks_away() -> None:
    target = view_at(10.0)
    camera = target.camera
    turned = camera.world_from_camera @ np.diag([-1.0, 1.0, -1.0, 1.0])
    away = ray_traced.trace_geometry(Camera(turned, camera.width, camera.height, camera.focal_length_mm))
    assert not correspond(target, away).visible.any()


def test_scale_does_not_matter() -> None:
    """A scene in millimetres has the correspondences that it has in metres."""
    pair = view_at(10.0), view_at(60.0)
    larger = scaled(pair[0], 1000.0), scaled(pair[1], 1000.0)
    assert (correspond(*larger).visible == correspond(*pair).visible).mean() > 0.9999


def scaled(view: ViewGeometry, factor: float) -> ViewGeometry:
    matrix = view.camera.world_from_camera.copy()
    matrix[:3, 3] *= factor
    return ViewGeometry(
        replace(view.camera, world_from_camera=matrix),
        replace(view.passes, depth=(view.passes.depth * factor).astype(np.float32)),
    )


def test_passes_on_disk_are_as_exact() -> None:
    target, source = view_at(10.0), view_at(45.0)
    stored = ViewGeometry(source.camera, read_passes(write_passes(source.passes)))
    assert np.array_equal(
        correspond(target, stored).coordinates, correspond(target, source).coordinates, equal_nan=True
    )


def test_covisibility_and_baseline() -> None:
    views = [view_at(10.0 + turn) for turn in (0.0, 30.0, 60.0, 120.0)]
    shares = [compute_covisibility(views[0], other) for other in views]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.97
    assert compute_covisibility(views[0], views[3], (BALL, SMALL_BALL)) < shares[3]
    assert compute_covisibility(views[0], views[1], (77,)) == 0
    low = make_camera(0.0, 0.0), make_camera(35.0, 0.0)
    assert compute_baseline_deg(*low, CENTRE) == pytest.approx(35)
    assert compute_baseline_deg(low[0], low[0], CENTRE) == pytest.approx(0, abs=1e-6)


def test_view_sets_are_wide_and_hold_together() -> None:
    turns = [360 / 12 * step for step in range(12)]
    views = [view_at(turn) for turn in turns]
    sets = choose_view_sets(views, 3, (BALL,), covisible=0.3)
    assert len(sets) == 4
    assert sorted(view for each in sets for view in each) == list(range(12))
    for each in sets:
        for place in range(1, 3):
            shared = [
                min(
                    compute_covisibility(views[one], views[each[place]], (BALL,)),
                    compute_covisibility(views[each[place]], views[one], (BALL,)),
                )
                for one in each[:place]
            ]
            assert max(shared) >= 0.3
    point = find_viewed_point(views, (BALL,))
    least = [
        min(compute_baseline_deg(views[a].camera, views[b].camera, point) for a, b in combinations(each, 2))
        for each in sets
    ]
    assert least[0] == max(least) > 45  # neighbours on the orbit are 26 apart
    assert choose_view_sets(views, 3, (BALL,), covisible=0.3) == sets
    assert choose_view_sets(views[:2], 3, (BALL,)) == []
    assert choose_view_sets(views[::6], 2, (BALL,)) == []  # from two sides of a ball nothing is seen twice

# SPDX-License-Identifier: Apache-2.0
"""Proposed cameras against golden numbers: the paper's placement as published, and ours, spread and exactly framed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.cameras import Array, Camera, angles_from_direction, direction_from_angles
from blendset.placement.candidates import (
    Candidate,
    PlacementContext,
    frame_subject,
    make_blendfusion_camera,
    sample_grid_points,
)
from blendset.placement.candidates import propose_scene_views as scene_views
from blendset.placement.planner import propose
from blendset.placement.presets import PRESETS
from blendset.placement.scene import Snapshot
from tests.core.analytic import UNIT_BOX, BruteForce, ball, box, config, furnished_room, snapshot, subject_of

SQUARE = (512, 512)
CUBE = snapshot([box("Cube", (3, -2, 0.5), (1, 1, 1))])
L_SHAPE = snapshot([box("Seat", (0, 0, 0.2), (2, 0.8, 0.4)), box("Side", (-0.7, 1, 0.2), (0.6, 1.2, 0.4))])
TWO = snapshot([box("Cube", (0, 0, 0.5), (1, 1, 1)), ball("Ball", (4, 0, 0.5), 0.5)])


def stage_of(
    scene: Snapshot, *subjects: tuple[int, ...], preset: str = "blendset", **sections: Any
) -> PlacementContext:
    """A stage on which these groups of objects are the subjects."""
    found = tuple(subject_of(scene, *ids) for ids in subjects)
    return PlacementContext(scene, BruteForce(scene), found, config(preset, **sections))


def proposed(stage: PlacementContext) -> list[list[Candidate]]:
    """The first alternative of every proposal, group by group."""
    return [[next(proposal) for proposal in group] for group in propose(stage)]


def reach(camera: Camera, points: Array) -> Array:
    """How far points span towards the frame's edges, as a share of the half frame (2,); every one in front."""
    pixels, depth = camera.project(points)
    assert (depth > 0).all()
    half = np.array([camera.width, camera.height]) / 2
    return np.asarray((np.abs(pixels - half) / half).max(axis=0))


def poses(groups: list[list[Candidate]]) -> Array:
    return np.array([candidate.camera.world_from_camera for group in groups for candidate in group])


def test_every_preset_of_the_configuration_exists() -> None:
    assert all(isinstance(propose(stage_of(CUBE, (1,), preset=name)), Iterator) for name in PRESETS)


# ---- BlendFusion's placement, as published ---------------------------------------------------------------------------


def test_the_papers_eight_cameras_around_a_cube() -> None:
    """Golden numbers: d = h / (f tan(FOV/2)) = 2.0833 at a FOV of 39.6 degrees, level with the centre and facing it."""
    [group] = proposed(stage_of(CUBE, (1,), preset="blendfusion"))
    centre = np.array([3, -2, 0.5])
    assert [candidate.angles[0] for candidate in group] == pytest.approx([45 * k for k in range(8)], abs=1e-6)
    for candidate in group:
        camera = candidate.camera
        assert np.linalg.norm(camera.position - centre) == pytest.approx(2.0833, abs=1e-4)
        assert camera.position[2] == pytest.approx(0.5)
        pixels, _ = camera.project(centre[None])
        assert pixels[0] == pytest.approx([256, 256], abs=1e-6)  # look-at error 0
        assert camera.rotation[:, 0] @ [0, 0, 1] == pytest.approx(0)  # upright
        assert 2 * np.degrees(np.arctan(camera.half_tangents)) == pytest.approx([39.6, 39.6])


@pytest.mark.parametrize(
    ("size", "distance", "low", "high"),
    [
        ((1, 1, 1), 2.08, 0.877, 1.008),
        ((0.5, 0.5, 0.9), 1.88, 0.77, 0.82),
        ((1.6, 0.8, 0.75), 1.56, 1.46, 1.91),
        ((2.2, 0.9, 0.8), 1.67, 2.2, 2.5),
        ((4.5, 1.8, 1.5), 3.13, 2.80, 2.95),
    ],
    ids=["cube", "chair", "table", "sofa", "car"],
)
def test_the_papers_formula_crops_what_is_wide_as_computed(
    size: tuple[float, float, float], distance: float, low: float, high: float
) -> None:
    """The paper's fill of 2/3 comes out as these true fills (1 = the frame's edge): 0.88 to 1.01 even for a cube."""
    corners = UNIT_BOX * size
    bounds = np.stack([corners.min(axis=0), corners.max(axis=0)])
    cameras = [make_blendfusion_camera(bounds, 45.0 * k, SQUARE) for k in range(8)]
    fills = [reach(camera, corners).max() for camera in cameras if (camera.project(corners)[1] > 0).all()]
    assert np.linalg.norm(cameras[0].position) == pytest.approx(distance, abs=0.006)
    assert (min(fills), max(fills)) == (pytest.approx(low, abs=0.06), pytest.approx(high, abs=0.06))


def test_the_papers_camera_stands_inside_a_rug_that_exact_framing_sees_whole() -> None:
    rug = snapshot([box("Rug", (0, 0, 0.01), (3, 2, 0.02))])
    stage = stage_of(rug, (1,), preset="blendfusion")
    low, high = stage.subjects[0].bounds
    assert all(((low < c.camera.position) & (c.camera.position < high)).all() for c in proposed(stage)[0])
    for k in range(8):
        camera = frame_subject(stage.subjects[0], direction_from_angles(45.0 * k, 15.0), 2 / 3, 50.0, SQUARE)
        assert reach(camera, stage.subjects[0].hull).max() == pytest.approx(2 / 3)
        assert np.linalg.norm(camera.position) > 2


# ---- the paper's baselines -------------------------------------------------------------------------------------------


def test_grid_sampling_puts_the_same_number_into_each_of_64_cells() -> None:
    low, high = np.array([-2.0, 0, 1]), np.array([2.0, 8, 3])
    points = sample_grid_points(low, high, 300, 4, np.random.default_rng(5))
    cells = np.floor((points - low) / (high - low) * 4).astype(int)
    _, counts = np.unique(cells, axis=0, return_counts=True)
    assert len(points) >= 300 and ((cells >= 0) & (cells < 4)).all()
    assert counts.tolist() == [5] * 64


@given(st.integers(1, 400), st.sampled_from([1, 2, 4]), st.integers(0, 99))
def test_sampled_points_are_enough_and_inside_the_box(count: int, cells: int, seed: int) -> None:
    low, high = np.array([-1.0, 5, 0]), np.array([1.0, 6, 9])
    points = sample_grid_points(low, high, count, cells, np.random.default_rng(seed))
    assert count <= len(points) < count + cells**3
    assert ((points >= low) & (points <= high)).all()


def test_grid_points_come_in_no_order_so_that_a_budget_cuts_no_corner_off() -> None:
    points = sample_grid_points(np.zeros(3), np.ones(3), 64, 4, np.random.default_rng(0))
    assert np.ptp(points[:24, 0]) > 0.7


@pytest.mark.parametrize(("preset", "count"), [("random", 40), ("random-grid", 64)])
def test_random_views_stand_anywhere_in_the_box_and_look_anywhere(preset: str, count: int) -> None:
    scene = furnished_room()
    [group] = proposed(stage_of(scene, preset=preset, cameras={"views": 40}))
    positions = np.array([candidate.camera.position for candidate in group])
    looks = np.array([angles_from_direction(-candidate.camera.rotation[:, 2]) for candidate in group])
    assert len(group) == count
    assert (positions >= [-3, -2.5, 0]).all() and (positions <= [3, 2.5, 2.8]).all()
    assert (np.ptp(positions, axis=0) > [4.5, 3.5, 2]).all()
    assert np.abs(looks[:, 1]).max() <= 30 + 1e-6 and np.ptp(looks[:, 1]) > 40 and np.ptp(looks[:, 0]) > 300


@pytest.mark.parametrize(("preset", "anchors"), [("anchor-sweep", 5), ("anchor-sweep-grid", 64)])
def test_an_anchor_sweep_looks_outwards_in_eight_directions_from_each_anchor(preset: str, anchors: int) -> None:
    [group] = proposed(stage_of(furnished_room(), preset=preset, cameras={"views": 40}))
    assert len(group) == 8 * anchors
    for start in range(0, len(group), 8):
        cameras = [candidate.camera for candidate in group[start : start + 8]]
        assert np.ptp([camera.position for camera in cameras], axis=0) == pytest.approx([0, 0, 0])
        looks = np.array([angles_from_direction(-camera.rotation[:, 2]) for camera in cameras])
        assert looks[:, 0] == pytest.approx([45 * k for k in range(8)], abs=1e-6)
        assert looks[:, 1] == pytest.approx(0, abs=1e-6)


# ---- ours ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "fills"),
    [
        ((1, 1, 1), {0.35, 0.75}),
        ((2, 0.02, 1.4), {0.35, 0.75}),
        ((0.05, 0.05, 1.8), {0.74, 0.9}),  # slender: with less it would cover too little
        ((3, 2, 0.01), {0.35, 0.75}),
    ],
    ids=str,
)
def test_every_candidate_spans_the_wanted_share_of_the_frame_exactly(
    size: tuple[float, float, float], fills: set[float]
) -> None:
    scene = snapshot([box("Thing", (5, 5, 1), size, turn_deg=30)])
    stage = stage_of(scene, (1,), cameras={"candidates": 30, "fill": [0.35, 0.75]})
    [group] = proposed(stage)
    spans = Counter(round(float(reach(candidate.camera, scene.vertices).max()), 6) for candidate in group)
    assert set(spans) == fills and min(spans.values()) >= 12


def test_azimuths_and_elevations_leave_no_gap() -> None:
    [group] = proposed(stage_of(CUBE, (1,), cameras={"candidates": 256, "elevation_deg": [5, 45]}))
    looks = np.array([angles_from_direction(candidate.camera.rotation[:, 2]) for candidate in group])
    assert looks[:, 1].min() >= 5 and looks[:, 1].max() <= 45
    for few in (16, 64, 256):  # any first part of the sequence is spread, for that is what a small budget takes
        turns = np.sort(looks[:few, 0])
        assert np.diff([*turns, turns[0] + 360]).max() < 2.7 * 360 / few
        assert (np.histogram(looks[:few, 1], bins=4, range=(5, 45))[0] >= few // 16).all()


def test_each_quarter_of_the_circle_sees_all_elevations_and_fills() -> None:
    """Azimuth, elevation and fill must not march in step."""
    [group] = proposed(stage_of(CUBE, (1,), cameras={"candidates": 256, "fill": [0.4, 0.7]}))
    looks = np.array([angles_from_direction(candidate.camera.rotation[:, 2]) for candidate in group])
    fills = np.array([round(reach(candidate.camera, CUBE.vertices).max(), 3) for candidate in group])
    for quarter in range(4):
        mine = looks[:, 0] // 90 == quarter
        for fill in (0.4, 0.7):
            assert np.ptp(looks[mine & (fills == fill), 1]) > 30


def test_one_elevation_is_allowed() -> None:
    [group] = proposed(stage_of(CUBE, (1,), cameras={"elevation_deg": [20, 20]}))
    assert [angles_from_direction(c.camera.rotation[:, 2])[1] for c in group] == pytest.approx([20] * 16)


@pytest.mark.parametrize("preset", [name for name in PRESETS if name != "scene-cameras"])
def test_one_seed_gives_the_same_cameras_and_another_gives_others(preset: str) -> None:
    first, again, other = (
        poses(proposed(stage_of(TWO, (1,), (2,), preset=preset, top={"seed": seed}))) for seed in (1, 1, 2)
    )
    assert first.tolist() == again.tolist()
    if preset != "blendfusion":  # which has nothing random in it
        assert np.abs(first - other).max() > 0.1


def test_a_subjects_cameras_do_not_depend_on_its_company() -> None:
    with_ball, alone = (proposed(stage_of(TWO, *subjects)) for subjects in (((2,), (1,)), ((1,),)))
    assert poses(with_ball[1:]).tolist() == poses(alone).tolist()
    assert np.abs(poses(with_ball[:1])[0] - poses(alone)[0])[:3, :3].max() > 0.01  # each has a phase of its own


def test_alternatives_come_nearer_with_a_shorter_lens_from_the_same_side() -> None:
    stage = stage_of(CUBE, (1,), cameras={"focal_length_mm": [85, 50, 24]})
    for proposal in next(propose(stage)):
        cameras = [candidate.camera for candidate in proposal]
        distances = [np.linalg.norm(camera.position - [3, -2, 0.5]) for camera in cameras]
        assert [camera.focal_length_mm for camera in cameras] == [85, 50, 24]
        assert distances == sorted(distances, reverse=True)
        assert np.ptp([camera.rotation for camera in cameras], axis=0).max() < 1e-12
        assert np.ptp([reach(camera, CUBE.vertices).max() for camera in cameras]) < 1e-9


# ---- view sets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 21])
def test_orbits_go_round_in_equal_steps_at_one_elevation(count: int) -> None:
    groups = proposed(stage_of(L_SHAPE, (1, 2), preset=f"orbit-{count}", cameras={"candidates": 2 * count}))
    sets: dict[str, list[Candidate]] = {}
    for candidate in groups[0]:
        sets.setdefault(candidate.view_set, []).append(candidate)
    assert len(sets) == 2
    for views in sets.values():
        looks = np.array([angles_from_direction(candidate.camera.rotation[:, 2]) for candidate in views])
        assert [candidate.view_index for candidate in views] == list(range(count))
        assert np.diff(looks[:, 0]) % 360 == pytest.approx(360 / count)
        assert np.ptp(looks[:, 1]) < 1e-9
        assert len({candidate.camera.focal_length_mm for candidate in views}) == 1


def test_an_orbits_recorded_azimuths_are_a_quarter_turn_apart_at_one_elevation_and_distance() -> None:
    """Records measure around the subject's centre, which framing must not leave, however lopsided the subject is."""
    [group] = proposed(stage_of(L_SHAPE, (1, 2), preset="orbit-4", cameras={"candidates": 4}))
    recorded = np.array([candidate.angles for candidate in group])
    assert np.diff(recorded[:, 0]) % 360 == pytest.approx(90, abs=0.01)
    assert np.ptp(recorded[:, 1]) < 0.01
    assert np.ptp([candidate.distance for candidate in group]) < 1e-6


def test_view_sets_of_two_subjects_have_different_names() -> None:
    names = [
        {candidate.view_set for candidate in group} for group in proposed(stage_of(TWO, (1,), (2,), preset="orbit-4"))
    ]
    assert not names[0] & names[1]


# ---- views of the room -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [0.01, 1.0, 1000.0])
def test_scene_views_stand_on_something_at_eye_height_and_look_level(scale: float) -> None:
    scene = furnished_room(scale)
    stage = stage_of(scene)
    [group] = scene_views(stage)
    cameras = [next(proposal).camera for proposal in group]
    positions = np.array([camera.position for camera in cameras]) / scale
    drop, _ = stage.geometry.cast(positions * scale, np.tile([0.0, 0, -1], (len(positions), 1)))
    eye = drop / scale / 2.8
    assert len(cameras) > 100
    assert (np.abs(positions[:, :2]) <= [3, 2.5]).all()
    assert np.mean((eye > 0.33) & (eye < 0.62)) > 0.9  # of the room's height; a few rise through a table
    tilts = np.array([angles_from_direction(-camera.rotation[:, 2])[1] for camera in cameras])
    assert tilts.min() >= -20.1 and tilts.max() <= 5.1


def test_there_is_nothing_to_stand_on_in_an_empty_scene() -> None:
    assert [list(group) for group in scene_views(stage_of(snapshot([])))] == [[]]


# ---- the artist's own ------------------------------------------------------------------------------------------------


def test_the_files_own_cameras_keep_lens_shift_name_and_image_shape() -> None:
    wide = Camera(
        frame_subject(subject_of(CUBE, 1), np.ones(3), 0.5, 35.0, SQUARE).world_from_camera, 1920, 1080, 35.0, (0.1, 0)
    )
    stage = replace(stage_of(CUBE, (1,), preset="scene-cameras"), scene_cameras=(("Hero shot", wide),))
    [[candidate]] = proposed(stage)
    camera = candidate.camera
    assert (candidate.name, camera.width, camera.height) == ("Hero shot", 512, 288)
    before, after = (each.project(CUBE.vertices)[0] / [each.width, each.height] for each in (wide, camera))
    assert before == pytest.approx(after)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_no_preset_stumbles_over_a_scene_without_anything_in_it(preset: str) -> None:
    """A file with nothing but a camera and a light is a user's file too."""
    assert sum(map(len, proposed(stage_of(snapshot([]), preset=preset)))) == 0

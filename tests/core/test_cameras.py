# SPDX-License-Identifier: Apache-2.0
"""Projection, unprojection and framing, held against hand-computed values and each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.cameras import (
    Camera,
    angles_from_direction,
    compute_framing_position,
    compute_pixel_centres,
    direction_from_angles,
    make_facing_rotation,
    make_pose,
)
from blendset.records import CameraRecord

CUBE = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
RUG = CUBE * [3.0, 2.0, 0.02]
FOV = 39.6


def camera_at(position: tuple[float, float, float], **changes: object) -> Camera:
    matrix = make_pose(make_facing_rotation(np.array(position)), np.array(position, dtype=float))
    return Camera(**({"world_from_camera": matrix, "width": 320, "height": 200, "focal_length_mm": 35.0} | changes))  # type: ignore[arg-type]


def test_the_centre_of_an_unshifted_image_is_the_optical_axis() -> None:
    pixels, depth = camera_at((0, -5, 0)).project(np.zeros((1, 3)))
    assert pixels[0] == pytest.approx([160, 100])
    assert depth[0] == pytest.approx(5)


def test_right_is_right_and_up_is_up() -> None:
    pixels, _ = camera_at((0, -5, 0)).project(np.array([[1.0, 0, 0], [0, 0, 1.0]]))
    assert pixels[0, 0] > 160 and pixels[0, 1] == pytest.approx(100)
    assert pixels[1, 1] < 100 and pixels[1, 0] == pytest.approx(160)


@given(st.floats(0, 360), st.floats(-85, 85), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_unprojecting_a_depth_map_gives_back_the_pixels(az: float, el: float, dx: float, dy: float) -> None:
    position = 7 * direction_from_angles(az, el)
    camera = camera_at(tuple(position), shift=(dx, dy), width=9, height=7)
    depth = np.linspace(1, 5, 63).reshape(7, 9)
    pixels, back = camera.project(camera.unproject(depth).reshape(-1, 3))
    assert pixels == pytest.approx(compute_pixel_centres(9, 7), abs=1e-6)
    assert back == pytest.approx(depth.ravel())


@given(st.floats(0, 359.9), st.floats(-89, 89))
def test_angles_invert_direction(azimuth: float, elevation: float) -> None:
    assert angles_from_direction(direction_from_angles(azimuth, elevation)) == pytest.approx(
        (azimuth, elevation), abs=1e-6
    )


def test_looking_straight_down_is_a_rotation() -> None:
    rotation = make_facing_rotation(np.array([0.0, 0, 1]))
    assert rotation @ rotation.T == pytest.approx(np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)


@pytest.mark.parametrize(("points", "azimuth", "distance"), [(CUBE, 0, 2.583), (CUBE, 45, 2.946), (RUG, 90, 5.0)])
def test_framing_distance_is_the_papers_corrected_one(points: np.ndarray, azimuth: float, distance: float) -> None:
    """Golden values of the exact two-axis fit at fill 2/3 and a field of view of 39.6 degrees."""
    tangents = np.full(2, 2 / 3 * np.tan(np.radians(FOV / 2)))
    position = compute_framing_position(points, make_facing_rotation(direction_from_angles(azimuth, 0)), tangents)
    if points is CUBE:
        assert np.linalg.norm(position) == pytest.approx(distance, abs=1e-3)
    else:
        assert 4.5 < np.linalg.norm(position) < 8.5  # the whole rug, from well outside its own box


@given(
    st.integers(0, 10_000),
    st.floats(0, 360),
    st.floats(-60, 60),
    st.floats(0.2, 1.0),
    st.sampled_from([(256, 256), (320, 200), (90, 160)]),
)
def test_framed_points_touch_the_fill_and_never_pass_it(
    seed: int, azimuth: float, elevation: float, fill: float, size: tuple[int, int]
) -> None:
    points = np.random.default_rng(seed).normal(size=(40, 3)) * [3, 1, 0.5] + 10
    rotation = make_facing_rotation(direction_from_angles(azimuth, elevation))
    camera = Camera(make_pose(rotation, np.zeros(3)), *size, focal_length_mm=35.0)
    position = compute_framing_position(points, rotation, fill * camera.half_tangents)
    pixels, depth = Camera(make_pose(rotation, position), *size, focal_length_mm=35.0).project(points)
    reach = np.abs(pixels - np.array(size) / 2) / (np.array(size) / 2)
    assert (depth > 0).all()
    assert reach.max() <= fill + 1e-6
    held_off = depth.min() < 0.0101 * np.ptp(points @ rotation, axis=0).max()  # one vertex alone would hold the view
    assert held_off or reach.max() == pytest.approx(fill, abs=1e-6)


@pytest.mark.parametrize("size", [(640, 480), (480, 640)])
def test_a_camera_comes_back_from_its_record(size: tuple[int, int]) -> None:
    original = Camera(
        make_pose(make_facing_rotation(np.array([1.0, 2.0, 0.5])), np.array([3.0, 1.0, 2.0])), *size, 35.0, (0.1, -0.05)
    )
    focal, (cx, cy) = original.focal_length_px, original.principal_point
    matrix = tuple(original.world_from_camera.ravel().tolist())
    again = Camera.from_record(CameraRecord(*size, focal, focal, cx, cy, matrix, 35.0, 36.0))
    points = np.array([[0.0, 0.0, 0.0], [0.5, -1.0, 1.0]])
    np.testing.assert_allclose(again.project(points)[0], original.project(points)[0], atol=1e-9)

# SPDX-License-Identifier: Apache-2.0
"""Geometric consistency: true depth agrees everywhere, hidden points are no fault, moved things are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from blendset.cameras import Array, Camera, compute_pixel_centres, make_facing_rotation, make_pose
from blendset.dataset import Dataset
from blendset.exr import Passes
from blendset.records import CameraRecord
from blendset_trainer.scoring.geometry import GeometryScorer, compare_depth
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

SIZE = 96
BALL_RADIUS = 0.5
ONES = np.ones((SIZE, SIZE), np.uint32)


def camera_at(azimuth_deg: float) -> Camera:
    """Looks at the origin from 4 units away, a little from above."""
    angle = np.radians(azimuth_deg)
    backward = np.array([np.cos(angle), np.sin(angle), 0.4])
    return Camera(make_pose(make_facing_rotation(backward), 4 * backward / np.linalg.norm(backward)), SIZE, SIZE, 36.0)


def depth_of(camera: Camera, ball: Array) -> npt.NDArray[np.float32]:
    """Exact planar depth of a ball over the floor z = -0.5; infinite above the horizon."""
    rays = camera.make_rays(compute_pixel_centres(SIZE, SIZE))
    with np.errstate(divide="ignore", invalid="ignore"):
        floor = (-0.5 - camera.position[2]) / rays[:, 2]
        a, b = (rays**2).sum(axis=1), rays @ (camera.position - ball)
        root = b**2 - a * (((camera.position - ball) ** 2).sum() - BALL_RADIUS**2)
        hit = (-b - np.sqrt(root)) / a
    depth = np.fmin(np.where(floor > 0, floor, np.inf), np.where(root > 0, hit, np.inf))
    return depth.reshape(SIZE, SIZE).astype(np.float32)


def add_views(dataset: Dataset, view_set: str, balls: list[list[float]]) -> None:
    """One view for each place of the ball, 30 degrees apart."""
    for number, ball in enumerate(balls):
        camera = camera_at(30 * number)
        focal, (cx, cy) = camera.focal_length_px, camera.principal_point
        matrix = tuple(camera.world_from_camera.ravel().tolist())
        record = CameraRecord(SIZE, SIZE, focal, focal, cx, cy, matrix, 36.0, 36.0)
        add_picture(
            dataset, "attic", view_set, number, np.zeros((SIZE, SIZE, 3), np.uint8),
            Passes(depth_of(camera, np.array(ball)), np.zeros((SIZE, SIZE, 3), np.float32), ONES),
            camera=record, view_set=view_set, view_index=number,
        )  # fmt: skip


def test_agreement_finds_the_view_that_shows_another_space(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    add_scene(dataset, "attic")
    add_views(dataset, "still", [[0, 0, 0]] * 3)
    add_views(dataset, "moved", [[0, 0, 0], [0, 0, 0], [0.3, -0.6, 0.1]])
    add_picture(dataset, "attic", "alone", 0, np.zeros((8, 8, 3), np.uint8), np.ones((8, 8), np.uint32))
    dataset.rebuild_index()
    run_stage(dataset, GeometryScorer(), LocalExecutor())
    found = StageFolder.from_stage(dataset.root, GeometryScorer()).read_rows()
    assert found is not None
    rows = {row["view_id"]: row for row in found.to_pylist()}
    still = [rows[f"still-000{number}"] for number in range(3)]
    moved = [rows[f"moved-000{number}"] for number in range(3)]
    assert all(row["agreement"] > 0.999 for row in still)
    assert all(0.4 < row["covisible"] < 1 for row in still)  # the ball hides floor, and frames do not overlap wholly
    assert moved[2]["agreement"] < min(moved[0]["agreement"], moved[1]["agreement"], 0.97)
    assert (rows["alone-0000"]["agreement"], rows["alone-0000"]["covisible"]) == (None, None)


def test_wrong_depth_lowers_agreement() -> None:
    first, second = camera_at(0), camera_at(30)
    points = first.unproject(depth_of(first, np.zeros(3)))[SIZE // 2 :].reshape(-1, 3)
    true = depth_of(second, np.zeros(3))
    agree, through, _ = compare_depth(points, second, true)
    assert agree / (agree + through) > 0.999
    agree, through, _ = compare_depth(points, second, (1.1 * true).astype(np.float32))
    assert agree / (agree + through) < 0.5

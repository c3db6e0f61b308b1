# SPDX-License-Identifier: Apache-2.0
"""View sets of the ray-traced scene of `benchmarks/ray_traced.py`, painted in world space so that all views agree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
from ray_traced import BALL, make_camera, trace_geometry

from blendset.correspondence import ViewGeometry
from blendset.dataset import Dataset
from blendset.records import CameraRecord
from tests.trainer.tiny_datasets import add_picture

SIZE = 96
TURN = 20.0
PALETTE = np.array([[40, 40, 40], [200, 60, 60], [60, 190, 80], [70, 80, 200], [170, 170, 150]])
"""Of nothing, and of each object."""
Picture = npt.NDArray[np.uint8]


@cache
def view_at(azimuth_deg: float, size: int = SIZE) -> ViewGeometry:
    return trace_geometry(make_camera(azimuth_deg, 25.0, size=size))


def painted(view: ViewGeometry) -> Picture:
    """A picture (H, W, 3) of colours that wave through space, about another one on each object."""
    waves = np.sin(3 * np.nan_to_num(view.positions))
    return np.asarray(PALETTE[view.passes.id] + 40 * waves, dtype=np.uint8)


def add_set(dataset: Dataset, view_set: str, pictures: Sequence[Picture]) -> list[str]:
    """Adds these pictures as the set's views, `TURN` degrees from one to the next, about the large ball."""
    return [
        add_picture(
            dataset, "attic", view_set, number, picture, view_at(TURN * number, len(picture)).passes,
            camera=camera_record(view_at(TURN * number, len(picture))), view_set=view_set, view_index=number,
            subject_objects=(BALL,),
        )
        for number, picture in enumerate(pictures)
    ]  # fmt: skip


def camera_record(view: ViewGeometry) -> CameraRecord:
    camera = view.camera
    focal, (x, y) = camera.focal_length_px, camera.principal_point
    matrix = tuple(camera.world_from_camera.ravel().tolist())
    return CameraRecord(camera.width, camera.height, focal, focal, x, y, matrix, camera.focal_length_mm, 36.0)

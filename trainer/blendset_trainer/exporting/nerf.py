# SPDX-License-Identifier: Apache-2.0
"""NeRF: <scene>/transforms.json with pictures and depth, as instant-ngp and nerfstudio read it.

Cameras are Blendset's own (along -Z, +Y up, pixel centres at halves). Held-out views are `val` and `test`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blendset.records import CameraRecord, SceneRecord, ViewRecord
from blendset_trainer.exporting.geometry import depth_png
from blendset_trainer.exporting.source import Source, as_json, by_scene, with_passes, write

DEPTH_STEP = 1e-3
"""Blender units per grey level of a depth map: nerfstudio's default; instant-ngp is told. It reaches 65.5 units."""


def export(source: Source, out: Path) -> int:
    """One folder per scene; depth is given where every view of the scene has it, as nerfstudio wants it."""
    source = source.with_cameras()
    for scene, views in by_scene(source.views).items():
        deep = len(with_passes(views)) == len(views)
        for view in views:
            write(out / scene / _picture(view), source.read(view))
            if deep:
                depth = source.dataset.passes(view).depth
                write(out / scene / _depth(view), depth_png(depth, DEPTH_STEP))
        head = {"camera_model": "PINHOLE", "aabb_scale": _aabb_scale(source.dataset.scene(scene))}
        write(out / scene / "transforms.json", as_json(head | _transforms(views, deep, source.held_out)))
    return len(source.views)


def _aabb_scale(scene: SceneRecord) -> int:
    """The power of two for the cube, in units of its own, that instant-ngp fills: it scales the world by 0.33."""
    bounds = [value for entry in scene.objects for value in (*entry.bounds_min, *entry.bounds_max)]
    width = 2 * 0.33 * max(map(abs, bounds), default=0.0)
    return next((scale for scale in (1, 2, 4, 8, 16, 32, 64) if scale >= width), 128)


def _picture(view: ViewRecord) -> str:
    return f"images/{view.view_id}.png"


def _depth(view: ViewRecord) -> str:
    return f"depth/{view.view_id}.png"


def _transforms(views: Sequence[ViewRecord], deep: bool, held_out: frozenset[str]) -> dict[str, Any]:
    head: dict[str, Any] = {}
    if deep:
        head |= {"enable_depth_loading": True, "integer_depth_scale": DEPTH_STEP}
    if any(view.view_id in held_out for view in views):
        aside = [_picture(view) for view in views if view.view_id in held_out]
        train = [_picture(view) for view in views if view.view_id not in held_out]
        head |= {"train_filenames": train, "val_filenames": aside, "test_filenames": aside}
    return head | {"frames": [_frame(view, deep) for view in views]}


def _frame(view: ViewRecord, deep: bool) -> dict[str, Any]:
    """A view; each of the two programs has its own name for the depth map."""
    depth = {"depth_file_path": _depth(view), "depth_path": _depth(view)} if deep else {}
    return {"file_path": _picture(view), **depth, **_camera(view.camera)}


def _camera(camera: CameraRecord) -> dict[str, Any]:
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "transform_matrix": np.reshape(camera.world_from_camera, (4, 4)).tolist(),
    }

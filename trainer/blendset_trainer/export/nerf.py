# SPDX-License-Identifier: Apache-2.0
"""NeRF: <scene>/transforms.json with pictures and depth, as instant-ngp and nerfstudio read it.

Cameras are Blendset's own (along -Z, +Y up, pixel centres at halves). Held-out views are `val` and `test`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blendset.records import CameraRecord, ViewRecord
from blendset_trainer.export.geometry import depth_png
from blendset_trainer.export.source import Source, as_json, by_scene, with_passes, write

DEPTH_STEP = 1e-3
"""Blender units per grey level of a depth map: nerfstudio's default; instant-ngp is told. It reaches 65.5 units."""


def export(source: Source, out: Path) -> int:
    """One folder per scene; depth is given where every view of the scene has it, as nerfstudio wants it."""
    for scene, views in by_scene(source.views).items():
        deep = len(with_passes(views)) == len(views)
        for view in views:
            write(out / scene / _picture(view), source.picture(view))
            if deep:
                depth = source.dataset.passes(view).depth
                write(out / scene / _depth(view), depth_png(depth, DEPTH_STEP))
        write(out / scene / "transforms.json", as_json(_transforms(views, deep, source.held_out)))
    return len(source.views)


def _picture(view: ViewRecord) -> str:
    return f"images/{view.view_id}.png"


def _depth(view: ViewRecord) -> str:
    return f"depth/{view.view_id}.png"


def _transforms(views: Sequence[ViewRecord], deep: bool, held_out: frozenset[str]) -> dict[str, Any]:
    head: dict[str, Any] = {"camera_model": "PINHOLE"}
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

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
from blendset_trainer.exporting.geometry import encode_depth_png
from blendset_trainer.exporting.source import ExportSource, encode_json, group_by_scene, select_with_passes, write_file

DEPTH_STEP = 1e-3
"""Blender units per grey level of a depth map: nerfstudio's default, which transforms.json states for instant-ngp.
It reaches 65.5 units."""


def export(source: ExportSource, out: Path) -> int:
    """Write one folder per scene; return the number of views written.

    Depth is written where every view of the scene has it, as nerfstudio requires. Raises BlendsetError where no view
    has a known camera.
    """
    source = source.select_with_cameras()
    for scene, views in group_by_scene(source.views).items():
        has_depth = len(select_with_passes(views)) == len(views)
        for view in views:
            write_file(out / scene / _get_image_path(view), source.read_file(view))
            if has_depth:
                depth = source.dataset.passes(view).depth
                write_file(out / scene / _get_depth_path(view), encode_depth_png(depth, DEPTH_STEP))
        header = {"camera_model": "PINHOLE", "aabb_scale": _compute_aabb_scale(source.dataset.scene(scene))}
        transforms = _build_transforms(views, has_depth, source.held_out)
        write_file(out / scene / "transforms.json", encode_json(header | transforms))
    return len(source.views)


def _compute_aabb_scale(scene: SceneRecord) -> int:
    """The power of two that is the side of instant-ngp's cube, in its own units: it scales the world by 0.33."""
    bounds = [value for entry in scene.objects for value in (*entry.bounds_min, *entry.bounds_max)]
    width = 2 * 0.33 * max(map(abs, bounds), default=0.0)
    return next((scale for scale in (1, 2, 4, 8, 16, 32, 64) if scale >= width), 128)


def _get_image_path(view: ViewRecord) -> str:
    return f"images/{view.view_id}.png"


def _get_depth_path(view: ViewRecord) -> str:
    return f"depth/{view.view_id}.png"


def _build_transforms(views: Sequence[ViewRecord], has_depth: bool, held_out: frozenset[str]) -> dict[str, Any]:
    """Frames, depth scale and splits for transforms.json."""
    header: dict[str, Any] = {}
    if has_depth:
        header |= {"enable_depth_loading": True, "integer_depth_scale": DEPTH_STEP}
    if any(view.view_id in held_out for view in views):
        held_out_images = [_get_image_path(view) for view in views if view.view_id in held_out]
        train = [_get_image_path(view) for view in views if view.view_id not in held_out]
        header |= {"train_filenames": train, "val_filenames": held_out_images, "test_filenames": held_out_images}
    return header | {"frames": [_format_frame(view, has_depth) for view in views]}


def _format_frame(view: ViewRecord, has_depth: bool) -> dict[str, Any]:
    """A frame; each of the two programs has its own name for the depth map."""
    depth = {"depth_file_path": _get_depth_path(view), "depth_path": _get_depth_path(view)} if has_depth else {}
    return {"file_path": _get_image_path(view), **depth, **_format_camera(view.camera)}


def _format_camera(camera: CameraRecord) -> dict[str, Any]:
    return {
        "w": camera.width,
        "h": camera.height,
        "fl_x": camera.fx,
        "fl_y": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "transform_matrix": np.reshape(camera.world_from_camera, (4, 4)).tolist(),
    }

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
from blendset_trainer.exporting.geometry import compute_depth_step, encode_depth_png, find_farthest_depth
from blendset_trainer.exporting.source import (
    ExportSource,
    encode_json,
    group_by_scene,
    has_passes,
    name_picture,
    write_file,
)

NERFSTUDIO_STEP = 1e-3
"""Blender units per grey level of a depth map that nerfstudio expects unless it is told another."""
MAX_ERROR = 1e-3
"""The largest error of a depth map, as a share of the farthest depth, that is worth nerfstudio's step."""


def export(source: ExportSource, out: Path) -> int:
    """Write one folder per scene; return the number of views written. Views whose camera is unknown are left out.

    Depth is written where every view of the scene has it, as nerfstudio requires.
    """
    source = source.select_with_cameras()
    for scene, views in group_by_scene(source.views).items():
        has_depth = all(map(has_passes, views))
        step = _choose_depth_step(source, views) if has_depth else None
        for view in views:
            write_file(out / scene / _get_image_path(view), source.read_file(view))
            if step is not None:
                depth = source.dataset.passes(view).depth
                write_file(out / scene / _get_depth_path(view), encode_depth_png(depth, step))
        header = {"camera_model": "PINHOLE", "aabb_scale": _compute_aabb_scale(source.dataset.scene(scene))}
        transforms = _build_transforms(views, step, source.held_out)
        write_file(out / scene / "transforms.json", encode_json(header | transforms))
    return len(source.views)


def _choose_depth_step(source: ExportSource, views: Sequence[ViewRecord]) -> float:
    """Blender units per grey level of a scene's depth maps: nerfstudio's own step where it reaches the farthest surface
    and is fine enough, else the finest that reaches it. transforms.json states it."""
    farthest = max(find_farthest_depth(source.dataset.passes(view).depth) for view in views)
    is_fitting = compute_depth_step(farthest) <= NERFSTUDIO_STEP and MAX_ERROR * farthest >= NERFSTUDIO_STEP / 2
    return NERFSTUDIO_STEP if is_fitting else compute_depth_step(farthest)


def _compute_aabb_scale(scene: SceneRecord) -> int:
    """The power of two that is the side of instant-ngp's cube, in its own units: it scales the world by 0.33."""
    bounds = [value for entry in scene.objects for value in (*entry.bounds_min, *entry.bounds_max)]
    width = 2 * 0.33 * max(map(abs, bounds), default=0.0)
    return next((scale for scale in (1, 2, 4, 8, 16, 32, 64) if scale >= width), 128)


def _get_image_path(view: ViewRecord) -> str:
    return f"images/{name_picture(view)}"


def _get_depth_path(view: ViewRecord) -> str:
    return f"depth/{view.view_id}.png"


def _build_transforms(views: Sequence[ViewRecord], step: float | None, held_out: frozenset[str]) -> dict[str, Any]:
    """Frames, depth scale and splits for transforms.json; a `step` of None is no depth."""
    header: dict[str, Any] = {}
    if step is not None:
        header |= {"enable_depth_loading": True, "integer_depth_scale": step}
    if any(view.view_id in held_out for view in views):
        held_out_images = [_get_image_path(view) for view in views if view.view_id in held_out]
        train = [_get_image_path(view) for view in views if view.view_id not in held_out]
        header |= {"train_filenames": train, "val_filenames": held_out_images, "test_filenames": held_out_images}
    return header | {"frames": [_format_frame(view, step is not None) for view in views]}


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

# SPDX-License-Identifier: Apache-2.0
"""BOP, scene-wise: <split>/<scene>/ with rgb, depth and mask_visib, cameras and poses; all in millimetres.

The format: docs/bop_datasets_format.md of github.com/thodan/bop_toolkit. Held-out views are the split `val`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from blendset.records import CameraRecord, ViewRecord
from blendset_trainer.exporting.geometry import (
    compute_depth_step,
    compute_opencv_from_world,
    encode_depth_png,
    encode_png,
    find_farthest_depth,
)
from blendset_trainer.exporting.instances import Instance, SceneInstances, compute_bbox, find_instances
from blendset_trainer.exporting.source import ExportSource, encode_json, group_by_scene, write_file


@dataclass(frozen=True, eq=False)
class _NumberedScene:
    """A scene's number, its instances, what to add to their numbers for BOP's object ids, and millimetres per unit."""

    number: int
    instances: SceneInstances
    object_offset: int
    millimetres: float


def export(source: ExportSource, out: Path) -> int:
    """Write the scenes by split, and all objects in models/models_info.json; views without passes are left out.

    Return the number of views written. A dataset holds no meshes, and only the visible pixels of an object. So there
    are no models and no masks of whole silhouettes (optional in BOP), and a model's space is the world's, moved to the
    centre of the object's bounds.
    """
    source = source.select_with_passes()
    scenes = _number_scenes(source)
    for split, views in source.group_by_split("train", "val").items():
        for name, members in group_by_scene(views).items():
            _write_scene(source, scenes[name], members, out / split / f"{scenes[name].number:06d}")
    write_file(out / "models" / "models_info.json", encode_json(_build_models(scenes.values())))
    return len(source.views)


def _number_scenes(source: ExportSource) -> dict[str, _NumberedScene]:
    """Number the scenes by name from 0, and their objects from 1 over all scenes."""
    scenes: dict[str, _NumberedScene] = {}
    offset = 0
    for number, (name, instances) in enumerate(find_instances(source).items()):
        scenes[name] = _NumberedScene(number, instances, offset, 1000 * source.dataset.scene(name).metres_per_unit)
        offset += len(instances.instances)
    return scenes


def _build_models(scenes: Iterable[_NumberedScene]) -> dict[str, Any]:
    """The contents of models_info.json: a model for each object, by its id."""
    return {
        str(scene.object_offset + instance.number): _build_model(instance, scene)
        for scene in scenes
        for instance in scene.instances.instances
    }


def _build_model(instance: Instance, scene: _NumberedScene) -> dict[str, Any]:
    """A model's box in millimetres and, beyond BOP, its name and label.

    The diameter is the box's diagonal, since no two points are farther apart.
    """
    size = (instance.bounds_max - instance.bounds_min) * scene.millimetres
    box = {f"min_{axis}": -side / 2 for axis, side in zip("xyz", size.tolist(), strict=True)}
    box |= {f"size_{axis}": side for axis, side in zip("xyz", size.tolist(), strict=True)}
    return {"diameter": float(np.linalg.norm(size)), **box, "name": instance.name, "label": instance.label}


def _write_scene(source: ExportSource, scene: _NumberedScene, views: Sequence[ViewRecord], folder: Path) -> None:
    """Write the pictures, depth maps, masks, cameras and poses of a scene's views."""
    cameras, poses, info = {}, {}, {}
    for number, view in enumerate(views):
        passes = source.dataset.passes(view)
        depth = passes.depth * scene.millimetres
        step = compute_depth_step(find_farthest_depth(depth))
        visible = list(scene.instances.find_masks(passes.id))
        write_file(folder / "rgb" / f"{number:06d}.png", source.read_file(view))
        write_file(folder / "depth" / f"{number:06d}.png", encode_depth_png(depth, step))
        for index, (_, mask) in enumerate(visible):
            write_file(folder / "mask_visib" / f"{number:06d}_{index:06d}.png", encode_png(mask * np.uint8(255)))
        cameras[number] = _format_camera(view.camera, scene, step) | {"view_id": view.view_id}
        poses[number] = [_format_pose(instance, view.camera, scene) for instance, _ in visible]
        info[number] = [{"bbox_visib": compute_bbox(mask), "px_count_visib": int(mask.sum())} for _, mask in visible]
    write_file(folder / "scene_camera.json", encode_json(cameras))
    write_file(folder / "scene_gt.json", encode_json(poses))
    write_file(folder / "scene_gt_info.json", encode_json(info))


def _format_camera(camera: CameraRecord, scene: _NumberedScene, step: float) -> dict[str, Any]:
    """A camera for scene_camera.json. BOP's pixel (0, 0) has its centre at (0, 0), half a pixel from Blendset's."""
    matrix = compute_opencv_from_world(camera)
    return {
        "cam_K": [camera.fx, 0.0, camera.cx - 0.5, 0.0, camera.fy, camera.cy - 0.5, 0.0, 0.0, 1.0],
        "cam_R_w2c": matrix[:3, :3].ravel().tolist(),
        "cam_t_w2c": (matrix[:3, 3] * scene.millimetres).tolist(),
        "depth_scale": step,
    }


def _format_pose(instance: Instance, camera: CameraRecord, scene: _NumberedScene) -> dict[str, Any]:
    """An object's pose for scene_gt.json: its model's space differs from the world's by a translation."""
    matrix = compute_opencv_from_world(camera)
    centre = matrix[:3, :3] @ ((instance.bounds_min + instance.bounds_max) / 2) + matrix[:3, 3]
    return {
        "obj_id": scene.object_offset + instance.number,
        "cam_R_m2c": matrix[:3, :3].ravel().tolist(),
        "cam_t_m2c": (centre * scene.millimetres).tolist(),
    }

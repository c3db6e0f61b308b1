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
from numpy.typing import NDArray

from blendset.records import CameraRecord, ViewRecord
from blendset_trainer.exporting.geometry import depth_png, opencv_from_world, png
from blendset_trainer.exporting.instances import Instance, Instances, bounding_box, instances_of
from blendset_trainer.exporting.source import Source, as_json, by_scene, with_passes, write


@dataclass(frozen=True, eq=False)
class _Scene:
    """Its number, its things, the number before that of its first thing among all objects, millimetres per unit."""

    number: int
    things: Instances
    before: int
    millimetres: float


def export(source: Source, out: Path) -> int:
    """Write the scenes by split, and all things in models/models_info.json; views without passes are left out.

    A dataset holds no meshes, and of a thing what is seen. So there are no models and no masks of whole silhouettes
    (optional in BOP), and a model's space is the world's, moved to the centre of the thing's bounds.
    """
    scenes = _scenes(source)
    exported = 0
    for split, views in source.splits("train", "val").items():
        for name, members in by_scene(with_passes(views)).items():
            _write_scene(source, scenes[name], members, out / split / f"{scenes[name].number:06d}")
            exported += len(members)
    write(out / "models" / "models_info.json", as_json(_models(scenes.values())))
    return exported


def _scenes(source: Source) -> dict[str, _Scene]:
    scenes: dict[str, _Scene] = {}
    before = 0
    for number, (name, things) in enumerate(instances_of(source).items()):
        scenes[name] = _Scene(number, things, before, 1000 * source.dataset.scene(name).metres_per_unit)
        before += len(things.things)
    return scenes


def _models(scenes: Iterable[_Scene]) -> dict[str, Any]:
    return {str(scene.before + thing.number): _model(thing, scene) for scene in scenes for thing in scene.things.things}


def _model(thing: Instance, scene: _Scene) -> dict[str, Any]:
    """Its box, and beyond BOP what it is; the diameter is the box's diagonal, which no two points surpass."""
    size = (thing.bounds_max - thing.bounds_min) * scene.millimetres
    box = {f"min_{axis}": -side / 2 for axis, side in zip("xyz", size.tolist(), strict=True)}
    box |= {f"size_{axis}": side for axis, side in zip("xyz", size.tolist(), strict=True)}
    return {"diameter": float(np.linalg.norm(size)), **box, "name": thing.name, "label": thing.label}


def _write_scene(source: Source, scene: _Scene, views: Sequence[ViewRecord], folder: Path) -> None:
    cameras, poses, figures = {}, {}, {}
    for number, view in enumerate(views):
        passes = source.dataset.passes(view)
        depth = passes.depth * scene.millimetres
        step = _depth_step(depth)
        seen = list(scene.things.seen_in(passes.id))
        write(folder / "rgb" / f"{number:06d}.png", source.read(view))
        write(folder / "depth" / f"{number:06d}.png", depth_png(depth, step))
        for place, (_, mask) in enumerate(seen):
            write(folder / "mask_visib" / f"{number:06d}_{place:06d}.png", png(mask * np.uint8(255)))
        cameras[number] = _camera(view.camera, scene, step) | {"view_id": view.view_id}
        poses[number] = [_pose(thing, view.camera, scene) for thing, _ in seen]
        figures[number] = [{"bbox_visib": bounding_box(mask), "px_count_visib": int(mask.sum())} for _, mask in seen]
    write(folder / "scene_camera.json", as_json(cameras))
    write(folder / "scene_gt.json", as_json(poses))
    write(folder / "scene_gt_info.json", as_json(figures))


def _depth_step(depth: NDArray[Any]) -> float:
    """Millimetres per grey level: as fine as 16 bits allow for what is farthest."""
    finite = depth[np.isfinite(depth)]
    return float(finite.max() / np.iinfo(np.uint16).max) if finite.size else 1.0


def _camera(camera: CameraRecord, scene: _Scene, step: float) -> dict[str, Any]:
    """BOP's pixel (0, 0) has its centre at (0, 0), half a pixel from Blendset's."""
    matrix = opencv_from_world(camera)
    return {
        "cam_K": [camera.fx, 0.0, camera.cx - 0.5, 0.0, camera.fy, camera.cy - 0.5, 0.0, 0.0, 1.0],
        "cam_R_w2c": matrix[:3, :3].ravel().tolist(),
        "cam_t_w2c": (matrix[:3, 3] * scene.millimetres).tolist(),
        "depth_scale": step,
    }


def _pose(thing: Instance, camera: CameraRecord, scene: _Scene) -> dict[str, Any]:
    matrix = opencv_from_world(camera)
    centre = matrix[:3, :3] @ ((thing.bounds_min + thing.bounds_max) / 2) + matrix[:3, 3]
    return {
        "obj_id": scene.before + thing.number,
        "cam_R_m2c": matrix[:3, :3].ravel().tolist(),
        "cam_t_m2c": (centre * scene.millimetres).tolist(),
    }

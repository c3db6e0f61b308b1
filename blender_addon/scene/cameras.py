# SPDX-License-Identifier: GPL-3.0-or-later
"""The cameras that the artist put into the file, as cameras of the core."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from blendset.cameras import SENSOR_MM, Camera, make_pose
from blendset.records import POSE_TOLERANCE

KINDS = {"ORTHO": "orthographic", "PANO": "panoramic", "CUSTOM": "custom lens"}
"""What cameras are called that no pinhole camera stands for, by Blender's type."""


@dataclass(frozen=True, eq=False)
class SceneCameras:
    """The artist's cameras by name: those that a record can hold, why it cannot hold each of the others, and which of
    the first have depth of field, which is not rendered."""

    cameras: tuple[tuple[str, Camera], ...]
    left_out: tuple[tuple[str, str], ...]
    blurred: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What a person should know of cameras that do not give Blender's own picture."""
        out = [f"cameras left out: {self.list_left_out()}"] if self.left_out else []
        return out + ([f"rendered without depth of field: {', '.join(self.blurred)}"] if self.blurred else [])

    def list_left_out(self) -> str:
        """The cameras that are left out, each with its reason."""
        return ", ".join(f"{name} ({reason})" for name, reason in self.left_out)


def list_camera_objects(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """Every camera of a scene by name: also those that are hidden or in an excluded collection."""
    return sorted((thing for thing in scene.objects if thing.type == "CAMERA"), key=lambda thing: thing.name_full)


def get_picture_size(scene: bpy.types.Scene) -> tuple[int, int]:
    """Width and height of the scene's picture in square pixels."""
    render = scene.render
    return max(1, round(render.resolution_x * render.pixel_aspect_x)), max(
        1, round(render.resolution_y * render.pixel_aspect_y)
    )


def read_cameras(
    depsgraph: bpy.types.Depsgraph, holders: list[bpy.types.Object], size: tuple[int, int]
) -> SceneCameras:
    """Read these objects as a depsgraph evaluates them, for pictures of this shape."""
    cameras, left_out, blurred = [], [], []
    for holder in holders:
        evaluated = holder.evaluated_get(depsgraph)
        if reason := find_camera_objection(evaluated):
            left_out.append((holder.name_full, reason))
            continue
        cameras.append((holder.name_full, read_camera(evaluated, size)))
        if evaluated.data.dof.use_dof:
            blurred.append(holder.name_full)
    return SceneCameras(tuple(cameras), tuple(left_out), tuple(blurred))


def find_camera_objection(evaluated: bpy.types.Object) -> str:
    """Why no record can hold what Blender renders from a camera, or ""."""
    data: Any = evaluated.data
    if data.type != "PERSP":
        return KINDS.get(data.type, data.type.lower())
    axes = _read_axes(evaluated)
    if not np.isfinite(axes).all():
        return "no position, or scaled to nothing"
    if np.abs(axes[:3, :3].T @ axes[:3, :3] - np.eye(3)).max() > POSE_TOLERANCE:
        return "skewed by a parent of uneven scale"
    return "mirrored by a negative scale" if np.linalg.det(axes[:3, :3]) < 0 else ""


def read_camera(evaluated: bpy.types.Object, size: tuple[int, int]) -> Camera:
    """A camera that nothing is objected to, for a picture of this width and height."""
    data: Any = evaluated.data
    matrix = _read_axes(evaluated)
    left, _, right = np.linalg.svd(matrix[:3, :3])  # its nearest rotation: Blender counts in single precision
    longer, fitted = max(size), _choose_fitted_side(data, *size)
    return Camera(
        make_pose(left @ right, matrix[:3, 3]),
        *size,
        focal_length_mm=float(data.lens * SENSOR_MM * fitted / longer / _get_sensor_size(data)),
        shift=(float(data.shift_x * fitted / longer), float(data.shift_y * fitted / longer)),
        clip=(float(data.clip_start), float(data.clip_end)),
    )


def _read_axes(evaluated: bpy.types.Object) -> NDArray[np.float64]:
    """The matrix (4, 4) that Cycles renders a camera with: its axes at unit length, for a scaled camera renders
    unscaled, but mirrored or skewed as they are."""
    matrix = np.array(evaluated.matrix_world, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        matrix[:3, :3] /= np.linalg.norm(matrix[:3, :3], axis=0)
    return matrix


def _choose_fitted_side(data: bpy.types.Camera, width: int, height: int) -> int:
    """The side of the image, in pixels, that Blender fits the sensor to; shifts are in its units."""
    return {"HORIZONTAL": width, "VERTICAL": height}.get(data.sensor_fit, max(width, height))


def _get_sensor_size(data: bpy.types.Camera) -> float:
    return float(data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width)

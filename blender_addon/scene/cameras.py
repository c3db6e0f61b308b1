# SPDX-License-Identifier: GPL-3.0-or-later
"""The cameras that the artist put into the file, as cameras of the core."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from blendset.cameras import SENSOR_MM, Camera, make_pose


def read_cameras(scene: bpy.types.Scene) -> tuple[tuple[str, Camera], ...]:
    """Name and camera of every perspective camera of a scene, in the scene's image shape."""
    found = []
    for thing in sorted(scene.objects, key=lambda thing: thing.name_full):
        if thing.type == "CAMERA" and thing.data.type == "PERSP":
            found.append((thing.name, _read_camera(scene, thing)))
    return tuple(found)


def _read_camera(scene: bpy.types.Scene, holder: bpy.types.Object) -> Camera:
    render = scene.render
    data: Any = holder.data
    width = max(1, round(render.resolution_x * render.pixel_aspect_x))
    height = max(1, round(render.resolution_y * render.pixel_aspect_y))
    matrix = np.array(holder.matrix_world, dtype=np.float64)
    axes = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)  # a scaled camera still renders unscaled
    longer, fitted = max(width, height), _choose_fitted_side(data, width, height)
    return Camera(
        world_from_camera=make_pose(axes, matrix[:3, 3]),
        width=width,
        height=height,
        focal_length_mm=float(data.lens * SENSOR_MM * fitted / longer / _get_sensor_size(data)),
        shift=(float(data.shift_x * fitted / longer), float(data.shift_y * fitted / longer)),
    )


def _choose_fitted_side(data: bpy.types.Camera, width: int, height: int) -> int:
    """The side of the image, in pixels, that Blender fits the sensor to; shifts are in its units."""
    return {"HORIZONTAL": width, "VERTICAL": height}.get(data.sensor_fit, max(width, height))


def _get_sensor_size(data: bpy.types.Camera) -> float:
    return float(data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width)

# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras: intrinsics, poses, projection, and exact framing of a set of points.

Convention: Blender/OpenGL (looks along -Z, +Y up), pixel (0, 0) is the top-left pixel and its centre is (0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.records import CameraRecord

Array = NDArray[np.float64]

SENSOR_MM = 36.0
"""Sensor size along the image's longer side: Blender's default, which every camera of Blendset keeps."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pose, a lens and an image size.

    `world_from_camera` is 4x4 and rigid; `shift` moves the image in units of its longer side, as Blender's lens
    shift does. `clip` is the nearest and the farthest planar depth that is shown, in world units; None shows
    everything.
    """

    world_from_camera: Array
    width: int
    height: int
    focal_length_mm: float
    shift: tuple[float, float] = (0.0, 0.0)
    clip: tuple[float, float] | None = None

    @classmethod
    def from_record(cls, record: CameraRecord) -> Camera:
        """Return the camera that a view's record describes."""
        width, height = record.width, record.height
        longer = max(width, height)
        shift = ((width / 2 - record.cx) / longer, (record.cy - height / 2) / longer)
        matrix = np.array(record.world_from_camera).reshape(4, 4)
        return cls(matrix, width, height, record.fx * SENSOR_MM / longer, shift, record.clip)

    @property
    def position(self) -> Array:
        """Where the camera stands, (3,) in world units."""
        return self.world_from_camera[:3, 3]

    @property
    def rotation(self) -> Array:
        """Columns are the camera's right, up and backward axes in the world, (3, 3)."""
        return self.world_from_camera[:3, :3]

    @property
    def focal_length_px(self) -> float:
        """Focal length in pixels, the same on both axes: pixels are square."""
        return self.focal_length_mm / SENSOR_MM * max(self.width, self.height)

    @property
    def principal_point(self) -> tuple[float, float]:
        """Where the optical axis meets the image, in pixels from the top-left corner."""
        longer = max(self.width, self.height)
        return self.width / 2 - self.shift[0] * longer, self.height / 2 + self.shift[1] * longer

    @property
    def half_tangents(self) -> Array:
        """Tangents of half the field of view, horizontally and vertically, (2,)."""
        return np.array([self.width, self.height]) / (2 * self.focal_length_px)

    def project(self, points: Array) -> tuple[Array, Array]:
        """Return pixels (N, 2) and planar depths (N,) of world points (N, 3); a depth <= 0 lies behind the camera."""
        local = (np.asarray(points, dtype=np.float64) - self.position) @ self.rotation
        depth = -local[:, 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled = local[:, :2] * (self.focal_length_px / depth)[:, None]
        cx, cy = self.principal_point
        return np.stack([cx + scaled[:, 0], cy - scaled[:, 1]], axis=1), depth

    def make_rays(self, pixels: Array) -> Array:
        """Return world directions (N, 3) through pixel positions (N, 2), scaled to planar depth 1."""
        cx, cy = self.principal_point
        local = np.empty((len(pixels), 3))
        local[:, 0] = (pixels[:, 0] - cx) / self.focal_length_px
        local[:, 1] = (cy - pixels[:, 1]) / self.focal_length_px
        local[:, 2] = -1.0
        return local @ self.rotation.T

    def unproject(self, depth: NDArray[Any]) -> Array:
        """Return world positions (H, W, 3) of a planar depth map (H, W) sampled at pixel centres."""
        rays = self.make_rays(compute_pixel_centres(self.width, self.height)).reshape(self.height, self.width, 3)
        return self.position + rays * np.asarray(depth, dtype=np.float64)[..., None]

    def move(self, offset: Array) -> Camera:
        """Return the same camera elsewhere: this far (3,) from where it is."""
        matrix = self.world_from_camera.copy()
        matrix[:3, 3] += offset
        return replace(self, world_from_camera=matrix)

    def resize(self, longer_side: int) -> Camera:
        """Return the same view on another pixel grid, whose longer side has so many pixels."""
        scale = longer_side / max(self.width, self.height)
        width, height = max(1, round(self.width * scale)), max(1, round(self.height * scale))
        return replace(self, width=width, height=height)


def project_all(cameras: Sequence[Camera], points: Array) -> tuple[Array, Array]:
    """Project world points (N, 3) through many cameras, as `Camera.project` does: pixels (C, N, 2), depths (C, N)."""
    local = (points - np.array([camera.position for camera in cameras])[:, None]) @ np.array(
        [camera.rotation for camera in cameras]
    )
    depth = -local[..., 2]
    focal = np.array([camera.focal_length_px for camera in cameras])[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = local[..., :2] * (focal / depth)[..., None] * [1, -1]
    return np.array([camera.principal_point for camera in cameras])[:, None] + scaled, depth


@lru_cache(maxsize=8)
def compute_pixel_centres(width: int, height: int, columns: int = 0, rows: int = 0) -> Array:
    """Return the centres (N, 2) of all pixels, row by row; or of a coarser grid of `columns` x `rows` cells over the
    same image.

    The result is read-only, because callers share it.
    """
    columns, rows = columns or width, rows or height
    x = (np.arange(columns) + 0.5) * (width / columns)
    y = (np.arange(rows) + 0.5) * (height / rows)
    centres = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    centres.flags.writeable = False
    return centres


def direction_from_angles(azimuth_deg: float, elevation_deg: float) -> Array:
    """Return the unit vector (3,) at an azimuth (from +X towards +Y) and an elevation above the horizon."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.array(
        [np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth), np.sin(elevation)], dtype=np.float64
    )


def angles_from_direction(vector: Array) -> tuple[float, float]:
    """Return azimuth and elevation in degrees of a vector (3,): the inverse of `direction_from_angles`."""
    azimuth = float(np.degrees(np.arctan2(vector[1], vector[0]))) % 360.0
    return azimuth, float(np.degrees(np.arctan2(vector[2], np.hypot(vector[0], vector[1]))))


def make_facing_rotation(backward: Array) -> Array:
    """Return the rotation (3, 3) of an upright camera whose backward axis is `backward` (3,); where that is vertical,
    the image's up is +Y."""
    x, y, z = backward / np.linalg.norm(backward)
    level = float(np.hypot(x, y))
    right = (-y / level, x / level) if level > 1e-9 else (1.0, 0.0)
    return np.array(
        [[right[0], -z * right[1], x], [right[1], z * right[0], y], [0.0, level if level > 1e-9 else 0.0, z]]
    )


def make_pose(rotation: Array, position: Array) -> Array:
    """Return a 4x4 matrix from a rotation (3, 3) and a position (3,)."""
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, position
    return matrix


def compute_framing_position(points: Array, rotation: Array, half_tangents: Array) -> Array:
    """Return the nearest position (3,) from which all points (N, 3) lie within the given half-tangents on both axes.

    Exact in perspective. A camera at (X, Z) along one image axis and backwards holds a point (x, z) when
    |x - X| <= t (Z - z); over all points that is X + t Z >= A = max(x + t z) and -X + t Z >= B = max(-x + t z), so
    Z = (A + B) / 2t and X = (A - B) / 2. The axis that needs more distance decides, the other stays centred.
    """
    local = points @ rotation
    x, z = local[:, :2], local[:, 2:]
    far = (x + half_tangents * z).max(axis=0)
    near = (-x + half_tangents * z).max(axis=0)
    nearest = z.max() + 0.01 * np.ptp(local, axis=0).max()  # one vertex alone may hold the view: never stand on it
    backward = max(((far + near) / (2 * half_tangents)).max(), nearest)
    return np.asarray(rotation @ np.array([*((far - near) / 2), backward]))


def compute_framing_distance(points: Array, centre: Array, rotation: Array, half_tangents: Array) -> float:
    """Return the distance from `centre` (3,), which stays in the middle of the image, at which all points (N, 3) are
    within the tangents.

    d = max over points of max(|x| / t_x, |y| / t_y) + z, with z the point's offset towards the camera.
    """
    local = (points - centre) @ rotation
    return float(((np.abs(local[:, :2]) / half_tangents).max(axis=1) + local[:, 2]).max())

# SPDX-License-Identifier: Apache-2.0
"""A scene in closed form: two balls and a box on a floor, ray traced exactly, so that who sees what is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from blendset.cameras import (
    Array,
    Camera,
    compute_pixel_centres,
    direction_from_angles,
    make_facing_rotation,
    make_pose,
)
from blendset.correspondence import ViewGeometry
from blendset.exr import Passes

FLOOR = 8.0
"""Half its side."""
BALLS = (((0.0, 0.0, 0.9), 0.9), ((1.5, -0.6, 0.5), 0.5))
BOX = ((-1.7, -0.7, 0.0), (-0.9, 0.4, 1.3))
BALL, SMALL_BALL, CRATE, GROUND = 1, 2, 3, 4
CENTRE = np.array([0.0, 0.0, 0.6])
SUBJECT_SIDE = 3.7
"""The longest side of balls and box together."""
FACING_AWAY = 1e-4
"""Of a ray's length: how far from its own surface a point must be hidden to be hidden."""


@dataclass(frozen=True, eq=False)
class Hits:
    """First hits of rays: distances in units of each ray's length (inf on a miss), ids (0) and unit normals (0)."""

    distance: Array
    ids: np.ndarray[tuple[int], np.dtype[np.uint32]]
    normals: Array


def make_camera(azimuth_deg: float, elevation_deg: float = 30.0, distance: float = 6.5, size: int = 256) -> Camera:
    """A camera that looks at the middle of the scene."""
    backward = direction_from_angles(azimuth_deg, elevation_deg)
    return Camera(make_pose(make_facing_rotation(backward), CENTRE + distance * backward), size, size, 45.0)


def trace_geometry(camera: Camera) -> ViewGeometry:
    """The camera, and the passes that a perfect renderer would give it."""
    hits = cast_rays(np.broadcast_to(camera.position, (camera.width * camera.height, 3)), make_camera_rays(camera))
    shape = camera.height, camera.width
    depth, ids, normals = hits.distance.reshape(shape), hits.ids.reshape(shape), hits.normals.reshape(*shape, 3)
    return ViewGeometry(camera, Passes(depth.astype(np.float32), normals.astype(np.float32), ids))


def make_camera_rays(camera: Camera) -> Array:
    """Directions (H W, 3) through the pixel centres, of planar depth 1."""
    return camera.make_rays(compute_pixel_centres(camera.width, camera.height))


def is_visible(camera: Camera, points: Array) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Whether nothing stands between a camera and each of the points (N, 3), by casting a ray at it from the camera;
    the back of a surface hides itself. Points outside the frame count as not seen.
    """
    towards = points - camera.position
    hits = cast_rays(np.broadcast_to(camera.position, towards.shape), towards)
    pixels, depth = camera.project(points)
    with np.errstate(invalid="ignore"):
        framed = (depth > 0) & ((pixels >= 0) & (pixels <= [camera.width, camera.height])).all(axis=1)
        return np.asarray(framed & (hits.distance > 1 - FACING_AWAY))


def cast_rays(origins: Array, rays: Array) -> Hits:
    """The first hits of rays (N, 3)."""
    shapes = [
        *(_hit_ball(origins, rays, np.array(middle), radius) for middle, radius in BALLS),
        _hit_box(origins, rays),
    ]
    shapes.append(_hit_floor(origins, rays))
    distances = np.array([distance for distance, _ in shapes])
    nearest = distances.argmin(axis=0)
    distance = distances.min(axis=0)
    hit = np.isfinite(distance)
    normals = np.array([normals for _, normals in shapes])[nearest, np.arange(len(rays))]
    return Hits(distance, np.where(hit, nearest + 1, 0).astype(np.uint32), np.where(hit[:, None], normals, 0.0))


def _hit_ball(origins: Array, rays: Array, middle: Array, radius: float) -> tuple[Array, Array]:
    from_middle = origins - middle
    a, b = (rays**2).sum(axis=1), (rays * from_middle).sum(axis=1)
    root = b**2 - a * ((from_middle**2).sum(axis=1) - radius**2)
    distance = (-b - np.sqrt(np.maximum(root, 0))) / a
    distance = np.where((root > 0) & (distance > 0), distance, np.inf)
    return distance, (from_middle + rays * np.where(np.isfinite(distance), distance, 0)[:, None]) / radius


def _hit_box(origins: Array, rays: Array) -> tuple[Array, Array]:
    with np.errstate(divide="ignore"):
        sides = (np.array(BOX)[:, None] - origins) / rays
    enter, leave = sides.min(axis=0), sides.max(axis=0).min(axis=1)
    axis = enter.argmax(axis=1)
    distance = enter.max(axis=1)
    normals = np.zeros_like(rays)
    every = np.arange(len(rays))
    normals[every, axis] = -np.sign(rays[every, axis])
    return np.where((distance > 0) & (distance <= leave), distance, np.inf), normals


def _hit_floor(origins: Array, rays: Array) -> tuple[Array, Array]:
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = -origins[:, 2] / rays[:, 2]
        position = origins[:, :2] + rays[:, :2] * distance[:, None]
        hit = (distance > 0) & (np.abs(position) <= FLOOR).all(axis=1)
    return np.where(hit, distance, np.inf), np.broadcast_to([0.0, 0.0, 1.0], rays.shape)

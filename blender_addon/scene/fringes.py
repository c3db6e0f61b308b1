# SPDX-License-Identifier: GPL-3.0-or-later
"""Points of what renders without triangles, such as hair: it is seen as its object, and must fit into the picture."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

MOST_POINTS = 512
"""Points that tell where the hair of an object is."""
NO_POINTS: NDArray[np.float64] = np.zeros((0, 3))
POINTS_PER_HAIR = 3


def read_fringe(evaluated: bpy.types.Object, has_particles: bool) -> NDArray[np.float64]:
    """Points (N, 3), in the coordinates of the object, of the hair that its particles or its curves are."""
    if evaluated.type in {"CURVES", "POINTCLOUD"}:
        return _read_positions(evaluated.data)
    if not has_particles:
        return NO_POINTS
    strands = [_read_strands(evaluated, system) for system in evaluated.particle_systems if _is_hair(system)]
    return np.concatenate([NO_POINTS, *strands])


def _is_hair(system: bpy.types.ParticleSystem) -> bool:
    settings = system.settings
    return settings.type == "HAIR" and settings.render_type == "PATH" and len(system.particles) > 0


def _read_strands(evaluated: bpy.types.Object, system: bpy.types.ParticleSystem) -> NDArray[np.float64]:
    """Points (N, 3) on some of the strands, their children among them, from root to tip."""
    parents, children = len(system.particles), len(system.child_particles)
    first = parents if children and not system.settings.use_parent_particles else 0
    chosen = np.unique(np.linspace(first, parents + children - 1, MOST_POINTS // POINTS_PER_HAIR).astype(int))
    steps = 2 ** int(system.settings.render_step)
    at = [round(steps * number / (POINTS_PER_HAIR - 1)) for number in range(POINTS_PER_HAIR)]
    world = np.array([system.co_hair(evaluated, particle_no=int(n), step=step) for n in chosen for step in at])
    world = world[np.isfinite(world).all(axis=1) & world.any(axis=1)]  # a strand that is not there lies at the origin
    matrix = np.array(evaluated.matrix_world)
    if not len(world) or not np.isfinite(matrix).all() or np.linalg.det(matrix[:3, :3]) == 0:
        return NO_POINTS
    return np.asarray((world - matrix[:3, 3]) @ np.linalg.inv(matrix[:3, :3]).T)


def _read_positions(data: Any) -> NDArray[np.float64]:
    """Positions (N, 3) of some of the points of hair curves or of a point cloud."""
    attribute = data.attributes.get("position")
    if attribute is None or not len(attribute.data):
        return NO_POINTS
    positions = np.empty(3 * len(attribute.data), dtype=np.float32)
    attribute.data.foreach_get("vector", positions)
    points = positions.reshape(-1, 3).astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    return points[:: max(1, -(-len(points) // MOST_POINTS))]

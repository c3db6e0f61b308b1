# SPDX-License-Identifier: Apache-2.0
"""Points that stand for a shape: those that span it, and a sample of its surface."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.placement.scene import Snapshot, fibonacci_sphere

SMALL_MESH, HULL_DIRECTIONS = 256, 512
"""Up to so many vertices a mesh frames itself; of a larger one the extremes in so many directions do."""


def find_spanning_points(vertices: Array) -> Array:
    """Return those of the vertices (V, 3) that span their hull, (K, 3): all of a small mesh, the extremes in
    HULL_DIRECTIONS directions of a large one."""
    if len(vertices) <= SMALL_MESH:
        return vertices
    extremes = {int(np.argmax(vertices @ axis)) for axis in fibonacci_sphere(HULL_DIRECTIONS)}
    return vertices[sorted(extremes)]


def sample_surface_points(scene: Snapshot, triangles: NDArray[np.intp], count: int, rng: np.random.Generator) -> Array:
    """Sample points (count, 3) on these triangles (T,), stratified by area; for one generator they depend on the shape
    alone, and not on how its triangles are numbered."""
    corners = _sort_triangles(scene.vertices[scene.triangles[triangles]])
    edges = corners[:, 1:] - corners[:, :1]
    total = np.cumsum(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))
    if not len(total) or total[-1] <= 0:
        return np.repeat(corners[:1, 0], count, axis=0)
    steps = (np.arange(count) + rng.random(count)) / count * total[-1]
    chosen = np.minimum(np.searchsorted(total, steps), len(total) - 1)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points: Array = corners[chosen, 0] + u * edges[chosen, 0] + v * edges[chosen, 1]
    return points[rng.permutation(count)]


def _sort_triangles(corners: Array) -> Array:
    """Return triangles (T, 3, 3) sorted by position, and their corners within them: modifiers number them differently
    from one Blender to the next."""
    if not len(corners):
        return corners
    low = corners.min(axis=(0, 1))
    step = 1e-5 * float((corners.max(axis=(0, 1)) - low).max()) or 1.0
    cells = np.floor((corners - low) / step + 0.37).astype(np.int64)  # not a half: shapes like to lie on round numbers
    within = np.lexsort(np.moveaxis(cells, 2, 0)[::-1], axis=1)
    cells, corners = (np.take_along_axis(thing, within[..., None], axis=1) for thing in (cells, corners))
    return np.asarray(corners[np.lexsort(cells.reshape(len(cells), 9).T[::-1])])

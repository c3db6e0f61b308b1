# SPDX-License-Identifier: GPL-3.0-or-later
"""The core's questions about a scene, answered by one BVH over all triangles that render.

Several times cheaper per ray than scene.ray_cast (benchmarks/screening.py), which follows the viewport's visibility.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.placement.scene import Snapshot


class JoinedGeometry:
    """Implements blendset.placement.scene.Geometry. Coordinates are recentred: the tree is single precision."""

    def __init__(self, snapshot: Snapshot, triangles: NDArray[np.intp] | None = None) -> None:
        self._snapshot = snapshot
        self._parts: dict[frozenset[int], JoinedGeometry] = {}
        self._numbers = np.arange(len(snapshot.triangles)) if triangles is None else triangles
        corners = snapshot.triangles[self._numbers]
        is_used = np.zeros(len(snapshot.vertices), dtype=bool)
        is_used[corners] = True
        points = snapshot.vertices[is_used]
        local = (np.cumsum(is_used) - 1)[corners]
        self._centre = points.mean(axis=0) if len(points) else np.zeros(3)
        self._tree = BVHTree.FromPolygons((points - self._centre).tolist(), local.tolist(), all_triangles=True)

    def cast(self, origins: Array, directions: Array) -> tuple[Array, NDArray[np.int64]]:
        """First hits: distances in units of each direction's length, inf on a miss; triangle numbers, -1 on a miss."""
        if not len(origins) or not len(self._numbers):
            return np.full(len(origins), np.inf), np.full(len(origins), -1, dtype=np.int64)
        hits = list(map(self._tree.ray_cast, (origins - self._centre).tolist(), directions.tolist()))
        distances = np.array([hit[3] for hit in hits], dtype=np.float64)  # None, on a miss, becomes NaN
        struck = ~np.isnan(distances)
        triangles = np.full(len(origins), -1, dtype=np.int64)
        triangles[struck] = self._numbers[[hit[2] for hit in hits if hit[2] is not None]]
        return np.where(struck, distances, np.inf) / np.linalg.norm(directions, axis=1), triangles

    def is_near(self, points: Array, radius: float) -> NDArray[np.bool_]:
        """Whether any surface lies within `radius` of each point."""
        nearest = self._tree.find_nearest
        return np.array(
            [nearest(point, radius)[2] is not None for point in (points - self._centre).tolist()], dtype=bool
        )

    def nearest(self, points: Array) -> NDArray[np.int64]:
        """The triangle nearest to each point; -1 in an empty scene."""
        nearest = self._tree.find_nearest
        found = [-1 if (hit := nearest(point)[2]) is None else hit for point in (points - self._centre).tolist()]
        local = np.array(found, dtype=np.int64)
        return np.where(local >= 0, self._numbers[local] if len(self._numbers) else -1, -1)

    def restrict_to(self, ids: Iterable[int]) -> JoinedGeometry:
        """The same scene with nothing but these objects; built once per set."""
        key = frozenset(ids)
        if key not in self._parts:
            self._parts[key] = JoinedGeometry(self._snapshot, self._snapshot.find_triangles(key))
        return self._parts[key]

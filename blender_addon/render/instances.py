# SPDX-License-Identifier: GPL-3.0-or-later
"""From Cycles' object index to Blendset's ids, one per object *and* instance.

The index pass knows objects, not instances, and counts to 32,767. Where one index stands for several things, a
pixel's position (depth and camera) tells which: by bounding boxes where that is clear, else by the nearest triangle.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Camera

from ..scene.snapshot import OpenScene

BOX_TEST_LIMIT = 64
"""Up to so many candidates the boxes are tried first."""


def find_object_ids(
    opened: OpenScene,
    camera: Camera,
    pass_indices: NDArray[np.int32],
    depth: NDArray[np.float32],
    hit: NDArray[np.bool_],
) -> NDArray[np.uint32]:
    """Ids (H, W) for the index pass `pass_indices` (H, W) and planar `depth` (H, W).

    They are 0 where `hit` (H, W) is false.
    """
    by_pass_index: dict[int, list[int]] = defaultdict(list)
    for number, pass_index in enumerate(opened.pass_indices.tolist()):
        if number:
            by_pass_index[pass_index].append(number)
    ids = np.zeros(pass_indices.shape, dtype=np.uint32)
    positions: NDArray[np.float64] | None = None
    for pass_index in np.unique(pass_indices[hit]).tolist():
        where = hit & (pass_indices == pass_index)
        candidates = by_pass_index.get(pass_index, [])
        if len(candidates) == 1:
            ids[where] = candidates[0]
            continue
        if positions is None:
            positions = camera.unproject(depth)
        ids[where] = _find_nearest_object(opened, candidates, positions[where])
    return ids


def _find_nearest_object(opened: OpenScene, candidates: list[int], points: NDArray[np.float64]) -> NDArray[np.int64]:
    """The id of what each point (N, 3) lies on, among `candidates` (all objects when there are none)."""
    snapshot = opened.snapshot
    chosen = np.zeros(len(points), dtype=np.int64)
    if 0 < len(candidates) <= BOX_TEST_LIMIT:
        boxes = snapshot.bounds[[number - 1 for number in candidates]]
        slack = 1e-4 * np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1, keepdims=True) + 1e-6 * np.abs(boxes).max()
        inside = ((points[:, None] >= boxes[:, 0] - slack) & (points[:, None] <= boxes[:, 1] + slack)).all(axis=2)
        alone = inside.sum(axis=1) == 1
        chosen[alone] = np.array(candidates)[inside[alone].argmax(axis=1)]
    open_points = np.flatnonzero(chosen == 0)
    if len(open_points):
        geometry = opened.geometry.restrict_to(candidates) if candidates else opened.geometry
        triangles = geometry.nearest(points[open_points])
        found = (
            np.where(triangles >= 0, snapshot.owner[triangles], 0)
            if len(snapshot.owner)
            else np.zeros(len(open_points))
        )
        chosen[open_points] = np.where(found > 0, found, candidates[0] if candidates else 0)
    return chosen

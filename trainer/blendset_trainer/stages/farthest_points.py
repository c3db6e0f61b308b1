# SPDX-License-Identifier: Apache-2.0
"""Greedy farthest points: exact, and without computing all distances for each choice.

Distances are chords between unit vectors, sqrt(2 - 2 cosine), in float32.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

RECENT = 256
"""After so many chosen points, all distances are updated in one matrix product."""
POOL = 512
"""So many points with the largest distances are updated after each choice."""
ROWS = 8192
"""Rows of one block of a large matrix product, which bounds its memory."""


class FarthestPointSearch:
    """Finds the point farthest from the chosen points, without computing all distances for each choice.

    A distance never grows as points are chosen, so an old distance is an upper bound. The point with the largest bound
    is the farthest once its own distance is up to date. `points` is (n, d), of unit rows, `weights` (n,).
    """

    def __init__(self, points: Vectors, weights: NDArray[np.float32] | None = None) -> None:
        self._points = points
        self._weights = np.ones(len(points), dtype=np.float32) if weights is None else weights
        self._distance = np.full(len(points), 2.0, dtype=np.float32)
        self._recent: list[int] = []
        self._refill(np.arange(min(POOL, len(points))))

    def add(self, point: int) -> None:
        """Choose a point."""
        self._recent.append(point)
        self._lower(self._pool, self._pool_points @ self._points[point])
        if len(self._recent) == RECENT:
            for start in range(0, len(self._points), ROWS):
                self._update(np.arange(start, min(start + ROWS, len(self._points))))
            self._recent.clear()

    def find_farthest(self, open: NDArray[np.bool_]) -> int:
        """Return the open point with the largest distance times weight; of equal ones always the same.

        `open` is a mask (n,) that is true somewhere.
        """
        while True:
            worth = np.where(open, self._distance * self._weights, np.float32(-1))
            best = int(self._pool[np.argmax(worth[self._pool])])
            if worth[best] >= worth.max():
                return best
            self._refill(np.argpartition(worth, -len(self._pool))[-len(self._pool) :])

    def _refill(self, pool: NDArray[np.int64]) -> None:
        self._pool, self._pool_points = pool, self._points[pool]
        self._update(pool)

    def _update(self, rows: NDArray[np.int64]) -> None:
        """Bring the distances of these points up to date."""
        if self._recent:
            self._lower(rows, (self._points[rows] @ self._points[self._recent].T).max(axis=1))

    def _lower(self, rows: NDArray[np.int64], cosine: Vectors) -> None:
        chord = np.sqrt(np.maximum(2 - 2 * cosine, 0))
        self._distance[rows] = np.minimum(self._distance[rows], chord)

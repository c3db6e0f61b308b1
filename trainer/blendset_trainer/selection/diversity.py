# SPDX-License-Identifier: Apache-2.0
"""Choosing views that differ: BlendFusion's parallel farthest-point sampling, and k-center weighted with quality.

Both are greedy and exact; distances are chords between unit vectors, sqrt(2 - 2 cosine), in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.selection.budgets import Allowance
from blendset_trainer.selection.columns import Numbers, Vectors

RECENT = 256
"""Chosen points that not every distance knows of yet; then all distances are brought up to date in one product."""
POOL = 512
"""Points of largest distance whose distances are kept up to date."""
ROWS = 8192
"""Rows of one block of a large product, which bounds the memory."""


class FarthestPointSearch:
    """The point farthest from those chosen, found without measuring all of them for each choice.

    Distances only shrink as points are chosen, so an old one is an upper bound: when the point with the largest bound
    was measured against everything chosen, it is the farthest. Points is (n, d), unit rows.
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
                self._measure(np.arange(start, min(start + ROWS, len(self._points))))
            self._recent.clear()

    def find_farthest(self, open: NDArray[np.bool_]) -> int:
        """Return the open point whose distance times weight is largest, of equals always the same; some point is
        open."""
        while True:
            worth = np.where(open, self._distance * self._weights, np.float32(-1))
            best = int(self._pool[np.argmax(worth[self._pool])])
            if worth[best] >= worth.max():
                return best
            self._refill(np.argpartition(worth, -len(self._pool))[-len(self._pool) :])

    def _refill(self, pool: NDArray[np.int64]) -> None:
        self._pool, self._pool_points = pool, self._points[pool]
        self._measure(pool)

    def _measure(self, rows: NDArray[np.int64]) -> None:
        """Bring the distances of these points up to date."""
        if self._recent:
            self._lower(rows, (self._points[rows] @ self._points[self._recent].T).max(axis=1))

    def _lower(self, rows: NDArray[np.int64], cosine: Vectors) -> None:
        chord = np.sqrt(np.maximum(2 - 2 * cosine, 0))
        self._distance[rows] = np.minimum(self._distance[rows], chord)


def k_center(points: Vectors, quality: Numbers, allowance: Allowance, count: int) -> list[int]:
    """Choose up to `count` rows: first the best, then always the one with the largest distance times quality.

    Quality is (n,) and not negative; plain farthest points love outliers, which this keeps at bay.
    """
    best = int(np.argmax(np.where(allowance.open, quality, -np.inf)))
    frontier = FarthestPointSearch(points, quality.astype(np.float32))
    return list(_chosen([frontier], allowance, [best], [0] * count))


def parallel_farthest_points(
    points: Vectors, sizes: Sequence[int], allowance: Allowance, seed: int
) -> tuple[list[int], list[int]]:
    """Choose rows for several splits at once; returns them in order of choice, and the split of each.

    BlendFusion (arXiv 2604.09022, its diversity-aware sampling): seeds of a plain farthest-point sampling are dealt to
    the splits, which then take turns in the proportion of their sizes, each taking from the shared pool what is
    farthest from its own. The paper does not say where the first seed lies; here it is drawn.
    """
    if not allowance.open.any():
        return [], []
    turns = list(_turns(sizes))
    first = int(np.random.default_rng(seed).choice(np.flatnonzero(allowance.open)))
    seeds = _chosen(
        [FarthestPointSearch(points)], Allowance(allowance.open), [first], [0] * sum(size > 0 for size in sizes)
    )
    chosen = list(_chosen([FarthestPointSearch(points) for _ in sizes], allowance, list(seeds), turns))
    return chosen, turns[: len(chosen)]


def _turns(sizes: Sequence[int]) -> Iterator[int]:
    """Whose turn it is: each split once for its seed, then always the one that has least of its size."""
    have = [0] * len(sizes)
    for _ in range(sum(sizes)):
        hungry = [split for split, size in enumerate(sizes) if have[split] < size]
        split = min(hungry, key=lambda split: (have[split] > 0, (have[split] + 1) / sizes[split]))
        have[split] += 1
        yield split


def _chosen(
    frontiers: Sequence[FarthestPointSearch], allowance: Allowance, seeds: Sequence[int], turns: Sequence[int]
) -> Iterator[int]:
    """Yield a row per turn while the allowance lasts: the seeds, then what is farthest for the one whose turn it is."""
    for number, turn in enumerate(turns):
        if not allowance.open.any():
            return
        seeded = number < len(seeds) and allowance.open[seeds[number]]
        row = seeds[number] if seeded else frontiers[turn].find_farthest(allowance.open)
        frontiers[turn].add(row)
        allowance.take(row)
        yield row

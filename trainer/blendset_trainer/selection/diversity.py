# SPDX-License-Identifier: Apache-2.0
"""Chooses views that differ: BlendFusion's parallel farthest-point sampling, and k-center weighted with quality.

Both are greedy and exact. Distances are chords between unit vectors, sqrt(2 - 2 cosine), in float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from blendset_trainer.selection.budgets import Allowance
from blendset_trainer.selection.columns import Numbers, Vectors
from blendset_trainer.stages.farthest_points import FarthestPointSearch


def k_center(points: Vectors, quality: Numbers, allowance: Allowance, count: int) -> list[int]:
    """Choose up to `count` rows of `points` (n, d): the best first, then always the largest distance times quality.

    `quality` is (n,) and not negative; without it, farthest points are mostly outliers.
    """
    best = int(np.argmax(np.where(allowance.open, quality, -np.inf)))
    search = FarthestPointSearch(points, quality.astype(np.float32))
    return list(_choose_in_turns([search], allowance, [best], [0] * count))


def parallel_farthest_points(
    points: Vectors, sizes: Sequence[int], allowance: Allowance, seed: int
) -> tuple[list[int], list[int]]:
    """Choose rows of `points` (n, d) for several splits at once; return them in order of choice, and the split of each.

    This is BlendFusion's diversity-aware sampling (arXiv 2604.09022). A plain farthest-point sampling gives one seed to
    each split. Then the splits take turns in proportion to their sizes, and each takes from the shared pool the point
    farthest from its own points. The paper does not say what the first seed is; here it is random.
    """
    if not allowance.open.any():
        return [], []
    turns = list(_plan_turns(sizes))
    first = int(np.random.default_rng(seed).choice(np.flatnonzero(allowance.open)))
    seeds = _choose_in_turns(
        [FarthestPointSearch(points)], Allowance(allowance.open), [first], [0] * sum(size > 0 for size in sizes)
    )
    chosen = list(_choose_in_turns([FarthestPointSearch(points) for _ in sizes], allowance, list(seeds), turns))
    return chosen, turns[: len(chosen)]


def _plan_turns(sizes: Sequence[int]) -> Iterator[int]:
    """Yield the split of each turn: every split once for its seed, then always the one that has least of its size."""
    have = [0] * len(sizes)
    for _ in range(sum(sizes)):
        unfilled = [split for split, size in enumerate(sizes) if have[split] < size]
        split = min(unfilled, key=lambda split: (have[split] > 0, (have[split] + 1) / sizes[split]))
        have[split] += 1
        yield split


def _choose_in_turns(
    searches: Sequence[FarthestPointSearch], allowance: Allowance, seeds: Sequence[int], turns: Sequence[int]
) -> Iterator[int]:
    """Yield a row per turn while the allowance lasts: the seeds, then the farthest point for the split of the turn."""
    for number, turn in enumerate(turns):
        if not allowance.open.any():
            return
        seeded = number < len(seeds) and allowance.open[seeds[number]]
        row = seeds[number] if seeded else searches[turn].find_farthest(allowance.open)
        searches[turn].add(row)
        allowance.take(row)
        yield row

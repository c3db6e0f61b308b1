# SPDX-License-Identifier: Apache-2.0
"""How far two sets of features cover each other, by nearest neighbours.

Precision and recall are those of Kynkäänniemi et al. (arXiv 1904.06991), density and coverage those of Naeem et al.
(arXiv 2002.09797), all with the same K. Recall falls first where pictures become alike.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from blendset_trainer.evaluation.statistics.kernels import Features, Mask, Statistic, compute_square_distances

K = 5
"""Which neighbour bounds a picture's surroundings."""
_SORTED = 32


def prepare_neighbours(features: Features, trusted: Features) -> dict[str, Statistic]:
    """Return precision, recall, density and coverage of features (N, D) against trusted ones (M, D), both over K long.

    - precision: the share of pictures that lie in the surroundings of a trusted one;
    - recall: the share of trusted pictures that lie in the surroundings of a picture;
    - density: in how many trusted surroundings a picture lies, by K;
    - coverage: the share of trusted pictures in whose surroundings a picture lies.

    A picture's surroundings reach to its K-th nearest neighbour among its own.
    """
    across = compute_square_distances(trusted, features)
    find_reach = _prepare_reach(features)
    inside = (across < _prepare_reach(trusted)(np.ones(len(trusted), bool))[:, None]).astype(np.float32)
    surroundings = inside.sum(axis=0)

    def compute_recall(counts: Mask) -> float:
        return float((across < np.where(counts, find_reach(counts), -1)).any(axis=1).mean())

    return {
        "precision": lambda counts: float((surroundings[counts] > 0).mean()),
        "recall": compute_recall,
        "density": lambda counts: float(surroundings[counts].mean(dtype=np.float64) / K),
        "coverage": lambda counts: float((inside @ counts.astype(np.float32) > 0).mean()),
    }


def _prepare_reach(features: Features) -> Callable[[Mask], Features]:
    """Return a function of which pictures of features (N, D) count, which gives the square of the distance (N,) of each
    to its K-th neighbour among these.

    So many neighbours are sorted that it is among them where few pictures are left out; else all are.
    """
    distances = compute_square_distances(features, features)
    np.fill_diagonal(distances, -1)  # each is its own nearest
    kept = min(len(features), _SORTED)
    nearest = np.argpartition(distances, kept - 1, axis=1)[:, :kept]
    nearest = np.take_along_axis(nearest, np.take_along_axis(distances, nearest, axis=1).argsort(axis=1), axis=1)
    sorted_distances = np.take_along_axis(distances, nearest, axis=1)

    def find_reach(counts: Mask) -> Features:
        rank = counts[nearest].cumsum(axis=1)
        found = rank[:, -1] > K
        reach = np.take_along_axis(sorted_distances, (rank > K).argmax(axis=1)[:, None], axis=1)[:, 0]
        for row in np.flatnonzero(counts & ~found):
            reach[row] = np.partition(distances[row, counts], K)[K]
        return reach

    return find_reach

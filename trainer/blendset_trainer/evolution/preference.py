# SPDX-License-Identifier: Apache-2.0
"""Best of n by several scorers at once: preference sampling by mean rank, with a floor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Values = NDArray[np.float64]


def choose_best(values: Values, keys: NDArray[np.str_], floor: Values | None = None) -> NDArray[np.int64]:
    """Return the rows of the best picture of each prompt, by the mean of its ranks in several figures.

    `values` (N, F) are figures of which more is better, `keys` (N,) the prompts. A picture without a figure is never
    chosen, nor one that is below `floor` (F,) in one of them. Ranks are over all pictures of the round, so that a clear
    lead in one figure counts more than a narrow one in another; of equal ones the first is taken.
    """
    known = np.asarray(np.isfinite(values).all(axis=1))
    ranks = np.full(len(values), -1.0)
    if known.any():
        ranks[known] = np.mean([rankdata(column) for column in values[known].T], axis=0)
    best: dict[str, int] = {}
    for row, key in enumerate(keys):
        if known[row] and (key not in best or ranks[row] > ranks[best[key]]):
            best[str(key)] = row
    rows = np.array(sorted(best.values()), np.int64)
    return rows if floor is None else rows[(values[rows] >= floor).all(axis=1)]

# SPDX-License-Identifier: Apache-2.0
"""The weighted score by which views are put in order.

SynthVLM's is CLIPScore + 0.5 SSIMScore (arXiv 2407.20756): columns as they are, summed and not averaged.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.columns import Numbers, read_numbers
from blendset_trainer.selection.rules import Ranking


def compute_scores(table: pa.Table, ranking: Ranking, among: NDArray[np.bool_]) -> Numbers:
    """Return each view's weighted score (views,), NaN where one of its terms is missing.

    Standardized terms have mean 0 and standard deviation 1 over the views `among` which to choose, a mask (views,).
    """
    total = np.zeros(table.num_rows)
    for term in ranking.terms:
        values = read_numbers(table, term.column)
        if term.floor is not None:
            values = np.maximum(values, term.floor)
        total += term.weight * (_standardize(values, among) if ranking.standardise else values)
    return total


def sort_best_first(scores: Numbers, among: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the rows of the mask `among` (views,), highest score first; equal scores keep the table's order."""
    rows = np.flatnonzero(among)
    return rows[np.argsort(-scores[rows], kind="stable")]


def _standardize(values: Numbers, among: NDArray[np.bool_]) -> Numbers:
    known = values[among & ~np.isnan(values)]
    spread = known.std() if len(known) else 0.0
    return (values - known.mean()) / spread if spread > 0 else np.where(np.isnan(values), np.nan, 0.0)

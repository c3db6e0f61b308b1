# SPDX-License-Identifier: Apache-2.0
"""Finds views that look alike, across subjects and scenes; perceptual hashes and embeddings are both unit vectors here.

The search is exact and goes block by block: a block is multiplied with the rows that were kept before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.columns import Vectors, read_unit_vectors
from blendset_trainer.selection.groups import Groups, link_groups, number_view_sets
from blendset_trainer.selection.rules import DuplicateRule, load_preset

ROWS, OTHERS = 256, 2048
"""Sizes of a block of cosines: it fits a processor's cache, which gives most of the speed."""


def read_vectors_and_cosine(table: pa.Table, rule: DuplicateRule) -> tuple[Vectors, float]:
    """Return the views' unit vectors (views, dimensions), and the least cosine of two duplicates under this rule."""
    vectors = read_unit_vectors(table, rule.column)
    if rule.bits is None:
        return vectors, float(rule.cosine or 0)
    return vectors, 1 - (2 * rule.bits + 1) / vectors.shape[1]  # half a bit more, for rounding


def find_duplicates(vectors: Vectors, sets: Groups, cosine: float) -> NDArray[np.int64]:
    """Return, for each row of `vectors` (n, d), the earlier kept row that it duplicates, -1 where it is kept itself.

    Rows come best first. Rows of one set (`sets` is (n,)) are not duplicates of one another; rows of NaN have none.
    """
    original = np.full(len(vectors), -1)
    kept, kept_rows, count = np.empty_like(vectors), np.empty(len(vectors), dtype=np.int64), 0
    for start in range(0, len(vectors), ROWS):
        block = vectors[start : start + ROWS]
        for row, other in _find_alike(block, kept[:count], cosine):
            if original[start + row] < 0 and sets[start + row] != sets[kept_rows[other]]:
                original[start + row] = kept_rows[other]
        for row, other in _find_alike(block, block, cosine):
            later, earlier = start + row, start + other
            if earlier < later and original[later] < 0 and original[earlier] < 0 and sets[later] != sets[earlier]:
                original[later] = earlier
        fresh = start + np.flatnonzero(original[start : start + ROWS] < 0)
        kept[count : count + len(fresh)], kept_rows[count : count + len(fresh)] = vectors[fresh], fresh
        count += len(fresh)
    return original


def group_duplicates(table: pa.Table) -> tuple[list[Any], str]:
    """Return a value per view, equal where pictures look the same, and how they were compared, in words.

    Compares as the preset `blendset` does, or byte for byte where there are no perceptual hashes yet. Views of one set
    are not duplicates of one another.
    """
    rule = next(rule for rule in load_preset("blendset").duplicates if rule.bits is not None)
    if rule.column not in table.column_names:
        return table["rgb_sha256"].to_pylist(), "byte for byte"
    vectors, cosine = read_vectors_and_cosine(table, rule)
    sets = number_view_sets(table)
    pairs = [(one, other) for one, other in find_alike_pairs(vectors, cosine) if sets[one] != sets[other]]
    groups: list[Any] = link_groups([], pairs, table.num_rows).tolist()
    return groups, f"by perceptual hash (at most {rule.bits} of its 64 bits differ)"


def find_alike_pairs(vectors: Vectors, cosine: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows (earlier, later) whose cosine is at least this."""
    for start in range(0, len(vectors), ROWS):
        for row, other in _find_alike(vectors[start : start + ROWS], vectors[: start + ROWS], cosine):
            if other < start + row:
                yield other, start + row


def _find_alike(block: Vectors, others: Vectors, cosine: float) -> Iterator[tuple[int, int]]:
    """Yield the pairs of rows (in the block, in the others) whose cosine is at least this."""
    for start in range(0, len(others), OTHERS):
        alike = block @ others[start : start + OTHERS].T >= cosine
        if alike.any():
            rows, columns = np.nonzero(alike)
            yield from zip(rows.tolist(), (start + columns).tolist(), strict=True)

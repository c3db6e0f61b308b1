# SPDX-License-Identifier: Apache-2.0
"""Groups of views: by scene, subject, label or view set, and by links between single views."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.columns import read_numbers, read_texts

Groups = NDArray[np.int64]
"""A group number per view (views,), below the number of views."""

FOCAL_LENGTH = "fx"
"""The column, in pixels; 0 for a picture whose camera is unknown."""
KEYS = {"scene": ("scene",), "subject": ("scene", "subject"), "label": ("subject_label",), "view_set": ()}
"""The columns that identify a scene, subject or label; for view sets see `number_view_sets`."""


def number_groups(table: pa.Table, kind: str) -> Groups:
    """Return the number of each view's scene, subject, label or view set, which `kind`, a key of KEYS, names.

    A picture without a subject and without a known camera shows nothing that another one shows for certain: its
    subject is that of its view set alone, or its own, which is that of further views that were made of it.
    """
    if kind == "view_set":
        return number_view_sets(table)
    keys = [read_texts(table, column) for column in KEYS[kind]]
    if kind == "subject" and FOCAL_LENGTH in table.column_names:
        alone = (keys[-1] == "") & (read_numbers(table, FOCAL_LENGTH) == 0)
        single = alone & (read_texts(table, "view_set") == "")
        keys[-1] = np.where(single, read_texts(table, "view_id"), keys[-1])  # which is the subject of its novel views
        keys.append(np.where(alone & ~single, number_view_sets(table).astype(np.str_), ""))
    return _number_rows(*keys)


def number_view_sets(table: pa.Table) -> Groups:
    """Return the number of each view's view set; a view of no set is a set of its own."""
    names = read_texts(table, "view_set")
    alone = np.where(names == "", read_texts(table, "view_id"), "")
    return _number_rows(read_texts(table, "scene"), names, alone)


def link_groups(groups: Iterable[Groups], pairs: Iterable[tuple[int, int]], count: int) -> Groups:
    """Return the groups of `count` views where views belong together that share any of `groups` or form a pair."""
    parent = list(range(count))

    def find_root(view: int) -> int:
        while parent[view] != view:
            parent[view] = parent[parent[view]]
            view = parent[view]
        return view

    def link(view: int, other: int) -> None:
        first, last = sorted((find_root(view), find_root(other)))
        parent[last] = first

    for numbers in groups:
        _, first, member = np.unique(numbers, return_index=True, return_inverse=True)
        for view, other in enumerate(first[member].tolist()):
            link(view, other)
    for view, other in pairs:
        link(view, other)
    return np.array([find_root(view) for view in range(count)], dtype=np.int64)


def _number_rows(*keys: NDArray[np.str_]) -> Groups:
    """Return a number per row (views,), equal for rows that are equal in all keys (views,)."""
    group = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        values, number = np.unique(key, return_inverse=True)
        group = np.unique(group * max(len(values), 1) + number, return_inverse=True)[1].astype(np.int64)
    return group

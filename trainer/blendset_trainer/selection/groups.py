# SPDX-License-Identifier: Apache-2.0
"""Which views belong together: by scene, subject, label or view set, and by links between single views."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.columns import read_texts

Groups = NDArray[np.int64]
"""A number per view, below the number of views; equal for the views of one group."""

KEYS = {"scene": ("scene",), "subject": ("scene", "subject"), "label": ("subject_label",), "view_set": ()}
"""The columns that tell one scene, subject or label from another; of view sets `view_sets` knows."""


def number_groups(table: pa.Table, kind: str) -> Groups:
    """Number each view's scene, subject, label or view set."""
    return (
        number_view_sets(table)
        if kind == "view_set"
        else _numbered(*(read_texts(table, column) for column in KEYS[kind]))
    )


def number_view_sets(table: pa.Table) -> Groups:
    """Number each view's view set; a view without one is a group of its own."""
    names = read_texts(table, "view_set")
    alone = np.where(names == "", read_texts(table, "view_id"), "")
    return _numbered(read_texts(table, "scene"), names, alone)


def link_groups(groups: Iterable[Groups], pairs: Iterable[tuple[int, int]], count: int) -> Groups:
    """Number the groups that arise when views are together that share any group or make a pair."""
    parent = list(range(count))

    def root(view: int) -> int:
        while parent[view] != view:
            parent[view] = parent[parent[view]]
            view = parent[view]
        return view

    def link(view: int, other: int) -> None:
        first, last = sorted((root(view), root(other)))
        parent[last] = first

    for each in groups:
        _, first, member = np.unique(each, return_index=True, return_inverse=True)
        for view, other in enumerate(first[member].tolist()):
            link(view, other)
    for view, other in pairs:
        link(view, other)
    return np.array([root(view) for view in range(count)], dtype=np.int64)


def _numbered(*keys: NDArray[np.str_]) -> Groups:
    """Number the groups of equal rows."""
    group = np.zeros(len(keys[0]), dtype=np.int64)
    for key in keys:
        values, number = np.unique(key, return_inverse=True)
        group = np.unique(group * max(len(values), 1) + number, return_inverse=True)[1].astype(np.int64)
    return group

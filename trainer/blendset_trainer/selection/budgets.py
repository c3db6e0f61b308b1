# SPDX-License-Identifier: Apache-2.0
"""Budgets: how many views of one scene, subject, label or view set may be chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.groups import KEYS, Groups, number_groups
from blendset_trainer.selection.rules import Budgets


class Allowance:
    """Which views may still be chosen (`open`), and which budget excludes a view (`spent`, else ""); both (views,)."""

    def __init__(
        self,
        among: NDArray[np.bool_],
        groups: Mapping[str, Groups] | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> None:
        self.open = among.copy()
        self.spent = np.full(len(among), "", dtype="<U8")
        self._groups = groups or {}
        self._left = {kind: np.full(len(among), limit) for kind, limit in (limits or {}).items()}

    def take(self, row: int) -> None:
        """Choose a view; where a budget of one of its groups is spent then, the rest of that group is excluded."""
        self.open[row] = False
        for kind, left in self._left.items():
            groups = self._groups[kind]
            left[groups[row]] -= 1
            if left[groups[row]] == 0:
                others = self.open & (groups == groups[row])
                self.spent[others] = kind
                self.open &= ~others


def make_allowance(table: pa.Table, budgets: Budgets, among: NDArray[np.bool_]) -> Allowance:
    """Return the allowance of the views `among` which to choose, a mask (views,), under these budgets."""
    limits = {kind: limit for kind in KEYS if (limit := getattr(budgets, kind)) is not None}
    return Allowance(among, {kind: number_groups(table, kind) for kind in limits}, limits)

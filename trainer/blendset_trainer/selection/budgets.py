# SPDX-License-Identifier: Apache-2.0
"""How many views one scene, subject, label or view set may have: an allowance that is spent as views are chosen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.groups import KEYS, Groups, number_groups
from blendset_trainer.selection.rules import Budgets


class Allowance:
    """Which views may still be chosen (`open`), and which budget closed the others (`spent`, "" where none did)."""

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
        """Choose a view, and close the groups whose budget it was the last of."""
        self.open[row] = False
        for kind, left in self._left.items():
            groups = self._groups[kind]
            left[groups[row]] -= 1
            if left[groups[row]] == 0:
                others = self.open & (groups == groups[row])
                self.spent[others] = kind
                self.open &= ~others


def make_allowance(table: pa.Table, budgets: Budgets, among: NDArray[np.bool_]) -> Allowance:
    """Return what may be chosen of these views under these budgets."""
    limits = {kind: limit for kind in KEYS if (limit := getattr(budgets, kind)) is not None}
    return Allowance(among, {kind: number_groups(table, kind) for kind in limits}, limits)

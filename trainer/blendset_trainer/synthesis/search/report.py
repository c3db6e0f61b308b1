# SPDX-License-Identifier: Apache-2.0
"""What a search of settings found, as it is kept in a dataset and printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TriedSettings:
    """One setting: the mean figure over the prompts, its 95 % interval, and how much less than the best's it is, with
    the interval of that difference (over the same prompts)."""

    options: dict[str, Any]
    mean: float
    interval: tuple[float, float]
    behind: float
    behind_interval: tuple[float, float]


@dataclass(frozen=True)
class SearchReport:
    """What a search found: by which column, over how many prompts, each setting in the order of the grid, and the
    options that are used, with the reason as a sentence."""

    by: str
    prompts: int
    settings: tuple[TriedSettings, ...]
    chosen: dict[str, Any]
    reason: str
    left_out: tuple[str, ...] = ()

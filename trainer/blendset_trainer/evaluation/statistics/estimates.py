# SPDX-License-Identifier: Apache-2.0
"""A value with its interval. Loads nothing heavy, for records are read by the command line."""

from __future__ import annotations

from dataclasses import dataclass

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, from `units` units. `effect` is the size of a difference in standard deviations
    (Cohen's d; of pairs, of their differences), None for what is no difference.
    """

    value: float
    low: float
    high: float
    units: int
    effect: float | None = None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval leaves zero out: whether a difference is one."""
        return self.low > 0 or self.high < 0

# SPDX-License-Identifier: Apache-2.0
"""Which accepted candidates become views: greedy on score, newly visible surface and angular separation, in a budget.

A ViewSelector hands out one unit at a time (a view, or a complete view set); the caller reports whether the unit passed
its preview. When every report is "accepted", the result is the ranking of a plan without previews.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.config import CameraSettings
from blendset.placement.gates import Verdict

Unit = tuple[Verdict, ...]
"""What is accepted or rejected as a whole: one view, or the views of a set in order."""

PATIENCE, EXHAUSTED = 2, 6
"""Failed previews of one subject in a row before others of as many views get their turn, and failed ones in all, for
each view that it has or is to get first, before it comes last of all."""

NEW_SURFACE_WEIGHT, APART_WEIGHT, FAILED_WEIGHT = 0.3, 0.2, 1.0
"""What a candidate gains over its score: for surface that no accepted view shows, for its angle to the accepted views,
and for its angle to those whose preview failed."""
APART_DEG, FAILED_DEG = 90, 75
"""Angles from which more of them adds nothing."""


@dataclass(eq=False)
class _Pool:
    """The candidates of one subject (or of the scene), with what became of them."""

    units: list[Unit]
    limit: int
    separation: float
    scores: Array = field(init=False)
    directions: Array = field(init=False)
    visible_points: NDArray[np.bool_] = field(init=False)
    available: NDArray[np.bool_] = field(init=False)
    accepted: list[int] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    failures_in_a_row: int = 0

    def __post_init__(self) -> None:
        self.scores = np.array([np.mean([view.score for view in unit]) for unit in self.units])
        towards = np.array([[view.candidate.view_direction for view in unit] for unit in self.units], dtype=np.float64)
        self.directions = towards / np.linalg.norm(towards, axis=2, keepdims=True)
        self.visible_points = np.array([np.any([view.visible_points for view in unit], axis=0) for unit in self.units])
        self.available = np.ones(len(self.units), dtype=bool)

    def compute_angle_to(self, chosen: Sequence[int]) -> Array:
        """Return the degrees (N,) from every candidate to the nearest of some chosen ones; 180 where there are none."""
        if not chosen:
            return np.full(len(self.units), 180.0)
        cosine = np.einsum("ukx,cjx->ucjk", self.directions, self.directions[list(chosen)]).max(axis=(1, 2, 3))
        return np.asarray(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    def find_best(self) -> int | None:
        """Return the candidate to preview now; None when none is left that is far enough from the accepted ones."""
        apart = self.compute_angle_to(self.accepted)
        allowed = self.available & (apart >= self.separation)
        if not allowed.any() or self.view_count >= self.limit:
            return None
        visible = self.visible_points
        known = visible[self.accepted].any(axis=0) if self.accepted else np.zeros(visible.shape[1], dtype=bool)
        fresh = (visible & ~known).mean(axis=1) if visible.shape[1] else np.zeros(len(self.units))
        value = self.scores + NEW_SURFACE_WEIGHT * fresh + APART_WEIGHT * np.minimum(apart, APART_DEG) / APART_DEG
        value = value + FAILED_WEIGHT * np.minimum(self.compute_angle_to(self.failed), FAILED_DEG) / FAILED_DEG
        return int(np.argmax(np.where(allowed, value, -np.inf)))

    @property
    def view_count(self) -> int:
        """How many views have been accepted, those of sets counted singly."""
        return sum(len(self.units[index]) for index in self.accepted)

    @property
    def deferred(self) -> bool:
        """Whether so many previews failed in a row that others get their turn."""
        return self.failures_in_a_row >= PATIENCE

    @property
    def exhausted(self) -> bool:
        """Whether so many previews failed in all that it comes last."""
        return len(self.failed) >= EXHAUSTED * (1 + len(self.accepted))


class ViewSelector:
    """Hands out units, the most promising first; `report` takes the preview's decision on the last one.

    `subjects` maps a subject's rank (best first) to its units, `scenery` holds scene views. Ends when the budget of
    views or of previews is spent, or nothing is left.
    """

    def __init__(
        self, subjects: Sequence[list[Unit]], scenery: list[Unit], settings: CameraSettings, per_view: float
    ) -> None:
        self._pools = [_Pool(units, settings.per_subject, settings.separation_deg) for units in subjects if units]
        quota = round(settings.views * (settings.scene_views if self._pools else 1)) if scenery else 0
        self._scenery = _Pool(scenery, quota, settings.separation_deg) if quota else None
        self._views, self._previews = settings.views, round(settings.views * per_view)
        self._last: tuple[_Pool, int] | None = None
        self.accepted: list[Unit] = []

    @property
    def accepted_views(self) -> int:
        """How many views have been accepted, those of sets counted singly."""
        return sum(len(unit) for unit in self.accepted)

    def next(self) -> Unit | None:
        """Return the unit to preview now; None at the end."""
        if self.accepted_views >= self._views or self._previews <= 0:
            return None
        for pool in self._order_pools():
            index = pool.find_best()
            if index is not None:
                self._last = (pool, index)
                pool.available[index] = False
                self._previews -= len(pool.units[index])
                return pool.units[index]
        return None

    def report(self, accepted: bool) -> None:
        """Take the preview's decision on the unit that `next` returned."""
        assert self._last is not None
        pool, index = self._last
        if accepted:
            pool.accepted.append(index)
            pool.failures_in_a_row = 0
            self.accepted.append(pool.units[index])
        else:
            pool.failed.append(index)
            pool.failures_in_a_row += 1

    def _order_pools(self) -> list[_Pool]:
        """Pools in the order in which they deserve the next look: every subject gets a view before another gets its
        second, and those whose previews keep failing come last."""
        turns = sorted(self._pools, key=lambda pool: (bool(pool.accepted), pool.deferred, len(pool.accepted)))
        if self._scenery:
            due = self._is_scenery_due() and not self._scenery.deferred
            turns.insert(0 if due else len(turns), self._scenery)
        return sorted(turns, key=lambda pool: pool.exhausted)

    def _is_scenery_due(self) -> bool:
        """Scene views come in their share of the way, not all at once."""
        assert self._scenery is not None
        return not self._pools or len(self._scenery.accepted) * self._views <= self.accepted_views * self._scenery.limit

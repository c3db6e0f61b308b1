# SPDX-License-Identifier: Apache-2.0
"""The state of each scene of a run, from the plan to the line in the summary.

No processes here; the supervisor moves these along.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from blendset.jobs.messages import ScenePlanned
from blendset.placement.obstacles import explain_no_views, format_counts

Status = Literal["done", "partial", "failed"]


@dataclass(frozen=True)
class SceneSummary:
    """How one scene ended. `views` of `planned` are in the dataset; `log` is the end of what a dead Blender printed.

    `status` is "partial" where views failed, so that there are fewer than were asked for. `reason` says why it is not
    "done", or which limit kept a scene that is done at fewer views.
    """

    scene: str
    status: Status
    run: str
    planned: int
    views: int
    passed: int
    reason: str
    seconds: float
    notes: tuple[str, ...]
    funnel: dict[str, int]
    subjects: dict[str, int]
    log: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """How the whole run ended. `trouble` is what went wrong after the last view, with the index."""

    scenes: tuple[SceneSummary, ...]
    seconds: float
    cancelled: bool
    trouble: str

    @property
    def done(self) -> bool:
        """Whether every scene is complete and nothing went wrong."""
        return not self.trouble and all(scene.status == "done" for scene in self.scenes)

    @property
    def sound(self) -> bool:
        """Whether every scene has views and nothing went wrong, though some may lack views that failed."""
        return not self.trouble and not any(scene.status == "failed" for scene in self.scenes)


@dataclass(eq=False)
class SceneJob:
    """One scene on its way: the views that wait, and for each that is in the dataset which checks it failed.

    `reason` is what went wrong; `losses` and `limit` are as ScenePlanned has them. With `judged` a view that fails its
    checks is missing from what was asked for.
    """

    path: Path
    renders: bool = True
    judged: bool = True
    scene_id: str = ""
    run: str = ""
    planned: int = 0
    waiting: deque[str] = field(default_factory=deque)
    failed_checks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    deaths: int = 0
    reason: str = ""
    losses: str = ""
    limit: str = ""
    closed: bool = False
    started: float = 0.0
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    funnel: dict[str, int] = field(default_factory=dict)
    subjects: dict[str, int] = field(default_factory=dict)
    log: tuple[str, ...] = ()

    @property
    def has_work(self) -> bool:
        """Whether the scene has to be planned, or views of it wait."""
        return not self.closed and (not self.run or bool(self.waiting))

    @property
    def status(self) -> Status:
        """How the scene stands; it is only final once it is closed."""
        if not (self.reason or self.losses or self._failures):
            return "done"
        return "partial" if self.failed_checks or (self.losses and not self.renders) else "failed"

    @property
    def passed(self) -> int:
        """How many views passed every check."""
        return sum(not checks for checks in self.failed_checks.values())

    @property
    def _failures(self) -> str:
        """Which checks finished views failed, where they were held to them."""
        counts = Counter(checks[0] for checks in self.failed_checks.values() if checks)
        if not counts or not self.judged:
            return ""
        return (
            f"{counts.total()} of {len(self.failed_checks)} views fail their checks ({format_counts(counts)}); they "
            "are kept and marked, and selections leave them out"
        )

    def add_notes(self, notes: Sequence[str]) -> None:
        """Add notes of a worker, each once."""
        self.notes += [note for note in notes if note not in self.notes]

    def accept_plan(self, event: ScenePlanned, views: Sequence[str], failed_checks: dict[str, tuple[str, ...]]) -> None:
        """Take over the plan: `views` are this run's share of it, `failed_checks` has those already in the dataset."""
        self.run, self.funnel, self.subjects = event.run, event.funnel, event.subjects
        self.losses, self.limit = event.losses, event.limit
        self.planned, self.failed_checks = len(views), failed_checks
        self.waiting = deque(view for view in views if self.renders and view not in failed_checks)
        self.add_notes(event.notes)
        if not event.views:
            self.reason = explain_no_views(self.funnel, self.subjects)

    def explain_end(self) -> str:
        """Return why it is not done, or which limit kept it at fewer views; "" where it has all that was asked for."""
        if self.reason:
            return self.reason
        return "; ".join(filter(None, (self.losses or self.limit, self._failures)))

    def take_views(self, count: int) -> list[str]:
        """Take up to `count` waiting views off the queue."""
        return [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]

    def return_views(self, batch: list[str]) -> None:
        """Put unfinished views back; the first was at work when its Blender died, so it goes last."""
        self.waiting.extendleft(reversed(batch[1:]))
        self.waiting.extend(batch[:1])

    def summarize(self) -> SceneSummary:
        """Return how the scene stands now, for the summary."""
        return SceneSummary(
            scene=str(self.path),
            status=self.status,
            run=self.run,
            planned=self.planned,
            views=len(self.failed_checks),
            passed=self.passed,
            reason=self.explain_end(),
            seconds=self.seconds,
            notes=tuple(self.notes),
            funnel=self.funnel,
            subjects=self.subjects,
            log=self.log,
        )

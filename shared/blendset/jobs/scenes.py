# SPDX-License-Identifier: Apache-2.0
"""The state of each scene of a run, from the plan to the line in the summary.

No processes here; the supervisor moves these along.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from blendset.jobs.messages import ScenePlanned

Status = Literal["done", "partial", "failed"]


@dataclass(frozen=True)
class SceneSummary:
    """How one scene ended. `views` of `planned` are in the dataset; `log` is the end of what a dead Blender printed."""

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


@dataclass(eq=False)
class SceneJob:
    """One scene on its way: the views that wait, and for each that is in the dataset whether it passed its checks."""

    path: Path
    scene_id: str = ""
    run: str = ""
    planned: int = 0
    waiting: deque[str] = field(default_factory=deque)
    passed: dict[str, bool] = field(default_factory=dict)
    deaths: int = 0
    reason: str = ""
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
        if not self.reason:
            return "done"
        return "partial" if self.passed else "failed"

    def add_notes(self, notes: Sequence[str]) -> None:
        """Add notes of a worker, each once."""
        self.notes += [note for note in notes if note not in self.notes]

    def accept_plan(self, event: ScenePlanned, views: Sequence[str], passed: dict[str, bool], render: bool) -> None:
        """Take over the plan: `views` are this run's share of it, `passed` those that are already in the dataset."""
        self.run, self.funnel, self.subjects = event.run, event.funnel, event.subjects
        self.planned, self.passed = len(views), passed
        self.waiting = deque(view for view in views if render and view not in passed)
        self.add_notes(event.notes)
        if not event.views:
            self.reason = _explain_nothing_planned(self.funnel)

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
            views=len(self.passed),
            passed=sum(self.passed.values()),
            reason=self.reason,
            seconds=self.seconds,
            notes=tuple(self.notes),
            funnel=self.funnel,
            subjects=self.subjects,
            log=self.log,
        )


def _explain_nothing_planned(funnel: dict[str, int]) -> str:
    rejected = {reason: count for reason, count in funnel.items() if count and reason not in ("candidates", "accepted")}
    if not rejected:
        return "there is nothing to photograph: no camera was proposed"
    return f"no camera was good enough; the reason was mostly '{max(rejected, key=lambda reason: rejected[reason])}'"

# SPDX-License-Identifier: Apache-2.0
"""What executors run: tasks over shards of items. And the task of a stage, which turns a shard of views into a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset_trainer.models.memory import run_within_memory
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import BATCH_VIEWS, ViewItem, ViewShard, cut_shards, read_view
from blendset_trainer.stages.stage import ReviewingStage, Stage, View

DECODERS = 2
"""Threads that read and decode the next batch while the stage computes this one."""

LoadedView = tuple[ViewItem, View | BlendsetError]


@dataclass(frozen=True)
class ShardResult:
    """The outcome of a shard: how many views it had, the reason for each that has no result, and notes for the user."""

    views: int
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Setup(Protocol):
    """What a worker sets up before its first shard, such as a model."""

    @property
    def revision(self) -> str:
        """The revision of the model's weights; "" without a model."""

    def setup(self) -> None:
        """Load what is heavy; called once per process."""


class Item(Protocol):
    """A unit of work about one view."""

    @property
    def view_id(self) -> str:
        """The id of the view."""


Shard = tuple[Item, ...]
"""Items that a worker computes together, whatever the task."""


class Task(Protocol):
    """What an executor sends to its workers: small and picklable."""

    @property
    def stage(self) -> Setup:
        """What each worker sets up once."""

    def compute(self, shard: Any) -> ShardResult:
        """Compute a shard (a tuple of this task's items), write its results and return what became of it."""


@dataclass(frozen=True)
class StageTask:
    """Runs a stage over the views of a dataset; a `Task`."""

    dataset: Dataset
    stage: Stage

    def compute(self, shard: ViewShard) -> ShardResult:
        """Compute the rows of a shard and write them as one file; views that cannot be read get no row."""
        done: dict[ViewItem, tuple[ViewRecord, Mapping[str, Any]]] = {}
        unreadable: dict[str, str] = {}
        notes: list[str] = []
        for batch in self._load_batches(shard):
            unreadable |= _find_unreadable(batch, self.stage.whole_sets)
            sound = {item: view for item, view in batch if isinstance(view, View) and item.view_id not in unreadable}
            answers = self._compute_rows(sound, notes) if sound else []
            for item, row in zip(sound, answers, strict=True):
                if isinstance(row, BlendsetError):
                    unreadable[item.view_id] = str(row)
                else:
                    done[item] = sound[item].record, row
        rows = self._review_rows(done, notes)
        unreadable |= {item.view_id: str(row) for item, row in rows.items() if isinstance(row, BlendsetError)}
        kept = {item: row for item, row in rows.items() if not isinstance(row, BlendsetError)}
        if kept:
            folder = StageFolder.from_stage(self.dataset.root, self.stage)
            folder.write_shard(self.stage, list(kept), list(kept.values()))
        return ShardResult(len(shard), unreadable, tuple(notes))

    def _review_rows(
        self, done: Mapping[ViewItem, tuple[ViewRecord, Mapping[str, Any]]], notes: list[str]
    ) -> dict[ViewItem, Mapping[str, Any] | BlendsetError]:
        """Return what becomes of each row of a shard, where the stage looks at them together."""
        records, rows = [record for record, _ in done.values()], [row for _, row in done.values()]
        reviewed = self.stage.review_rows(records, rows, notes) if isinstance(self.stage, ReviewingStage) else rows
        return dict(zip(done, reviewed, strict=True))

    def _compute_rows(self, views: Mapping[ViewItem, View], notes: list[str]) -> list[dict[str, Any] | BlendsetError]:
        """Return each view's row, or a BlendsetError that says why it has none; in halves where memory is too small."""
        return run_within_memory(
            lambda some: self.stage.compute_rows([view for _, view in some]),
            list(views.items()),
            lambda pair: pair[0].group if self.stage.whole_sets else pair[0].view_id,
            "take a smaller model, or one behind a server",
            notes,
        )

    def _load_batches(self, shard: ViewShard) -> Iterator[list[LoadedView]]:
        """Yield the shard's views in batches; each is decoded while the one before is computed."""
        ahead: deque[list[Future[LoadedView]]] = deque()
        with ThreadPoolExecutor(DECODERS) as decoders:
            for batch in cut_shards(shard, BATCH_VIEWS, self.stage.whole_sets):
                ahead.append([decoders.submit(self._load_view, item) for item in batch])
                if len(ahead) > 1:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]

    def _load_view(self, item: ViewItem) -> LoadedView:
        try:
            view = read_view(self.dataset, item)
            if "rgb" in self.stage.reads:
                view.rgb  # noqa: B018 (decoded here, in a thread)
            for planes, has_planes in (("passes", view.has_passes), ("ids", view.has_ids)):
                if has_planes and planes in self.stage.reads:
                    getattr(view, planes)
        except BlendsetError as error:
            return item, error
        return item, view


class Executor(Protocol):
    """A way to run a task."""

    def run(self, task: Task, shards: Iterable[Shard]) -> Iterator[ShardResult]:
        """Compute the shards and yield the result of each as it is done, in any order."""


def _find_unreadable(batch: Sequence[LoadedView], whole_sets: bool) -> dict[str, str]:
    """Return why views get no row, by view id; with `whole_sets` a view that cannot be read excludes its whole set."""
    reasons = {item.view_id: str(error) for item, error in batch if isinstance(error, BlendsetError)}
    if whole_sets:
        broken = {item.group: reasons[item.view_id] for item, _ in batch if item.view_id in reasons}
        reasons |= {
            item.view_id: f"Its view set is not whole: {broken[item.group]}"
            for item, _ in batch
            if item.group in broken and item.view_id not in reasons
        }
    return reasons

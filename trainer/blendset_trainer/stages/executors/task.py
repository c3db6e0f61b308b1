# SPDX-License-Identifier: Apache-2.0
"""The work that every executor hands out, and that of a stage: one shard, from the views on disk to a finished file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Protocol

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.models.memory import within_memory
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import BATCH_VIEWS, Item, Shard, cut, read_view
from blendset_trainer.stages.stage import Stage, View

DECODERS = 2
"""Threads that read and decode the next batch while the stage is at work on this one."""

Loaded = tuple[Item, View | BlendsetError]


@dataclass(frozen=True)
class Done:
    """A shard that is done: how many views it had, why some of them have nothing, and what a person should know."""

    views: int
    unreadable: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Ready(Protocol):
    """What a worker makes ready before its first shard."""

    @property
    def revision(self) -> str:
        """Of the model's weights; "" without a model."""

    def setup(self) -> None:
        """Once per process."""


class Part(Protocol):
    """What shards are made of."""

    @property
    def view_id(self) -> str:
        """Of the view that it is about."""


Parts = tuple[Part, ...]
"""A shard, of whatever work."""


class Work(Protocol):
    """What executors send to their workers: small, and picklable."""

    @property
    def stage(self) -> Ready:
        """Made ready once per worker."""

    def compute(self, shard: Any) -> Done:
        """Do a shard: a tuple of parts."""


@dataclass(frozen=True)
class Job:
    """A stage and the dataset it works on."""

    dataset: Dataset
    stage: Stage

    def compute(self, shard: Shard) -> Done:
        """Make the rows of a shard and write them; views that cannot be read get none."""
        items: list[Item] = []
        rows: list[dict[str, object]] = []
        unreadable: dict[str, str] = {}
        notes: list[str] = []
        for batch in self._batches(shard):
            unreadable |= _unreadable(batch, self.stage.whole_sets)
            sound = {item: view for item, view in batch if isinstance(view, View) and item.view_id not in unreadable}
            answers = self._rows(sound, notes) if sound else []
            for item, row in zip(sound, answers, strict=True):
                if isinstance(row, BlendsetError):
                    unreadable[item.view_id] = str(row)
                else:
                    items.append(item)
                    rows.append(row)
        if items:
            StageFolder.of(self.dataset.root, self.stage).write_shard(self.stage, items, rows)
        return Done(len(shard), unreadable, tuple(notes))

    def _rows(self, views: Mapping[Item, View], notes: list[str]) -> list[dict[str, Any] | BlendsetError]:
        """What the stage says of each view, or why it says nothing."""
        return within_memory(
            lambda some: self.stage.rows([view for _, view in some]),
            list(views.items()),
            lambda each: each[0].group if self.stage.whole_sets else each[0].view_id,
            "take a smaller model, or one behind a server",
            notes,
        )

    def _batches(self, shard: Shard) -> Iterator[list[Loaded]]:
        """The shard's views in batches, each decoded while the one before is worked on."""
        ahead: deque[list[Future[Loaded]]] = deque()
        with ThreadPoolExecutor(DECODERS) as decoders:
            for batch in cut(shard, BATCH_VIEWS, self.stage.whole_sets):
                ahead.append([decoders.submit(self._load, item) for item in batch])
                if len(ahead) > 1:
                    yield [future.result() for future in ahead.popleft()]
            while ahead:
                yield [future.result() for future in ahead.popleft()]

    def _load(self, item: Item) -> Loaded:
        try:
            view = read_view(self.dataset, item)
            if "rgb" in self.stage.reads:
                view.rgb  # noqa: B018 (decoded here, in a thread)
            for planes in {"passes", "ids"} & self.stage.reads if view.has_passes else ():
                getattr(view, planes)
        except BlendsetError as error:
            return item, error
        return item, view


class Executor(Protocol):
    """A way to have a job's shards done."""

    def run(self, job: Work, shards: Sequence[Parts]) -> Iterator[Done]:
        """Do the shards and yield each as it is done, in any order."""


def _unreadable(batch: Sequence[Loaded], whole_sets: bool) -> dict[str, str]:
    """Why views get no row; one that cannot be read takes its set with it where sets must be whole."""
    reasons = {item.view_id: str(error) for item, error in batch if isinstance(error, BlendsetError)}
    if whole_sets:
        broken = {item.group: reasons[item.view_id] for item, _ in batch if item.view_id in reasons}
        reasons |= {
            item.view_id: f"Its view set is not whole: {broken[item.group]}"
            for item, _ in batch
            if item.group in broken and item.view_id not in reasons
        }
    return reasons

# SPDX-License-Identifier: Apache-2.0
"""Runs stages over a dataset: only views without a valid row are computed, and views that cannot be read are listed."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import Dataset
from blendset.naming import join_names
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.stages.executors.task import Executor, StageTask
from blendset_trainer.stages.folder import QUARANTINE, StageFolder
from blendset_trainer.stages.shards import SHARD_VIEWS, find_missing_shards
from blendset_trainer.stages.stage import Stage, build_stage_record
from blendset_trainer.stages.tables import read_index

FIRST_NAMES, MAX_REASONS = 3, 20
"""Names of views that stand with a reason, and reasons that are listed."""


@dataclass(frozen=True)
class StageReport:
    """What a run did: how many rows it made and how many it found, the views without a row with the reasons, and
    notes for the user."""

    folder: Path
    made: int
    kept: int
    unreadable: dict[str, str]
    notes: tuple[str, ...]

    def describe_failures(self) -> list[str]:
        """Return a line for each reason why views have no row, the most frequent first: their number and first names.

        After MAX_REASONS reasons the file that has all of them is named instead.
        """
        views: dict[str, list[str]] = {}
        for view, reason in self.unreadable.items():
            views.setdefault(reason, []).append(view)
        in_order = sorted(views.items(), key=lambda item: -len(item[1]))
        lines = [_describe_failure(reason, names) for reason, names in in_order[:MAX_REASONS]]
        left = sum(len(names) for _, names in in_order[MAX_REASONS:])
        return [*lines, f"{left} more views have no row; {self.folder / QUARANTINE} says why"] if left else lines


def _describe_failure(reason: str, names: list[str]) -> str:
    """A reason, and the views that have it; one that names its only view already stays as it is."""
    if len(names) == 1:
        return reason if names[0] in reason else f"{names[0]}: {reason}"
    return f"{len(names)} views ({join_names(names, FIRST_NAMES)}): {reason}"


def run_stage(
    dataset: Dataset,
    stage: Stage,
    executor: Executor,
    on_progress: OnProgress = ignore_progress,
    shard_views: int = SHARD_VIEWS,
    only: Collection[str] | None = None,
) -> StageReport:
    """Bring the rows of a stage up to date, of the views of these ids `only`; safe to interrupt and to run again.

    Raises BlendsetError for what stops the whole stage (no model, no disk space). Views that cannot be read stop
    nothing; they are in the report and in quarantine.json.
    """
    index, folder = read_index(dataset), StageFolder.from_stage(dataset.root, stage)
    if only is not None:
        index = index.filter(pc.is_in(index["view_id"], pa.array(sorted(only), pa.string())))
    record = build_stage_record(stage)
    shards = list(find_missing_shards(dataset.root, record, index, folder.read_keys(), shard_views))
    folder.write_record(stage)
    done, total = 0, sum(map(len, shards))
    unreadable: dict[str, str] = {}
    notes: dict[str, None] = {}
    on_progress(stage.name, done, total)
    for result in executor.run(StageTask(dataset, stage), shards) if shards else ():
        done += result.views
        unreadable |= result.unreadable
        notes |= dict.fromkeys(result.notes)
        on_progress(stage.name, done, total)
    folder.write_quarantine(unreadable)
    return StageReport(folder.path, total - len(unreadable), len(index) - total, unreadable, tuple(notes))

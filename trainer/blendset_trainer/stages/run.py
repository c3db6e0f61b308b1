# SPDX-License-Identifier: Apache-2.0
"""Running a stage over a dataset: what has no row yet is computed, what cannot be read is listed, nothing is lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset_trainer.stages.executors.task import Executor, StageTask
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import SHARD_VIEWS, find_missing_shards
from blendset_trainer.stages.stage import Stage, build_stage_record
from blendset_trainer.stages.tables import read_index


@dataclass(frozen=True)
class StageReport:
    """What a run did: rows made now, rows that were there, the views without a row, with the reasons, and what a
    person should know besides."""

    folder: Path
    made: int
    kept: int
    unreadable: dict[str, str]
    notes: tuple[str, ...]


def run_stage(
    dataset: Dataset,
    stage: Stage,
    executor: Executor,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    shard_views: int = SHARD_VIEWS,
) -> StageReport:
    """Bring the rows of a stage up to date; safe to interrupt and to run again.

    `on_progress` hears of views done and of how many there are to do. Raises BlendsetError for what stops the whole
    stage (no model, no space); views that cannot be read only end in the report and in quarantine.json.
    """
    index, folder = read_index(dataset), StageFolder.from_stage(dataset.root, stage)
    shards = list(find_missing_shards(dataset.root, build_stage_record(stage), index, folder.read_keys(), shard_views))
    folder.write_record(stage)
    done, total = 0, sum(map(len, shards))
    unreadable: dict[str, str] = {}
    notes: dict[str, None] = {}
    on_progress(done, total)
    for each in executor.run(StageTask(dataset, stage), shards) if shards else ():
        done += each.views
        unreadable |= each.unreadable
        notes |= dict.fromkeys(each.notes)
        on_progress(done, total)
    folder.write_quarantine(unreadable)
    return StageReport(folder.path, total - len(unreadable), len(index) - total, unreadable, tuple(notes))

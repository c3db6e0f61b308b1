# SPDX-License-Identifier: Apache-2.0
"""Runs stages over a dataset: only views without a valid row are computed, and views that cannot be read are listed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.stages.executors.task import Executor, StageTask
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import SHARD_VIEWS, find_missing_shards
from blendset_trainer.stages.stage import Stage, build_stage_record
from blendset_trainer.stages.tables import read_index


@dataclass(frozen=True)
class StageReport:
    """What a run did: how many rows it made and how many it found, the views without a row with the reasons, and
    notes for the user."""

    folder: Path
    made: int
    kept: int
    unreadable: dict[str, str]
    notes: tuple[str, ...]


def run_stage(
    dataset: Dataset,
    stage: Stage,
    executor: Executor,
    on_progress: OnProgress = ignore_progress,
    shard_views: int = SHARD_VIEWS,
) -> StageReport:
    """Bring the rows of a stage up to date; safe to interrupt and to run again.

    Raises BlendsetError for what stops the whole stage (no model, no disk space). Views that cannot be read stop
    nothing; they are in the report and in quarantine.json.
    """
    index, folder = read_index(dataset), StageFolder.from_stage(dataset.root, stage)
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

# SPDX-License-Identifier: Apache-2.0
"""Runs stages over a dataset: only views without a valid row are computed, and views that cannot be read are listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset_trainer.stages.executors.task import Executor, StageTask
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.shards import SHARD_VIEWS, find_missing_shards
from blendset_trainer.stages.stage import Stage, build_stage_record
from blendset_trainer.stages.tables import (
    ColumnSummary,
    read_dense_captions,
    read_index,
    read_index_with_stages,
    summarize_columns,
)

OnProgress = Callable[[int, int], None]
"""Called with the number of views done and the number of views to do."""


def ignore_progress(done: int, total: int) -> None:
    """Do nothing."""


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
    on_progress(done, total)
    for result in executor.run(StageTask(dataset, stage), shards) if shards else ():
        done += result.views
        unreadable |= result.unreadable
        notes |= dict.fromkeys(result.notes)
        on_progress(done, total)
    folder.write_quarantine(unreadable)
    return StageReport(folder.path, total - len(unreadable), len(index) - total, unreadable, tuple(notes))


def caption_views(
    dataset: Dataset, captioner: Stage, executor: Executor, on_progress: OnProgress = ignore_progress
) -> tuple[StageReport, dict[str, str]]:
    """Run a captioner and put its dense captions into the index; return the report and the captions by view id."""
    report = run_stage(dataset, captioner, executor, on_progress)
    captions = read_dense_captions(dataset, captioner)
    dataset.rebuild_index(captions)
    return report, captions


def score_views(
    dataset: Dataset,
    scorers: Sequence[Stage],
    executor: Executor,
    show_progress: Callable[[str], AbstractContextManager[OnProgress]] = lambda name: nullcontext(ignore_progress),
) -> tuple[dict[str, StageReport], dict[str, ColumnSummary]]:
    """Run scorers one after another; return a report per scorer, and a summary per column of numbers.

    `show_progress` takes a scorer's name and gives, for as long as it runs, the function that hears of its progress.
    """
    reports: dict[str, StageReport] = {}
    for scorer in scorers:
        with show_progress(scorer.name) as on_progress:
            reports[scorer.name] = run_stage(dataset, scorer, executor, on_progress)
    names = [f"{scorer.name}.{column}" for scorer in scorers for column in scorer.columns]
    return reports, summarize_columns(read_index_with_stages(dataset), names)

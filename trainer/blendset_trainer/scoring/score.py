# SPDX-License-Identifier: Apache-2.0
"""Runs scorers over a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blendset.dataset import Dataset, open_dataset
from blendset.options import REQUIRED, option, resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.executors.settings import ExecutorSettings, make_executor
from blendset_trainer.stages.registry import find_stage, has_option, set_options
from blendset_trainer.stages.run import StageReport, run_stage
from blendset_trainer.stages.stage import Stage
from blendset_trainer.stages.tables import ColumnSummary, read_index_with_stages, summarize_columns

FLAGS = {"max_tokens": "--max-tokens", "questions": "--questions", "question_writer": "--question-writer"}
"""Settings that are for some scorers only, with the user's names of them."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ExecutorSettings):
    """Which scorers run, by the names of the command line, and where they run."""

    scorers: tuple[str, ...] = option(
        REQUIRED, SCORERS.format_choices, flag="--with", metavar="SCORER,...", separator=","
    )
    max_tokens: int | None = option(
        None,
        "vlm-quality, vlm-filter, tifa: tokens of an answer, thoughts included; what is longer is cut "
        "(default 384, 64, 64)",
        metavar="N",
        at_least=1,
    )
    questions: Path | None = option(
        None,
        "tifa: questions about pictures of prompts, in TIFA's layout (.json, .jsonl), or a dataset with these captions",
        metavar="FILE",
    )
    question_writer: str | None = option(
        None,
        "tifa: a text model that writes questions about other prompts: hf:MODEL, openai:URL#MODEL",
        metavar="MODEL",
    )


@dataclass(frozen=True)
class ScoreReport:
    """What became of each scorer, by its name, and a summary of each column of numbers, by its full name."""

    stages: dict[str, StageReport]
    columns: dict[str, ColumnSummary]


def score(
    dataset: Dataset | Path | str,
    settings: ScoreSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> ScoreReport:
    """Give every view numbers to select by; only views that have none yet, or were changed, are computed.

    `options` are fields of `ScoreSettings`. A view that cannot be read stops nothing: the report names it. Raises
    SettingsError for a scorer or an option that there is not, and BlendsetError for what stops a scorer.
    """
    settings = resolve_settings(ScoreSettings, settings, options)
    scorers = make_scorers(settings)
    dataset, executor = open_dataset(dataset), make_executor(settings)
    stages = {scorer.name: run_stage(dataset, scorer, executor, on_progress) for scorer in scorers}
    names = [
        f"{scorer.name}.{name}"
        for scorer in scorers
        for name, column in scorer.columns.items()
        if not pa.types.is_string(column.type)
    ]
    return ScoreReport(stages, summarize_columns(read_index_with_stages(dataset), names))


def make_scorers(settings: ScoreSettings, command: str = "score") -> list[Stage]:
    """Return the scorers of the settings, each once. An option goes to those that have it.

    Raises SettingsError for an option that none has, which names the `command` to ask, and for an unknown scorer.
    """
    scorers = {word: find_stage(word, SCORERS) for word in settings.scorers}
    for option_name, flag in FLAGS.items():
        options = {option_name: getattr(settings, option_name)}
        for word in [word for word, scorer in scorers.items() if has_option(scorer, option_name)] or list(scorers):
            scorers[word] = set_options(scorers[word], word, options, {option_name: flag}, command)
    return list(scorers.values())

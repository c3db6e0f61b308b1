# SPDX-License-Identifier: Apache-2.0
"""`blendset score`: runs scorers over a dataset and prints a summary of their numbers."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.cli.stage_options import add_executor, make_executor, parse_stage
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.registry import format_choices
from blendset_trainer.stages.run import StageReport, score_views
from blendset_trainer.stages.tables import ColumnSummary


def add_score(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset score`."""
    score = add_command(
        commands,
        "score",
        _score,
        "Give every view figures to select by; only views that have none yet, or were changed, are looked at",
        "blendset score kitchen-dataset --with image-stats,ssim-roundtrip",
    )
    score.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    score.add_argument("--with", required=True, dest="scorers", metavar="SCORER,...", help=format_choices(SCORERS))
    add_executor(score)


def _score(arguments: argparse.Namespace) -> int:
    scorers = [parse_stage(word.strip(), SCORERS) for word in arguments.scorers.split(",")]
    dataset, executor = Dataset(arguments.dataset), make_executor(arguments)
    reports, summaries = score_views(dataset, scorers, executor, partial(show_progress, quiet=arguments.json))
    if arguments.json:
        print_json({"stages": {name: _to_plain(report) for name, report in reports.items()}, "figures": summaries})
    else:
        _print_reports(reports)
        _print_summaries(summaries)
    return DONE


def _to_plain(report: StageReport) -> dict[str, Any]:
    return asdict(report) | {"folder": str(report.folder)}


def _print_reports(reports: dict[str, StageReport]) -> None:
    for name, report in reports.items():
        print(f"{name}: {report.made} views scored now, {report.kept} before")
        for reason in (*report.notes, *report.unreadable.values()):
            print(f"{name}: {reason}", file=sys.stderr)


def _print_summaries(summaries: dict[str, ColumnSummary]) -> None:
    if summaries:
        rows = [(name, *map(_format_number, summary.values())) for name, summary in summaries.items()]
        print_table(("figure", "views", "lowest", "mean", "highest"), rows)


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

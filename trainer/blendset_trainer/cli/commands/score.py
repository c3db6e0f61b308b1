# SPDX-License-Identifier: Apache-2.0
"""`blendset score`: runs scorers over a dataset and prints a summary of their numbers."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from typing import Any

from blendset_trainer.cli.console import print_json, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.scoring.score import ScoreSettings, score
from blendset_trainer.stages.run import StageReport
from blendset_trainer.stages.tables import ColumnSummary


def add_score(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset score`."""
    parser = add_command(
        commands,
        "score",
        _score,
        "Give every view figures to select by; only views that have none yet, or were changed, are looked at",
        "blendset score kitchen-dataset --with image-stats,ssim-roundtrip",
    )
    add_dataset(parser)
    add_settings(parser, ScoreSettings)


def _score(arguments: argparse.Namespace) -> int:
    settings = read_settings(ScoreSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        report = score(arguments.dataset, settings, on_progress=on_progress)
    if arguments.json:
        stages = {name: _to_plain(stage) for name, stage in report.stages.items()}
        print_json({"stages": stages, "figures": report.columns})
    else:
        _print_reports(report.stages)
        _print_summaries(report.columns)
    return DONE


def _to_plain(report: StageReport) -> dict[str, Any]:
    return asdict(report) | {"folder": str(report.folder)}


def _print_reports(reports: dict[str, StageReport]) -> None:
    for name, report in reports.items():
        print(f"{name}: {report.made} views scored now, {report.kept} before")
        for reason in (*report.notes, *report.describe_failures()):
            print(f"{name}: {reason}", file=sys.stderr)


def _print_summaries(summaries: dict[str, ColumnSummary]) -> None:
    if summaries:
        rows = [(name, *map(_format_number, summary.values())) for name, summary in summaries.items()]
        print_table(("figure", "views", "lowest", "mean", "highest"), rows)


def _format_number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

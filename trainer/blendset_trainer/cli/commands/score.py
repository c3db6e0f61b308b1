# SPDX-License-Identifier: Apache-2.0
"""`blendset score`: the scorers by name, and the command that runs them."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import Dataset
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.cli.stage_options import add_executor, make_executor, parse_stage
from blendset_trainer.stages.catalogue import SCORERS
from blendset_trainer.stages.registry import format_choices
from blendset_trainer.stages.run import StageReport, run_stage
from blendset_trainer.stages.tables import read_index_with_stages


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
    stages = [parse_stage(word.strip(), SCORERS) for word in arguments.scorers.split(",")]
    dataset, executor = Dataset(arguments.dataset), make_executor(arguments)
    reports: dict[str, StageReport] = {}
    for stage in stages:
        with show_progress(stage.name, quiet=arguments.json) as on_progress:
            reports[stage.name] = run_stage(dataset, stage, executor, on_progress)
    figures = _figures(
        read_index_with_stages(dataset), [f"{stage.name}.{figure}" for stage in stages for figure in stage.columns]
    )
    if arguments.json:
        print_json({"stages": {name: _plain(report) for name, report in reports.items()}, "figures": figures})
    else:
        _print(reports, figures)
    return DONE


def _plain(report: StageReport) -> dict[str, Any]:
    return asdict(report) | {"folder": str(report.folder)}


def _figures(table: pa.Table, columns: list[str]) -> dict[str, dict[str, float | None]]:
    """Over all views that have it: how many, the lowest, the mean and the highest of each number; NaN is none."""
    summary: dict[str, dict[str, float | None]] = {}
    for name in columns:
        column = table[name] if name in table.column_names else pa.array([], pa.float64())
        if pa.types.is_floating(column.type):
            column = column.filter(pc.is_finite(column))
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            ends = pc.min_max(column).as_py()
            summary[name] = {
                "views": len(column) - column.null_count,
                "lowest": ends["min"],
                "mean": pc.mean(column).as_py(),
                "highest": ends["max"],
            }
    return summary


def _print(reports: dict[str, StageReport], figures: dict[str, dict[str, float | None]]) -> None:
    for name, report in reports.items():
        print(f"{name}: {report.made} views scored now, {report.kept} before")
        for reason in (*report.notes, *report.unreadable.values()):
            print(f"{name}: {reason}", file=sys.stderr)
    if figures:
        rows = [(name, *map(_short, summary.values())) for name, summary in figures.items()]
        print_table(("figure", "views", "lowest", "mean", "highest"), rows)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)

# SPDX-License-Identifier: Apache-2.0
"""`blendset train`: fine-tunes a model as a TOML says; the same command again goes on where it was interrupted."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset_trainer.cli.console import print_json, print_note, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.training.train import TrainSettings, explain_training, plan_training, train


def add_train(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset train`."""
    parser = add_command(
        commands,
        "train",
        _train,
        "Fine-tune a diffusion model; the same command again goes on where it was interrupted",
        "blendset train kitchen.toml --dry-run",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.toml", help="the run; see docs/training.md")
    add_settings(parser, TrainSettings)
    parser.add_argument(
        "--dry-run", action="store_true", help="show which source trains which noise, and train nothing"
    )
    parser.add_argument("--explain", action="store_true", help="show every option, and where its value comes from")


def _train(arguments: argparse.Namespace) -> int:
    settings = read_settings(TrainSettings, arguments)
    if arguments.explain:
        return _explain(arguments, settings)
    if arguments.dry_run:
        return _dry_run(arguments, settings)
    with report_progress(quiet=arguments.json) as on_progress:
        report = train(arguments.config, settings, on_progress=on_progress, report=print_note)
    if report.rank == 0 and arguments.json:
        print_json({"folder": str(report.folder), "samples": report.samples, "steps": report.steps})
    elif report.rank == 0:
        print(f"{report.samples} pictures seen; what was trained is in {report.folder}")
    return DONE


def _explain(arguments: argparse.Namespace, settings: TrainSettings) -> int:
    rows = explain_training(arguments.config, settings)
    if arguments.json:
        print_json([dict(zip(("option", "value", "from"), row, strict=True)) for row in rows])
    else:
        print_table(("option", "value", "from"), rows)
    return DONE


def _dry_run(arguments: argparse.Namespace, settings: TrainSettings) -> int:
    plan = plan_training(arguments.config, settings, report=print_note)
    if arguments.json:
        print_json(plan.record)
        return DONE
    print_table(plan.columns, plan.rows)
    for warning in plan.warnings:
        print(f"\n{warning}")
    print(f"\n{plan.picture}")
    return DONE

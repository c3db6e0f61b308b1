# SPDX-License-Identifier: Apache-2.0
"""`blendset ablate`: trains the rungs of a ladder until it is clear how each differs from the first."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset_trainer.cli.console import print_json, print_note, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command


def add_ablate(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset ablate`."""
    parser = add_command(
        commands,
        "ablate",
        _ablate,
        "Train one model after another, each with one change, until it is clear what the changes do",
        "blendset ablate ladder.toml",
    )
    parser.add_argument("ladder", type=Path, metavar="LADDER.toml", help="the rungs, the seeds, and what decides")
    parser.add_argument("--dry-run", action="store_true", help="list the runs, and train nothing")


def _ablate(arguments: argparse.Namespace) -> int:
    if arguments.dry_run:
        return _list_runs(arguments)
    from blendset_trainer.evaluation.ladder.ablate import ablate  # with torch
    from blendset_trainer.evaluation.ladder.table import describe_clarity, list_rungs

    with report_progress(quiet=arguments.json) as on_progress:
        ablation = ablate(arguments.ladder, on_progress=on_progress, report=print_note)
    if arguments.json:
        print_json(ablation)
    else:
        print_table(*list_rungs(ablation))
        print(f"\n{describe_clarity(ablation)}")
    return DONE


def _list_runs(arguments: argparse.Namespace) -> int:
    from blendset_trainer.evaluation.ladder.runs import plan_ladder

    runs = plan_ladder(arguments.ladder)
    if arguments.json:
        print_json([{"rung": run.rung, "seed": run.seed, "folder": str(run.folder)} for run in runs])
    else:
        print_table(("rung", "seed", "folder"), [(run.rung, str(run.seed), str(run.folder)) for run in runs])
    return DONE

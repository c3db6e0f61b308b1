# SPDX-License-Identifier: Apache-2.0
"""`blendset evolve`: rounds of training on a model's own selected pictures, judged by what chose nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from blendset_trainer.cli.console import print_json, print_note, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.evaluation.tables import format_estimate

if TYPE_CHECKING:
    from blendset_trainer.evolution.records import Evolution, RoundRecord


def add_evolve(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset evolve`."""
    parser = add_command(
        commands,
        "evolve",
        _evolve,
        "Train a model in rounds on its own selected pictures beside trusted ones, and keep the best round",
        "blendset evolve evolve.toml",
    )
    parser.add_argument("evolution", type=Path, metavar="EVOLVE.toml", help="what is drawn, preferred, trained, judged")
    parser.add_argument("--dry-run", action="store_true", help="say what it will cost, and make nothing")


def _evolve(arguments: argparse.Namespace) -> int:
    from blendset_trainer.evolution.evolve import evolve, plan_evolution  # with torch

    if arguments.dry_run:
        costs = plan_evolution(arguments.evolution)
        if arguments.json:
            print_json(costs)
        else:
            print_table(
                ("", "each round", "in all, at most"), [(name, *map(str, cost)) for name, cost in costs.items()]
            )
        return DONE
    with report_progress(quiet=arguments.json) as on_progress:
        evolution = evolve(arguments.evolution, on_progress=on_progress, report=print_note)
    if arguments.json:
        print_json(evolution)
    else:
        print_table(*_list_rounds(evolution))
        print(f"\nThe best is round {evolution.best}: {evolution.rounds[evolution.best].model}")
        print(f"It ended because {evolution.stopped}.")
    return DONE


def _list_rounds(evolution: Evolution) -> tuple[Sequence[str], list[Sequence[str]]]:
    """Columns and rows of the table of rounds."""
    names = [name for name in (evolution.by, evolution.diversity) if name]
    return ("round", "drawn", "kept", *names, "accepted"), [_list_cells(each, names) for each in evolution.rounds]


def _list_cells(record: RoundRecord, names: Sequence[str]) -> Sequence[str]:
    figures = [record.find_figure(name) for name in names]
    estimates = [format_estimate(figure.estimate) if figure else "" for figure in figures]
    return (str(record.number), str(record.drawn), str(record.kept), *estimates, "yes" if record.accepted else "no")

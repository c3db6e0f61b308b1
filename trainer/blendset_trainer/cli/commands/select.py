# SPDX-License-Identifier: Apache-2.0
"""`blendset select`: chooses views of a dataset by rules, and shows the funnel down to the selection."""

from __future__ import annotations

import argparse
from typing import Any

from blendset.dataset import open_dataset
from blendset_trainer.cli.console import print_json, print_table
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.selection.select import SelectionReport, SelectSettings, count_funnel, select


def add_select(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset select`."""
    parser = add_command(
        commands,
        "select",
        _select,
        "Choose views by rules, and say why each other view was not chosen; nothing is deleted",
        "blendset select kitchen-dataset --preset blendset --name first",
    )
    add_dataset(parser)
    add_settings(parser, SelectSettings, one_of=("preset", "rules"))


def _select(arguments: argparse.Namespace) -> int:
    settings = read_settings(SelectSettings, arguments)
    dataset = open_dataset(arguments.dataset)
    report = select(dataset, settings)
    if arguments.json:
        print_json(_to_plain(report))
    else:
        print_table(("", "views"), [(what, str(count)) for what, count in count_funnel(dataset, report)])
        print(f"\n{report.path}")
        if report.note:
            print(report.note)
    return DONE


def _to_plain(report: SelectionReport) -> dict[str, Any]:
    return {
        "selection": str(report.path),
        "views": report.views,
        "selected": report.selected,
        "held_out": report.held_out,
        "drops": [{"reason": reason, "views": count} for reason, count in report.selection.reasons.items()],
        **({"note": report.note} if report.note else {}),
    }

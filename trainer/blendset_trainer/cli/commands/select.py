# SPDX-License-Identifier: Apache-2.0
"""`blendset select`: chooses views of a dataset by rules, and shows the funnel down to the selection."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, print_table
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.selection.apply import SelectionReport, count_funnel, select_views
from blendset_trainer.selection.rules import Rules, list_presets, load_preset, load_rules, replace_scorer


def add_select(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset select`."""
    parser = add_command(
        commands,
        "select",
        _select,
        "Choose views by rules, and say why each other view was not chosen; nothing is deleted",
        "blendset select kitchen-dataset --preset blendset --name first",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    rules = parser.add_mutually_exclusive_group(required=True)
    rules.add_argument("--preset", choices=list_presets(), help="rules that come with Blendset")
    rules.add_argument("--rules", type=Path, metavar="FILE", help="rules in TOML, or the selection to make again")
    parser.add_argument("--name", required=True, help="what to call the selection")
    parser.add_argument("--top", type=int, metavar="K", help="most views to choose, whatever the rules say")
    parser.add_argument(
        "--scorer",
        action="append",
        default=[],
        metavar="OLD=NEW",
        help="hold another scorer's figures against the thresholds of the one that the rules name",
    )


def _select(arguments: argparse.Namespace) -> int:
    dataset, rules = Dataset(arguments.dataset), _load_rules(arguments)
    report = select_views(dataset, rules, arguments.name, arguments.preset or "")
    if arguments.json:
        print_json(_to_plain(report))
    else:
        print_table(("", "views"), [(what, str(count)) for what, count in count_funnel(dataset, report)])
        print(f"\n{report.path}")
    return DONE


def _load_rules(arguments: argparse.Namespace) -> Rules:
    """Return the rules that the command line names; UsageError for what is wrong in them."""
    try:
        rules = load_preset(arguments.preset) if arguments.preset else load_rules(arguments.rules)
        for word in arguments.scorer:
            rules = replace_scorer(rules, *_parse_pair(word))
    except BlendsetError as error:
        raise UsageError(str(error)) from error
    if arguments.top is not None and arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; it must be at least 1.")
    return rules if arguments.top is None else replace(rules, views=arguments.top, share=None)


def _parse_pair(word: str) -> tuple[str, str]:
    old, equals, new = word.partition("=")
    if not (old and equals and new):
        raise UsageError(f"--scorer is '{word}'; write it as OLD=NEW.")
    return old, new


def _to_plain(report: SelectionReport) -> dict[str, Any]:
    return {
        "selection": str(report.path),
        "views": report.views,
        "selected": report.selected,
        "held_out": report.held_out,
        "drops": [{"reason": reason, "views": count} for reason, count in report.selection.reasons.items()],
    }

# SPDX-License-Identifier: Apache-2.0
"""`blendset select`: applies rules to a dataset, writes the selection, and shows the funnel down to it."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.placement.funnel import read_funnel
from blendset_trainer.cli.console import print_json, print_table
from blendset_trainer.cli.parser import Parser, UsageError, add_command
from blendset_trainer.selection.files import get_selection_path, write_selection
from blendset_trainer.selection.rules import Rules, list_presets, load_preset, load_rules, replace_scorer
from blendset_trainer.selection.select import ViewSelection, select
from blendset_trainer.selection.splits import HELD_OUT
from blendset_trainer.stages.tables import read_index_with_stages


def add_select(commands: argparse._SubParsersAction[Parser]) -> None:
    """Register `blendset select`."""
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
    dataset, rules = Dataset(arguments.dataset), _rules(arguments)
    path = get_selection_path(dataset, arguments.name)
    table = read_index_with_stages(dataset)
    selection = select(table, rules, arguments.preset or "")
    write_selection(path, selection)
    if arguments.json:
        print_json(_summary(path, table.num_rows, selection))
    else:
        print_table(("", "views"), [(what, str(count)) for what, count in _funnel(dataset, table.num_rows, selection)])
        print(f"\n{path}")
    return 0


def _rules(arguments: argparse.Namespace) -> Rules:
    """The rules that the command line names; what is wrong in them is wrong usage."""
    try:
        rules = load_preset(arguments.preset) if arguments.preset else load_rules(arguments.rules)
        for word in arguments.scorer:
            rules = replace_scorer(rules, *_pair(word))
    except BlendsetError as error:
        raise UsageError(str(error)) from error
    if arguments.top is not None and arguments.top < 1:
        raise UsageError(f"--top is {arguments.top}; it must be at least 1.")
    return rules if arguments.top is None else replace(rules, views=arguments.top, share=None)


def _pair(word: str) -> tuple[str, str]:
    old, equals, new = word.partition("=")
    if not (old and equals and new):
        raise UsageError(f"--scorer is '{word}'; write it as OLD=NEW.")
    return old, new


def _held_out(selection: ViewSelection) -> int:
    return int(selection.chosen["split"].to_pylist().count(HELD_OUT))


def _summary(path: Path, views: int, selection: ViewSelection) -> dict[str, Any]:
    return {
        "selection": str(path),
        "views": views,
        "selected": selection.chosen.num_rows,
        "held_out": _held_out(selection),
        "drops": [{"reason": reason, "views": count} for reason, count in selection.reasons.items()],
    }


def _funnel(dataset: Dataset, views: int, selection: ViewSelection) -> Iterator[tuple[str, int]]:
    """What came in and what each reason took, from the first camera to the last view."""
    planned = sum(map(read_funnel, dataset.funnel_paths()), Counter[str]())
    if planned:
        yield "candidates", planned.pop("candidates")
        accepted = planned.pop("accepted", 0)
        yield from ((f"  {reason}", -count) for reason, count in planned.most_common())
        yield "accepted cameras", accepted
    yield "views", views
    yield from ((f"  {reason}", -count) for reason, count in selection.reasons.items())
    yield "selected", selection.chosen.num_rows
    if held_out := _held_out(selection):
        yield "  of them held out", held_out

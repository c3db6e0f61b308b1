# SPDX-License-Identifier: Apache-2.0
"""`blendset compare`: the same figures of several sets of pictures or models; counts votes; compares placements."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from blendset.records import read_record
from blendset_trainer.cli.commands.evaluate import describe, print_notes
from blendset_trainer.cli.console import print_json, print_note, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.cli.settings_options import add_setting, add_settings, get_flag, read_settings
from blendset_trainer.evaluation.placements.settings import PlacementSettings
from blendset_trainer.evaluation.records import COMPARISON, Comparison
from blendset_trainer.evaluation.settings import WITHOUT_MODEL, CompareSettings
from blendset_trainer.evaluation.tables import format_estimate, list_comparison

if TYPE_CHECKING:
    from blendset_trainer.evaluation.votes.count import VoteResult

PLACEMENT_OPTIONS = ("placements", "views", "resolution", "samples", "lighting", "blender")
"""The settings of placements that other comparisons do not have."""


def add_compare(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset compare`."""
    parser = add_command(
        commands,
        "compare",
        _compare,
        "Compare datasets, pictures or models over the same prompts, each difference with its interval; count votes",
        "blendset compare runs/plain runs/rescheduled --prompts held-out.txt --with clip:ViT-L-14",
    )
    parser.add_argument(
        "sources", nargs="*", metavar="PICTURES", help="two or more datasets, folders of pictures, or models"
    )
    parser.add_argument(
        "--votes",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="count votes: the page's key, then the files of the voters; a comparison in --out shows them on its page",
    )
    add_settings(parser, CompareSettings)
    group = parser.add_argument_group("camera placements")
    group.add_argument(
        "--placements", dest="scenes", nargs="+", metavar="SCENE", help="compare placements of cameras in these .blend"
    )
    for name in PLACEMENT_OPTIONS:
        add_setting(group, PlacementSettings, name)


def _compare(arguments: argparse.Namespace) -> int:
    if arguments.votes:
        return _count(arguments)
    if arguments.scenes:
        return _compare_placements(arguments)
    _refuse_placement_options(arguments)
    from blendset_trainer.evaluation.compare import compare  # loads scipy, which `blendset --help` does not need
    from blendset_trainer.reporting.comparison import write_comparison_page

    settings = read_settings(CompareSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        comparison = compare(arguments.sources, settings, on_progress=on_progress)
    page = write_comparison_page(comparison, settings.out)
    if arguments.json:
        print_json(comparison)
    else:
        _print_comparison(comparison)
        print(page)
    return DONE


def _count(arguments: argparse.Namespace) -> int:
    from blendset_trainer.evaluation.votes.count import count_votes
    from blendset_trainer.reporting.comparison import write_comparison_page

    key, *files = arguments.votes
    if arguments.sources or not files:
        raise UsageError("--votes takes the key of a page and the files of its voters, and nothing else to compare.")
    result = count_votes(key, files)
    page = None
    if (arguments.out / COMPARISON).exists():
        comparison = read_record(arguments.out / COMPARISON, Comparison)
        if {each.system for each in result.strengths} == {each.title for each in comparison.evaluations}:
            page = write_comparison_page(comparison, arguments.out, result)
        else:
            print_note(f"The comparison in {arguments.out} is of other sets, so its page does not show these votes.")
    if arguments.json:
        print_json(result)
    else:
        _print_votes(result)
        if page:
            print(page)
    return DONE


def _compare_placements(arguments: argparse.Namespace) -> int:
    from blendset_trainer.evaluation.placements.compare_placements import compare_placements
    from blendset_trainer.evaluation.placements.table import format_placement_table

    if arguments.sources:
        raise UsageError("--placements takes scenes, and nothing else to compare.")
    scorers = tuple(word for word in arguments.scorers if word not in WITHOUT_MODEL)
    chosen = {name: getattr(arguments, name) for name in PLACEMENT_OPTIONS}
    settings = PlacementSettings(out=arguments.out, seed=arguments.seed, with_=scorers, **chosen)
    with report_progress(quiet=arguments.json) as on_progress:
        report = compare_placements(arguments.scenes, settings, on_progress=on_progress)
    if arguments.json:
        print_json(report)
    else:
        print(format_placement_table(report), end="")
        print(settings.out)
    return DONE


def _refuse_placement_options(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options that only --placements reads."""
    for field in fields(PlacementSettings):
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        if field.name in PLACEMENT_OPTIONS and getattr(arguments, field.name) != default:
            raise UsageError(f"{get_flag(field)} goes with --placements; leave it out.")


def _print_comparison(comparison: Comparison) -> None:
    for note in comparison.notes:
        print(note, file=sys.stderr)
    for evaluation in comparison.evaluations:
        print_notes(evaluation)
    print_table(*list_comparison(comparison))
    print()
    for evaluation in comparison.evaluations:
        print(describe(evaluation))
    is_paired = all(each.is_paired for each in comparison.differences)
    unit = comparison.evaluations[0].unit
    print(f"Differences are {f'paired by {unit}' if is_paired else 'of unpaired sets'}; d is Cohen's.")
    if any(score.selected for each in comparison.evaluations for score in each.scores):
        print("* This scorer selected the data, so that its figure judges its own choice.")


def _print_votes(result: VoteResult) -> None:
    for note in (*result.left_out, *result.notes):
        print(note, file=sys.stderr)
    print_table(
        ("", "wins [95 % interval]", "votes"),
        [
            (f"{each.one} over {each.other}", format_estimate(each.estimate), str(each.votes))
            for each in result.win_rates
        ],
    )
    print()
    print_table(
        ("", "strength [95 % interval]"),
        [(each.system, format_estimate(each.estimate)) for each in result.strengths],
    )
    print(f"\n{result.question} {result.votes} votes ({result.ties} ties) on {result.units} units.")
    if result.order_bias is not None:
        print(f"A model judged {result.order_bias:.0%} of its pairs otherwise in the other order; those are ties.")

# SPDX-License-Identifier: Apache-2.0
"""`blendset compare`: the same figures of several sets of pictures or models; counts votes; compares placements."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from blendset_trainer.cli.commands.evaluate import describe, print_notes
from blendset_trainer.cli.console import print_json, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.evaluation.records import Comparison
from blendset_trainer.evaluation.settings import CompareSettings
from blendset_trainer.evaluation.tables import format_estimate, list_comparison

if TYPE_CHECKING:
    from blendset_trainer.evaluation.votes.count import VoteResult


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
        help="count votes: the page's key, then the files of the voters",
    )
    add_settings(parser, CompareSettings)


def _compare(arguments: argparse.Namespace) -> int:
    if arguments.votes:
        return _count(arguments)
    from blendset_trainer.evaluation.compare import compare  # loads scipy, which `blendset --help` does not need

    settings = read_settings(CompareSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        comparison = compare(arguments.sources, settings, on_progress=on_progress)
    if arguments.json:
        print_json(comparison)
    else:
        _print_comparison(comparison)
        print(settings.out)
    return DONE


def _count(arguments: argparse.Namespace) -> int:
    from blendset_trainer.evaluation.votes.count import count_votes

    key, *files = arguments.votes
    if arguments.sources or not files:
        raise UsageError("--votes takes the key of a page and the files of its voters, and nothing else to compare.")
    result = count_votes(key, files)
    if arguments.json:
        print_json(result)
    else:
        _print_votes(result)
    return DONE


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

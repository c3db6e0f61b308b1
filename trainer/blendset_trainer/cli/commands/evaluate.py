# SPDX-License-Identifier: Apache-2.0
"""`blendset evaluate`: measures a set of pictures and prints every figure with its interval."""

from __future__ import annotations

import argparse
import sys

from blendset_trainer.cli.console import print_json, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.evaluation.records import Evaluation
from blendset_trainer.evaluation.settings import EvaluateSettings
from blendset_trainer.evaluation.tables import list_scores


def add_evaluate(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset evaluate`."""
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        "Measure pictures, each figure with its interval: against their prompts, a trusted set, or references",
        "blendset evaluate samples --with clip:ViT-L-14,dino:facebook/dinov2-base --against photos",
    )
    parser.add_argument(
        "source", metavar="PICTURES", help="a dataset, what 'blendset sample' made, or a folder of pictures"
    )
    add_settings(parser, EvaluateSettings)


def _evaluate(arguments: argparse.Namespace) -> int:
    from blendset_trainer.evaluation.evaluate import evaluate  # loads scipy, which `blendset --help` does not need

    settings = read_settings(EvaluateSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        evaluation = evaluate(arguments.source, settings, on_progress=on_progress)
    if arguments.json:
        print_json(evaluation)
    else:
        print_notes(evaluation)
        print_table(("figure", "mean [95 % interval]", "pictures", ""), list_scores(evaluation))
        print(f"\n{describe(evaluation)}")
    return DONE


def print_notes(evaluation: Evaluation) -> None:
    """Print on stderr what a reader should know of an evaluation."""
    for note in evaluation.notes:
        print(note, file=sys.stderr)


def describe(evaluation: Evaluation) -> str:
    """Return a sentence about what was measured."""
    against = f", against {evaluation.against_pictures} of {evaluation.against}" if evaluation.against else ""
    return (
        f"{evaluation.title}: {evaluation.pictures} pictures{against}; intervals are over {evaluation.units} "
        f"{evaluation.unit}s."
    )

# SPDX-License-Identifier: Apache-2.0
"""`blendset caption`: runs a captioner and puts its captions into the index."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

from blendset.dataset import Dataset
from blendset_trainer.cli.console import print_json, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.cli.stage_options import add_executor, make_executor, parse_stage
from blendset_trainer.stages.catalogue import CAPTIONERS
from blendset_trainer.stages.registry import format_choices
from blendset_trainer.stages.run import caption_views
from blendset_trainer.stages.stage import Stage


def add_caption(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset caption`."""
    caption = add_command(
        commands,
        "caption",
        _caption,
        "Say in words what each view shows; only views that have no caption yet, or were changed, are looked at",
        "blendset caption kitchen-dataset --with metadata",
    )
    caption.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    caption.add_argument(
        "--with", required=True, dest="captioner", metavar="CAPTIONER", help=format_choices(CAPTIONERS)
    )
    caption.add_argument("--seed", type=int, help="metadata: another one says the same otherwise (default 0)")
    caption.add_argument(
        "--view-sets", action="store_true", default=None, help="hf, openai: one caption and a quality for each view set"
    )
    caption.add_argument(
        "--no-facts",
        action="store_false",
        default=None,
        dest="facts",
        help="hf, openai: ask without saying what is in sight",
    )
    add_executor(caption)


def _caption(arguments: argparse.Namespace) -> int:
    dataset, stage, executor = Dataset(arguments.dataset), _make_captioner(arguments), make_executor(arguments)
    with show_progress(stage.name, quiet=arguments.json) as on_progress:
        report, captions = caption_views(dataset, stage, executor, on_progress)
    if arguments.json:
        run = {"folder": str(report.folder), "made": report.made, "kept": report.kept, "unreadable": report.unreadable}
        print_json(run | {"captions": captions})
    else:
        print(f"{stage.name}: {report.made} views captioned now, {report.kept} before")
        for reason in (*report.notes, *report.unreadable.values()):
            print(f"{stage.name}: {reason}", file=sys.stderr)
        if silent := report.made + report.kept - len(captions):
            print(f"{stage.name}: {silent} of them got no words; try another captioner for those", file=sys.stderr)
    return DONE


def _make_captioner(arguments: argparse.Namespace) -> Stage:
    """Return the captioner with its options; UsageError for an option that it does not have."""
    stage = cast(Any, parse_stage(arguments.captioner, CAPTIONERS))
    options = {name: getattr(arguments, name) for name in ("seed", "view_sets", "facts")}
    options = {name: value for name, value in options.items() if value is not None}
    if unknown := [name for name in options if name not in {field.name for field in fields(stage)}]:
        option = {"seed": "--seed", "view_sets": "--view-sets", "facts": "--no-facts"}[unknown[0]]
        raise UsageError(f"{option} is not for '{arguments.captioner}'; see 'blendset caption --help'.")
    return cast(Stage, replace(stage, **options))

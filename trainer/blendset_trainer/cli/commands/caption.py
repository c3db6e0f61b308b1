# SPDX-License-Identifier: Apache-2.0
"""`blendset caption`: runs a captioner and puts its captions into the index."""

from __future__ import annotations

import argparse
import sys

from blendset_trainer.captioning.caption import CaptionReport, CaptionSettings, caption
from blendset_trainer.cli.console import print_json, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings


def add_caption(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset caption`."""
    parser = add_command(
        commands,
        "caption",
        _caption,
        "Say in words what each view shows; only views that have no caption yet, or were changed, are looked at",
        "blendset caption kitchen-dataset --with metadata",
    )
    add_dataset(parser)
    add_settings(parser, CaptionSettings)


def _caption(arguments: argparse.Namespace) -> int:
    settings = read_settings(CaptionSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        report = caption(arguments.dataset, settings, on_progress=on_progress)
    _print_report(report, as_json=arguments.json)
    return DONE


def _print_report(report: CaptionReport, *, as_json: bool) -> None:
    name, stage = report.captioner, report.stage
    if as_json:
        run = {"folder": str(stage.folder), "made": stage.made, "kept": stage.kept, "unreadable": stage.unreadable}
        print_json(run | {"captions": report.captions})
        return
    print(f"{name}: {stage.made} views captioned now, {stage.kept} before")
    for reason in (*stage.notes, *stage.describe_failures()):
        print(f"{name}: {reason}", file=sys.stderr)
    if silent := stage.made + stage.kept - len(report.captions):
        print(f"{name}: {silent} of them got no words; try another captioner for those", file=sys.stderr)

# SPDX-License-Identifier: Apache-2.0
"""`blendset adopt`: other people's pictures as a dataset. Its options are the fields of `AdoptSettings`."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, replace

from blendset_trainer.adoption.adopt import MAX_WORKERS, AdoptReport, AdoptSettings, adopt
from blendset_trainer.cli.console import print_json, report_progress
from blendset_trainer.cli.parser import DONE, FAILED, Parser, add_command
from blendset_trainer.cli.settings_options import add_settings, read_settings

NAMED = 20
"""So many of the pictures that cannot be adopted are named."""


def add_adopt(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset adopt`."""
    parser = add_command(
        commands,
        "adopt",
        _adopt,
        "Make a dataset of other people's pictures and their captions; files are linked to, never moved or changed",
        "blendset adopt photos --out photo-dataset",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of pictures, a Hugging Face dataset (a folder, or owner/name), WebDataset shards, COCO or LLaVA",
    )
    add_settings(parser, AdoptSettings)


def _adopt(arguments: argparse.Namespace) -> int:
    settings = read_settings(AdoptSettings, arguments)
    if settings.workers is None:
        settings = replace(settings, workers=min(os.cpu_count() or 1, MAX_WORKERS))
    with report_progress(quiet=arguments.json) as on_progress:
        report = adopt(arguments.source, settings, on_progress=on_progress)
    if arguments.json:
        print_json(asdict(report))
    else:
        _print_report(report)
    return DONE if report.made + report.kept else FAILED


def _print_report(report: AdoptReport) -> None:
    for finding in report.findings:
        print(finding, file=sys.stderr)
    for name, fault in list(report.faults.items())[:NAMED]:
        print(fault if name in fault else f"{name}: {fault}", file=sys.stderr)
    if len(report.faults) > NAMED:
        print(f"and {len(report.faults) - NAMED} more, which --json and the quarantine.json name", file=sys.stderr)
    files = "; ".join(f"{count} {what}" for what, count in sorted(report.files.items()))
    print(
        f"{report.dataset}: {report.made} pictures adopted now{f' ({files})' if files else ''}, {report.kept} before, "
        f"{len(report.faults)} cannot be read"
    )

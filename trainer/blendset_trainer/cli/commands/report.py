# SPDX-License-Identifier: Apache-2.0
"""`blendset report DATASET`: writes one HTML page that shows a dataset."""

from __future__ import annotations

import argparse
import sys

from blendset_trainer.cli.console import print_json, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.reporting.report import ReportSettings, report


def add_report(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset report`."""
    parser = add_command(
        commands,
        "report",
        _report,
        "Write one HTML page that shows a dataset: views, figures, captions, duplicates, what was left out and why",
        "blendset report kitchen-dataset --selection first",
    )
    add_dataset(parser)
    add_settings(parser, ReportSettings)


def _report(arguments: argparse.Namespace) -> int:
    settings = read_settings(ReportSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        file = report(arguments.dataset, settings, on_progress=on_progress)
    if arguments.json:
        print_json(file)
        return DONE
    if file.unreadable:
        print(f"{file.unreadable} pictures cannot be read; 'blendset verify' names them.", file=sys.stderr)
    print(f"{file.page}: {file.views:,} views, {file.bytes / 1e6:.1f} MB")
    return DONE

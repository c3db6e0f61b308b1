# SPDX-License-Identifier: Apache-2.0
"""`blendset report DATASET`: writes one HTML page that shows a dataset."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blendset.dataset import Dataset
from blendset_trainer.cli.console import print_json, show_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.reporting.report import write_report


def add_report(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset report`."""
    parser = add_command(
        commands,
        "report",
        _report,
        "Write one HTML page that shows a dataset: views, figures, captions, duplicates, what was left out and why",
        "blendset report kitchen-dataset --selection first",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    parser.add_argument("--selection", metavar="NAME", help="the selection to show (default: the only one there is)")
    parser.add_argument("--training", type=Path, metavar="RUN", help="a run of 'blendset train' to show too")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("report.html"),
        metavar="FILE.html",
        help="the page to write (default %(default)s)",
    )


def _report(arguments: argparse.Namespace) -> int:
    with show_progress("pictures", quiet=arguments.json) as on_progress:
        dataset = Dataset(arguments.dataset)
        file = write_report(dataset, arguments.out, arguments.selection, on_progress, arguments.training)
    if arguments.json:
        print_json(file)
        return DONE
    if file.unreadable:
        print(f"{file.unreadable} pictures cannot be read; 'blendset verify' names them.", file=sys.stderr)
    print(f"{file.page}: {file.views:,} views, {file.bytes / 1e6:.1f} MB")
    return DONE

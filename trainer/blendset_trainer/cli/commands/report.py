# SPDX-License-Identifier: Apache-2.0
"""`blendset report DATASET`: collects what the page shows, makes its pictures and writes it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset.files import atomic_write
from blendset_trainer.cli.console import print_json, show_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.reporting.data import Selection, in_order, read_selection, report_of
from blendset_trainer.reporting.page import page_of
from blendset_trainer.reporting.thumbnails import NONE, thumbnails
from blendset_trainer.reporting.training import training_of
from blendset_trainer.selection.files import list_selections
from blendset_trainer.stages.tables import read_index_with_stages


@dataclass(frozen=True)
class Written:
    """The page that was written; `unreadable` counts the views whose picture cannot be read."""

    page: str
    bytes: int
    views: int
    unreadable: int


def add_report(commands: argparse._SubParsersAction[Parser]) -> None:
    """Register the subcommand."""
    parser = add_command(
        commands,
        "report",
        _run,
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


def _run(arguments: argparse.Namespace) -> int:
    with show_progress("pictures", quiet=arguments.json) as on_progress:
        dataset = Dataset(arguments.dataset)
        written = write_report(dataset, arguments.out, arguments.selection, on_progress, arguments.training)
    if arguments.json:
        print_json(written)
        return DONE
    if written.unreadable:
        print(f"{written.unreadable} pictures cannot be read; 'blendset verify' names them.", file=sys.stderr)
    print(f"{written.page}: {written.views:,} views, {written.bytes / 1e6:.1f} MB")
    return DONE


def write_report(
    dataset: Dataset,
    out: Path,
    selection: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    training: Path | None = None,
) -> Written:
    """Write the page of a dataset, with the selection of that name, or with the only one that there is; and with the
    run that `blendset train` left in the folder `training`.

    The same dataset gives the same bytes. BlendsetError where there are no views, no such selection or no such run.
    """
    records = in_order(dataset)
    run = training_of(training) if training else None
    report = report_of(dataset, records, read_index_with_stages(dataset), _chosen(dataset, selection), run)
    lines = thumbnails(dataset, records, lambda done: on_progress(done, len(records)))
    page = page_of(report, lines).encode()
    atomic_write(out, page)
    unreadable = sum(line.startswith(NONE) for line in lines)
    return Written(str(out), len(page), len(records), unreadable)


def _chosen(dataset: Dataset, name: str | None) -> Selection | None:
    names = list_selections(dataset)
    if name is None and len(names) == 1:
        name = names[0]
    return None if name is None else read_selection(dataset, name)

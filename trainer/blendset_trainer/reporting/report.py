# SPDX-License-Identifier: Apache-2.0
"""Writes the report of a dataset: collects what the page shows, makes its pictures and writes the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset.files import atomic_write
from blendset_trainer.reporting.data import ReportSelection, build_report, read_selection, read_sorted_views
from blendset_trainer.reporting.page import render_page
from blendset_trainer.reporting.thumbnails import MISSING, build_thumbnails
from blendset_trainer.reporting.training import read_training_section
from blendset_trainer.selection.files import list_selections
from blendset_trainer.stages.tables import read_index_with_stages


@dataclass(frozen=True)
class ReportFile:
    """The page that `write_report` wrote: its path, its bytes, its views, and how many have no readable picture."""

    page: str
    bytes: int
    views: int
    unreadable: int


def write_report(
    dataset: Dataset,
    out: Path,
    selection: str | None = None,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    training: Path | None = None,
) -> ReportFile:
    """Write the report of a dataset as one HTML file at `out`; the same dataset gives the same bytes.

    It shows the selection of that name, or the only one that there is, and the training run in the folder `training`.
    Raises BlendsetError where there are no views, no such selection or no such run.
    """
    records = read_sorted_views(dataset)
    run = read_training_section(training) if training else None
    report = build_report(
        dataset, records, read_index_with_stages(dataset), _read_selection_or_only(dataset, selection), run
    )
    lines = build_thumbnails(dataset, records, lambda done: on_progress(done, len(records)))
    page = render_page(report, lines).encode()
    atomic_write(out, page)
    unreadable = sum(line.startswith(MISSING) for line in lines)
    return ReportFile(str(out), len(page), len(records), unreadable)


def _read_selection_or_only(dataset: Dataset, name: str | None) -> ReportSelection | None:
    """Read the selection of a name, or the only one; None where there is none or no name among several."""
    names = list_selections(dataset)
    if name is None and len(names) == 1:
        name = names[0]
    return None if name is None else read_selection(dataset, name)

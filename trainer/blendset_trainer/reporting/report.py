# SPDX-License-Identifier: Apache-2.0
"""Writes the report of a dataset: collects what the page shows, makes its pictures and writes the file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset, open_dataset
from blendset.files import atomic_write
from blendset.options import Settings, option, resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.evaluation.records import list_evaluations
from blendset_trainer.reporting.comparison import read_comparison
from blendset_trainer.reporting.data import ReportSelection, build_report, read_selection, read_sorted_views
from blendset_trainer.reporting.judgement import build_evaluation
from blendset_trainer.reporting.page import render_page
from blendset_trainer.reporting.thumbnails import MISSING, build_thumbnails
from blendset_trainer.reporting.training import read_training_section
from blendset_trainer.selection.files import list_selections
from blendset_trainer.stages.tables import read_index_with_stages


@dataclass(frozen=True, kw_only=True)
class ReportSettings(Settings):
    """What the report shows, and where it goes."""

    selection: str | None = option(None, "the selection to show (default: the only one there is)", metavar="NAME")
    training: Path | None = option(None, "a run of 'blendset train' to show too", metavar="RUN")
    comparison: tuple[Path, ...] = option(
        (),
        "a folder that 'blendset compare' wrote, to show too; may be given several times",
        metavar="FOLDER",
        several=True,
    )
    out: Path = option(Path("report.html"), "the page to write (default %(default)s)", metavar="FILE.html")


@dataclass(frozen=True)
class ReportFile:
    """The page of a report: its path, its bytes, its views, and how many have no readable picture."""

    page: str
    bytes: int
    views: int
    unreadable: int


def report(
    dataset: Dataset | Path | str,
    settings: ReportSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> ReportFile:
    """Write one HTML file that shows a dataset; the same dataset gives the same bytes.

    `options` are fields of `ReportSettings`. Raises SettingsError for wrong options, and BlendsetError where there are
    no views, no such selection, training run or comparison.
    """
    settings, dataset = resolve_settings(ReportSettings, settings, options), open_dataset(dataset)
    records = read_sorted_views(dataset)
    on_progress("pictures", 0, len(records))
    run = read_training_section(settings.training) if settings.training else None
    selection = _read_selection_or_only(dataset, settings.selection)
    evaluations = [build_evaluation(each) for each in list_evaluations(dataset.root)]
    comparisons = [read_comparison(folder) for folder in settings.comparison]
    content = build_report(dataset, records, read_index_with_stages(dataset), selection, run)
    lines = build_thumbnails(dataset, records, lambda done: on_progress("pictures", done, len(records)))
    page = render_page(content, lines, evaluations, comparisons).encode(
        errors="backslashreplace"
    )  # a folder may have a name that is no UTF-8
    atomic_write(settings.out, page)
    unreadable = sum(line.startswith(MISSING) for line in lines)
    return ReportFile(str(settings.out), len(page), len(records), unreadable)


def _read_selection_or_only(dataset: Dataset, name: str | None) -> ReportSelection | None:
    """Read the selection of a name, or the only one; None where there is none or no name among several."""
    names = list_selections(dataset)
    if name is None and len(names) == 1:
        name = names[0]
    return None if name is None else read_selection(dataset, name)

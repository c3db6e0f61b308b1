# SPDX-License-Identifier: Apache-2.0
"""Applies rules to a dataset and writes the selection; counts the funnel from the first camera to the last view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset.placement.funnel import read_funnel
from blendset_trainer.selection.files import HELD_OUT, get_selection_path, write_selection
from blendset_trainer.selection.rules import Rules
from blendset_trainer.selection.select import ViewSelection, select
from blendset_trainer.stages.tables import read_index_with_stages


@dataclass(frozen=True)
class SelectionReport:
    """A selection that was written: its file, how many views the dataset has, and what became of them."""

    path: Path
    views: int
    selection: ViewSelection

    @property
    def selected(self) -> int:
        """How many views were chosen."""
        return int(self.selection.chosen.num_rows)

    @property
    def held_out(self) -> int:
        """How many of the chosen views are held out of training."""
        return int(self.selection.chosen["split"].to_pylist().count(HELD_OUT))


def select_views(dataset: Dataset, rules: Rules, name: str, preset: str = "") -> SelectionReport:
    """Apply rules to a dataset and write the selection under a name; `preset` is recorded as where the rules are from.

    Raises BlendsetError for a name that is not legal, where another selection has it, and where a rule cannot be
    applied.
    """
    path = get_selection_path(dataset, name)
    table = read_index_with_stages(dataset)
    selection = select(table, rules, preset)
    write_selection(path, selection.chosen, selection.drops)
    return SelectionReport(path, table.num_rows, selection)


def count_funnel(dataset: Dataset, report: SelectionReport) -> Iterator[tuple[str, int]]:
    """Yield what came in and, as negative counts, what each reason took: from the cameras to the selected views."""
    cameras = sum(map(read_funnel, dataset.funnel_paths()), Counter[str]())
    if cameras:
        yield "candidates", cameras.pop("candidates")
        accepted = cameras.pop("accepted", 0)
        yield from ((f"  {reason}", -count) for reason, count in cameras.most_common())
        yield "accepted cameras", accepted
    yield "views", report.views
    yield from ((f"  {reason}", -count) for reason, count in report.selection.reasons.items())
    yield "selected", report.selected
    if report.held_out:
        yield "  of them held out", report.held_out

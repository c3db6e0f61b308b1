# SPDX-License-Identifier: Apache-2.0
"""Selects views of a dataset by rules and writes the selection; counts the funnel from the first camera to the last
view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.options import REQUIRED, Settings, option, resolve_settings
from blendset.placement.funnel import read_funnel
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.selection.apply_rules import ViewSelection, apply_rules
from blendset_trainer.selection.columns import find_command
from blendset_trainer.selection.files import HELD_OUT, get_selection_path, write_selection
from blendset_trainer.selection.rules import Rules, list_presets, load_preset, load_rules, replace_scorer
from blendset_trainer.selection.splits import OneGroupError
from blendset_trainer.stages.tables import read_index_with_stages

NOTHING_HELD_OUT = (
    "No view is held out: all views hang together, and what hangs together stays on one side. Render more subjects to "
    "hold some out."
)


@dataclass(frozen=True, kw_only=True)
class SelectSettings(Settings):
    """By which rules views are selected (`preset` or `rules`, one of them), and what the selection is called.

    Creating one raises SettingsError for a value outside its limits, and where neither or both name rules.
    """

    preset: str | None = option(None, "rules that come with Blendset", choices=tuple(list_presets()))
    rules: Path | None = option(None, "rules in TOML, or the selection to make again", metavar="FILE")
    name: str = option(REQUIRED, "what to call the selection")
    top: int | None = option(None, "most views to choose, whatever the rules say", metavar="K")
    scorer: tuple[str, ...] = option(
        (),
        "hold another scorer's figures against the thresholds of the one that the rules name",
        metavar="OLD=NEW",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.preset is None) == (self.rules is None):
            raise SettingsError("Give the rules to select by: either a preset, or a file of rules.")
        if self.top is not None and self.top < 1:
            raise SettingsError(f"--top is {self.top}; it must be at least 1.")


@dataclass(frozen=True)
class SelectionReport:
    """A selection that was written: its file, how many views the dataset has, and what became of them.

    `note` says which rules were not applied, and why; it is empty where all were.
    """

    path: Path
    views: int
    selection: ViewSelection
    note: str = ""

    @property
    def selected(self) -> int:
        """How many views were chosen."""
        return int(self.selection.chosen.num_rows)

    @property
    def held_out(self) -> int:
        """How many of the chosen views are held out of training."""
        return int(self.selection.chosen["split"].to_pylist().count(HELD_OUT))


def select(
    dataset: Dataset | Path | str,
    settings: SelectSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> SelectionReport:
    """Choose views by rules and write the selection, with a reason for each other view; nothing is deleted.

    `options` are fields of `SelectSettings`. It is done in one step, so `on_progress` is not called. Raises
    SettingsError for wrong options and rules, and BlendsetError for a name that is not legal, where another selection
    has it, and where a rule cannot be applied.
    """
    settings = resolve_settings(SelectSettings, settings, options)
    dataset, rules = open_dataset(dataset), _load_rules(settings)
    path = get_selection_path(dataset, settings.name)
    table = read_index_with_stages(dataset)
    notes = []
    try:
        selection = apply_rules(table, rules, settings.preset or "")
    except OneGroupError:
        if not settings.preset:
            raise
        selection = apply_rules(table, replace(rules, splits=None), settings.preset)
        notes.append(NOTHING_HELD_OUT)
    notes += [_describe_skipped(column) for column in selection.skipped]
    write_selection(path, selection.chosen, selection.drops)
    return SelectionReport(path, table.num_rows, selection, " ".join(notes))


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


def _describe_skipped(column: str) -> str:
    command = find_command(column.partition(".")[0])
    return f"The rule over '{column}' was left out, for no view has that figure; run {command} to apply it."


def _load_rules(settings: SelectSettings) -> Rules:
    """The rules that the settings name; SettingsError for what is wrong in them."""
    try:
        rules = load_rules(settings.rules) if settings.rules else load_preset(settings.preset or "")
        for word in settings.scorer:
            rules = replace_scorer(rules, *_parse_pair(word))
    except BlendsetError as error:
        raise SettingsError(str(error)) from error
    return rules if settings.top is None else replace(rules, views=settings.top, share=None)


def _parse_pair(word: str) -> tuple[str, str]:
    old, equals, new = word.partition("=")
    if not (old and equals and new):
        raise SettingsError(f"--scorer is '{word}'; write it as OLD=NEW.")
    return old, new

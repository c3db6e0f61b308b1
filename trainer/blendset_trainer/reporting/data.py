# SPDX-License-Identifier: Apache-2.0
"""The data of the report's page, from the records, the table of captions and scores, and a selection.

`page.js` draws it: the fields of these classes are the keys of its JSON.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import explain_read_errors
from blendset.records import ViewRecord, VisibleObject, read_json
from blendset_trainer.adopted_views import list_licences, read_adopted_names
from blendset_trainer.reporting.columns import Caption, ReportColumn, build_columns, collect_captions, round_number
from blendset_trainer.reporting.contact_sheet import make_sort_key, name_whole
from blendset_trainer.reporting.funnel import FunnelSummary, ReasonCount, explain_reasons, summarize_funnel
from blendset_trainer.reporting.synthesis import SynthesisSection, build_synthesis_section
from blendset_trainer.reporting.training import TrainingSection
from blendset_trainer.selection.duplicates import group_duplicates
from blendset_trainer.selection.files import list_selections, read_chosen, read_drops, read_recipe
from blendset_trainer.synthetic_views import SYNTHETIC, has_camera
from blendset_trainer.things import label_visible_objects, read_part_labels

MIN_SHARE, MAX_OBJECTS = 0.005, 10
"""Of a view's objects the page names those with at least this share of the picture, and at most so many."""


@dataclass(frozen=True)
class ReportView:
    """A view on the page.

    `path` is relative to the dataset's folder; `objects` are labels with shares of the picture, 0 to 1. The selection
    says `selected`, `split`, `weight` (what the view counts) and `drop` (why it was left out).
    """

    id: str
    scene: str
    subject: str
    label: str
    source: str
    path: str
    width: int
    height: int
    failed: Sequence[str]
    objects: Sequence[tuple[str, float]]
    captions: Sequence[Caption]
    selected: bool
    split: str
    weight: float | None
    drop: str


@dataclass(frozen=True)
class ReportSelection:
    """selections/<name>.parquet and its drops, by view id; `rules` is the TOML that made it."""

    name: str
    rules: str
    preset: str
    chosen: Mapping[str, Mapping[str, Any]]
    dropped: Mapping[str, str]


@dataclass(frozen=True)
class SelectionSummary:
    """A selection on the page: how many views it chose, and how many it dropped for which reason."""

    name: str
    rules: str
    preset: str
    chosen: int
    reasons: Sequence[ReasonCount]


@dataclass(frozen=True)
class Report:
    """All data of the page but the pictures; `duplicates` are groups of indices into `views`."""

    name: str
    folder: str
    facts: Sequence[tuple[str, str]]
    funnel: FunnelSummary
    selection: SelectionSummary | None
    selections: Sequence[str]
    views: Sequence[ReportView]
    figures: Sequence[ReportColumn]
    unsupported: Sequence[tuple[str, int]]
    duplicates: Sequence[Sequence[int]]
    compared: str
    synthesis: SynthesisSection | None
    training: TrainingSection | None


def read_sorted_views(dataset: Dataset) -> list[ViewRecord]:
    """Read the records of all views, sorted by scene and subject; BlendsetError where there are none."""
    views = sorted(dataset.views(), key=make_sort_key)
    if not views:
        raise BlendsetError(f"{dataset.root} holds no views yet; render a scene into it first.")
    return views


def build_report(
    dataset: Dataset,
    records: Sequence[ViewRecord],
    table: pa.Table,
    selection: ReportSelection | None = None,
    training: TrainingSection | None = None,
) -> Report:
    """Build the data of the page; `table` is the one of `blendset_trainer.stages.tables.read_index_with_stages`."""
    rows = _align_rows(table, records)
    captions = collect_captions(rows)
    unsupported = Counter(
        noun for view_captions in captions for caption in view_captions for noun in caption.unsupported
    )
    groups, compared = group_duplicates(rows)
    duplicates = _group_equal(groups)
    labels = read_part_labels(dataset, records)
    names = read_adopted_names(dataset)
    views = [
        _build_view(dataset, record, view_captions, selection, labels.get(record.scene, {}), names)
        for record, view_captions in zip(records, captions, strict=True)
    ]
    return Report(
        name=dataset.record.name,
        folder=dataset.root.name,
        facts=tuple(_collect_facts(dataset, records)),
        funnel=summarize_funnel(dataset, _select_rendered(records)),
        selection=None if selection is None else _summarize_selection(selection, views),
        selections=list_selections(dataset),
        views=views,
        figures=build_columns(records, rows),
        unsupported=sorted(unsupported.items(), key=lambda item: (-item[1], item[0])),
        duplicates=duplicates,
        compared=compared,
        synthesis=build_synthesis_section(dataset, records),
        training=training,
    )


# --- selections -------------------------------------------------------------------------------------------------------


def read_selection(dataset: Dataset, name: str) -> ReportSelection:
    """Read a selection with its drops; BlendsetError lists the selections where there is none of that name."""
    chosen, drops = read_chosen(dataset, name), read_drops(dataset, name)
    rules, preset = read_recipe(chosen)
    return ReportSelection(
        name=name,
        rules=rules,
        preset=preset,
        chosen={row["view_id"]: row for row in chosen.to_pylist()},
        dropped=dict(zip(drops["view_id"].to_pylist(), drops["reason"].to_pylist(), strict=True)),
    )


def _summarize_selection(selection: ReportSelection, views: Sequence[ReportView]) -> SelectionSummary:
    """Count what the selection says of the views that there are today."""
    dropped = explain_reasons(Counter(view.drop for view in views if view.drop))
    return SelectionSummary(
        selection.name, selection.rules, selection.preset, sum(view.selected for view in views), dropped
    )


# --- facts ------------------------------------------------------------------------------------------------------------


def _collect_facts(dataset: Dataset, records: Sequence[ViewRecord]) -> Iterator[tuple[str, str]]:
    """Collect terms and texts about the dataset and how its pictures were made."""
    record, runs, rendered = dataset.record, list(_read_runs(dataset)), _select_rendered(records)
    subjects = {(view.scene, view.subject) for view in records if view.subject}
    sizes = Counter(f"{view.camera.width} × {view.camera.height}" for view in records)
    yield "Views", f"{len(records):,}"
    yield "Subjects", f"{len(subjects):,}"
    yield "Scenes", f"{len({view.scene for view in rendered}):,}"
    yield "Pixels", _join_values(size for size, _ in sizes.most_common())
    yield "Source", _join_values(_count_sources(records))
    if rendered:
        yield "Samples", _join_values(sorted({view.samples for view in rendered}))
        yield "Lighting", _join_values(sorted({view.lighting for view in rendered}))
        for number, name in enumerate(("Placement", "Blender", "Device")):
            yield name, _join_values(sorted({run[number] for run in runs}))
    yield "Files", _join_values(record.sources)
    licences = list_licences(dataset, [view.view_id for view in records])
    yield "Licence", _join_values(licence or "not stated" for licence in licences)
    yield "Creator", record.creator or "not stated"


def _select_rendered(records: Sequence[ViewRecord]) -> list[ViewRecord]:
    """The views that were rendered from a scene; of pictures of other people, and most synthesized ones, no camera is
    known."""
    return [record for record in records if record.source != SYNTHETIC and has_camera(record.camera)]


def _count_sources(records: Sequence[ViewRecord]) -> list[str]:
    """The sources by name, each with its number of views where there are several."""
    counts = Counter(view.source for view in records)
    return sorted(counts) if len(counts) == 1 else [f"{name} ({counts[name]:,})" for name in sorted(counts)]


def _read_runs(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    """How cameras were placed, Blender and device of each run that rendered views."""
    for path in sorted((dataset.root / "runs").glob("*.json")):
        run = read_json(path)
        with explain_read_errors(path, "delete it, for only the page shows it"):
            yield str(run["config"]["cameras"]["preset"]), str(run["blender"]), str(run["device"])


def _join_values(values: Any, limit: int = 4) -> str:
    """Join values with commas; of many, the first and how many more there are."""
    words = list(map(str, values))
    more = f" and {len(words) - limit} more" if len(words) > limit else ""
    return (", ".join(words[:limit]) + more) or "unknown"


# --- views ------------------------------------------------------------------------------------------------------------


def _build_view(
    dataset: Dataset,
    record: ViewRecord,
    captions: Sequence[Caption],
    selection: ReportSelection | None,
    labels: Mapping[int, str],
    names: Mapping[str, str],
) -> ReportView:
    """The data of one view, with what the selection says of it.

    `labels` are those of the scene's parts, by id; `names` those of adopted pictures at their sources, by view id.
    """
    row = selection.chosen.get(record.view_id) if selection else None
    return ReportView(
        id=record.view_id,
        scene=record.scene,
        subject=record.subject,
        label=record.subject_label or record.subject or names.get(record.view_id) or name_whole(record),
        source=record.source,
        path=dataset.rgb_path(record).relative_to(dataset.root).as_posix(),
        width=record.camera.width,
        height=record.camera.height,
        failed=record.failed_checks,
        objects=_list_objects(label_visible_objects(record, labels)),
        captions=captions,
        selected=row is not None,
        split=str(row.get("split") or "") if row else "",
        weight=round_number(row.get("weight")) if row else None,
        drop=(selection.dropped.get(record.view_id) or "made after the selection") if selection and not row else "",
    )


def _list_objects(visible: Sequence[VisibleObject]) -> list[tuple[str, float]]:
    """Labels with the summed shares of their objects, the largest first."""
    shares = Counter[str]()
    for entry in visible:
        shares[entry.label or "unnamed"] += entry.share  # type: ignore[assignment]
    return [(label, round(share, 4)) for label, share in shares.most_common(MAX_OBJECTS) if share >= MIN_SHARE]


def _align_rows(table: pa.Table, records: Sequence[ViewRecord]) -> pa.Table:
    """Reorder the table's rows like the records, with nulls for a view that it does not hold."""
    row_of_view = {view_id: row for row, view_id in enumerate(table["view_id"].to_pylist())}
    return table.take(pa.array([row_of_view.get(record.view_id) for record in records], pa.int64()))


# --- duplicates -------------------------------------------------------------------------------------------------------


def _group_equal(values: Sequence[Any]) -> list[list[int]]:
    """Group the indices of equal values, for values that occur more than once."""
    rows_of_value: dict[Any, list[int]] = {}
    for row, value in enumerate(values):
        if value is not None:
            rows_of_value.setdefault(value, []).append(row)
    return [group for group in rows_of_value.values() if len(group) > 1]

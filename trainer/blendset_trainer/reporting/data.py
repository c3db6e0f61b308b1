# SPDX-License-Identifier: Apache-2.0
"""What the report's page shows, as plain data: from the records, the table of captions and scores, and a selection.

Nothing here draws; `page.js` reads exactly these fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord, read_json
from blendset_trainer.reporting.contact_sheet import make_sort_key
from blendset_trainer.reporting.figures import Caption, Figure, captions_of, figures_of, number
from blendset_trainer.reporting.funnel import Funnel, Reason, funnel_of, reasons
from blendset_trainer.reporting.synthesis import Synthesis, synthesis_of
from blendset_trainer.reporting.training import Training
from blendset_trainer.selection.duplicates import find_alike_pairs, read_vectors_and_cosine
from blendset_trainer.selection.files import list_selections, read_chosen, read_drops
from blendset_trainer.selection.groups import link_groups, number_view_sets
from blendset_trainer.selection.rules import PRESET, RULES, load_preset
from blendset_trainer.synthetic_views import SYNTHETIC

SMALLEST_SHARE, MOST_OBJECTS = 0.005, 10
"""What is said of a view's objects: those that cover half a percent of it, up to ten."""


@dataclass(frozen=True)
class View:
    """A view as the contact sheet shows it; `drop` is why the selection left it out, `weight` what it counts there."""

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
class Selection:
    """selections/<name>.parquet beside its drops; `rules` is the TOML that made it."""

    name: str
    rules: str
    preset: str
    chosen: Mapping[str, Mapping[str, Any]]
    dropped: Mapping[str, str]


@dataclass(frozen=True)
class SelectionSummary:
    name: str
    rules: str
    preset: str
    chosen: int
    reasons: Sequence[Reason]


@dataclass(frozen=True)
class Report:
    """All that the page shows, but for the pictures."""

    name: str
    folder: str
    facts: Sequence[tuple[str, str]]
    funnel: Funnel
    selection: SelectionSummary | None
    selections: Sequence[str]
    views: Sequence[View]
    figures: Sequence[Figure]
    unsupported: Sequence[tuple[str, int]]
    duplicates: Sequence[Sequence[int]]
    compared: str
    synthesis: Synthesis | None
    training: Training | None


def in_order(dataset: Dataset) -> list[ViewRecord]:
    """All views by scene and subject; BlendsetError where there are none."""
    views = sorted(dataset.views(), key=make_sort_key)
    if not views:
        raise BlendsetError(f"{dataset.root} holds no views yet; render a scene into it first.")
    return views


def report_of(
    dataset: Dataset,
    records: Sequence[ViewRecord],
    table: pa.Table,
    selection: Selection | None = None,
    training: Training | None = None,
) -> Report:
    """What is to be shown of these views; `table` is what `blendset_trainer.stages.tables.joined` gives."""
    rows = _aligned(table, records)
    captions = captions_of(rows)
    unsupported = Counter(noun for of_view in captions for each in of_view for noun in each.unsupported)
    duplicates, compared = _duplicates(rows)
    views = [_view(dataset, record, of_view, selection) for record, of_view in zip(records, captions, strict=True)]
    return Report(
        name=dataset.record.name,
        folder=dataset.root.name,
        facts=tuple(_facts(dataset, records)),
        funnel=funnel_of(dataset, [record for record in records if record.source != SYNTHETIC]),
        selection=None if selection is None else _summary(selection, views),
        selections=list_selections(dataset),
        views=views,
        figures=figures_of(records, rows),
        unsupported=sorted(unsupported.items(), key=lambda item: (-item[1], item[0])),
        duplicates=duplicates,
        compared=compared,
        synthesis=synthesis_of(dataset, records),
        training=training,
    )


# --- selections -------------------------------------------------------------------------------------------------------


def read_selection(dataset: Dataset, name: str) -> Selection:
    """Read a selection with its drops; BlendsetError names those that there are."""
    chosen, drops = read_chosen(dataset, name), read_drops(dataset, name)
    words = chosen.schema.metadata or {}
    return Selection(
        name=name,
        rules=words.get(RULES, b"").decode(),
        preset=words.get(PRESET, b"").decode(),
        chosen={row["view_id"]: row for row in chosen.to_pylist()},
        dropped=dict(zip(drops["view_id"].to_pylist(), drops["reason"].to_pylist(), strict=True)),
    )


def _summary(selection: Selection, views: Sequence[View]) -> SelectionSummary:
    """Counts what the selection says of the views that there are today."""
    dropped = reasons(Counter(view.drop for view in views if view.drop))
    return SelectionSummary(
        selection.name, selection.rules, selection.preset, sum(view.selected for view in views), dropped
    )


# --- the card ---------------------------------------------------------------------------------------------------------


def _facts(dataset: Dataset, records: Sequence[ViewRecord]) -> Iterator[tuple[str, str]]:
    """What the dataset says about itself and how its pictures were made, as terms and texts."""
    record, runs = dataset.record, [read_json(path) for path in sorted((dataset.root / "runs").glob("*.json"))]
    subjects = {(view.scene, view.subject) for view in records if view.subject}
    sizes = Counter(f"{view.camera.width} × {view.camera.height}" for view in records)
    yield "Views", f"{len(records):,}"
    yield "Subjects", f"{len(subjects):,}"
    yield "Scenes", f"{len({view.scene for view in records}):,}"
    yield "Pixels", _listed(size for size, _ in sizes.most_common())
    yield "Samples", _listed(sorted({view.samples for view in records}))
    yield "Source", _listed(sorted({view.source for view in records}))
    yield "Lighting", _listed(sorted({view.lighting for view in records}))
    yield "Placement", _listed(sorted({run["config"]["cameras"]["preset"] for run in runs}))
    yield "Blender", _listed(sorted({run["blender"] for run in runs}))
    yield "Device", _listed(sorted({run["device"] for run in runs}))
    yield "Files", _listed(record.sources)
    yield "Licence", record.licence or "not stated"
    yield "Creator", record.creator or "not stated"


def _listed(values: Any, most: int = 4) -> str:
    """Values between commas; where there are many, the first and how many more."""
    words = list(map(str, values))
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return (", ".join(words[:most]) + more) or "unknown"


# --- views ------------------------------------------------------------------------------------------------------------


def _view(dataset: Dataset, record: ViewRecord, captions: Sequence[Caption], selection: Selection | None) -> View:
    row = selection.chosen.get(record.view_id) if selection else None
    return View(
        id=record.view_id,
        scene=record.scene,
        subject=record.subject,
        label=record.subject_label or record.subject or "whole scene",
        source=record.source,
        path=dataset.rgb_path(record).relative_to(dataset.root).as_posix(),
        width=record.camera.width,
        height=record.camera.height,
        failed=record.failed_checks,
        objects=_objects(record),
        captions=captions,
        selected=row is not None,
        split=str(row.get("split") or "") if row else "",
        weight=number(row.get("weight")) if row else None,
        drop=(selection.dropped.get(record.view_id) or "made after the selection") if selection and not row else "",
    )


def _objects(record: ViewRecord) -> list[tuple[str, float]]:
    """Labels with the shares of all that bear them, the largest first."""
    shares = Counter[str]()
    for entry in record.visible_objects:
        shares[entry.label or "unnamed"] += entry.share  # type: ignore[assignment]
    return [(label, round(share, 4)) for label, share in shares.most_common(MOST_OBJECTS) if share >= SMALLEST_SHARE]


def _aligned(table: pa.Table, records: Sequence[ViewRecord]) -> pa.Table:
    """The table's rows in the order of the records; nulls for a view that it does not know."""
    place = {view_id: row for row, view_id in enumerate(table["view_id"].to_pylist())}
    return table.take(pa.array([place.get(record.view_id) for record in records], pa.int64()))


# --- duplicates -------------------------------------------------------------------------------------------------------


def _duplicates(rows: pa.Table) -> tuple[list[list[int]], str]:
    """Groups of rows whose pictures look the same, and how they were compared.

    Views of one set are never duplicates: there likeness is wanted.
    """
    alike = next(rule for rule in load_preset("blendset").duplicates if rule.bits is not None)
    if alike.column not in rows.column_names:
        return _equal(rows["rgb_sha256"].to_pylist()), "byte for byte"
    vectors, cosine = read_vectors_and_cosine(rows, alike)
    sets = number_view_sets(rows)
    pairs = [(one, other) for one, other in find_alike_pairs(vectors, cosine) if sets[one] != sets[other]]
    linked_by = link_groups([], pairs, rows.num_rows).tolist()
    return _equal(linked_by), f"by perceptual hash (at most {alike.bits} of its 64 bits differ)"


def _equal(values: Sequence[Any]) -> list[list[int]]:
    """The places of equal values, for those that are there more than once."""
    places: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            places.setdefault(value, []).append(place)
    return [group for group in places.values() if len(group) > 1]

# SPDX-License-Identifier: Apache-2.0
"""What the report's page shows, as plain data: from the records, the table of captions and scores, and a selection.

Nothing here draws; `page.js` reads exactly these fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord, read_json
from blendset_trainer.contact_sheet import by_scene_and_subject
from blendset_trainer.report.funnel import Funnel, Reason, funnel_of, reasons
from blendset_trainer.selection.duplicates import alike_pairs, vectors_and_cosine
from blendset_trainer.selection.files import drops_path
from blendset_trainer.selection.groups import linked, view_sets
from blendset_trainer.selection.rules import PRESET, RULES, load_preset

CAMERA, LIGHT, CAPTIONS, SCORES = "Camera and framing", "Light", "Captions", "Scores"
FORMS = ("dense", "short", "caption")
"""Figures of a caption stage that hold a text, the one to read first in front."""
SMALLEST_SHARE, MOST_OBJECTS = 0.005, 10
"""What is said of a view's objects: those that cover half a percent of it, up to ten."""

_SHARE, _GREY = "share, 0 to 1", "grey levels, 0 to 255"
MEASURED = {
    "subject_share": (CAMERA, "Subject's share of the picture", _SHARE),
    "visible_fraction": (CAMERA, "Visible part of the subject", _SHARE),
    "truncation": (CAMERA, "Subject outside the frame", _SHARE),
    "distance": (CAMERA, "Distance", "Blender units"),
    "elevation_deg": (CAMERA, "Elevation", "degrees"),
    "azimuth_deg": (CAMERA, "Azimuth", "degrees"),
    "focal_length_mm": (CAMERA, "Focal length", "mm"),
    "mean": (LIGHT, "Mean grey", _GREY),
    "variance": (LIGHT, "Variance of grey", "grey levels squared"),
    "dark_fraction": (LIGHT, "Dark pixels", _SHARE),
    "clipped_fraction": (LIGHT, "Blown out pixels", _SHARE),
    "subject_mean": (LIGHT, "Mean grey of the subject", _GREY),
    "subject_deviation": (LIGHT, "Contrast within the subject", _GREY),
    "subject_contrast": (LIGHT, "Contrast with background", _GREY),
    "exposure_ev": (LIGHT, "Exposure", "stops"),
}
"""What the records of rendered views measure: group, title and scale of each figure."""


@dataclass(frozen=True)
class Figure:
    """A number per view, None where a view has none; `scale` says what it means."""

    name: str
    group: str
    title: str
    scale: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Caption:
    """What one stage says of one view; `unsupported` are its nouns that the picture does not show."""

    stage: str
    form: str
    text: str
    unsupported: Sequence[str]


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


def in_order(dataset: Dataset) -> list[ViewRecord]:
    """All views by scene and subject; BlendsetError where there are none."""
    views = sorted(dataset.views(), key=by_scene_and_subject)
    if not views:
        raise BlendsetError(f"{dataset.root} holds no views yet; render a scene into it first.")
    return views


def report_of(
    dataset: Dataset, records: Sequence[ViewRecord], table: pa.Table, selection: Selection | None = None
) -> Report:
    """What is to be shown of these views; `table` is what `blendset_trainer.tables.joined` gives."""
    rows = _aligned(table, records)
    captions = _captions(rows)
    unsupported = Counter(noun for of_view in captions for each in of_view for noun in each.unsupported)
    duplicates, compared = _duplicates(rows)
    views = [_view(dataset, record, of_view, selection) for record, of_view in zip(records, captions, strict=True)]
    return Report(
        name=dataset.record.name,
        folder=dataset.root.name,
        facts=tuple(_facts(dataset, records)),
        funnel=funnel_of(dataset, records),
        selection=None if selection is None else _summary(selection, views),
        selections=selection_names(dataset),
        views=views,
        figures=_figures(records, rows),
        unsupported=sorted(unsupported.items(), key=lambda item: (-item[1], item[0])),
        duplicates=duplicates,
        compared=compared,
    )


# --- selections -------------------------------------------------------------------------------------------------------


def selection_names(dataset: Dataset) -> list[str]:
    """The selections of a dataset."""
    paths = (dataset.root / "selections").glob("*.parquet")
    return sorted(path.stem for path in paths if not path.stem.endswith(".drops"))


def read_selection(dataset: Dataset, name: str) -> Selection:
    """Read a selection with its drops; BlendsetError names those that there are."""
    names = selection_names(dataset)
    if name not in names:
        there = f"it has {', '.join(names)}" if names else "make one with 'blendset select'"
        raise BlendsetError(f"{dataset.root} has no selection '{name}'; {there}.")
    path = dataset.root / "selections" / f"{name}.parquet"
    chosen = _read_parquet(path)
    drops = _read_parquet(drops_path(path))
    words = chosen.schema.metadata or {}
    return Selection(
        name=name,
        rules=words.get(RULES, b"").decode(),
        preset=words.get(PRESET, b"").decode(),
        chosen={row["view_id"]: row for row in chosen.to_pylist()},
        dropped=dict(zip(drops["view_id"].to_pylist(), drops["reason"].to_pylist(), strict=True)),
    )


def _read_parquet(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); make the selection again.") from error


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
        weight=_number(row.get("weight")) if row else None,
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


# --- captions ---------------------------------------------------------------------------------------------------------


def _text_columns(rows: pa.Table) -> list[tuple[str, str, str]]:
    """Column, stage and form of every text; the index's own caption counts where no stage has written any."""
    split = [(name, *name.rpartition(".")[::2]) for name in rows.column_names]
    of_stages = [each for each in split if each[1] and each[2] in FORMS]
    own = [("caption", "captions", "caption")] if "caption" in rows.column_names else []
    return sorted(of_stages or own, key=lambda each: (each[1], FORMS.index(each[2])))


def _captions(rows: pa.Table) -> list[list[Caption]]:
    """All that the stages say of each view."""
    said: list[list[Caption]] = [[] for _ in range(rows.num_rows)]
    for column, stage, form in _text_columns(rows):
        nouns = f"{stage}.unsupported"
        doubts = rows[nouns].to_pylist() if nouns in rows.column_names and form == "dense" else [None] * rows.num_rows
        for captions, text, unsupported in zip(said, rows[column].to_pylist(), doubts, strict=True):
            if text:
                captions.append(Caption(stage, form, text, unsupported or ()))
    return said


def _caption_figures(rows: pa.Table) -> Iterator[Figure]:
    """Length of every caption, and what else its stage measures (the share that is grounded)."""
    texts = _text_columns(rows)
    for column, stage, form in texts:
        lengths = [len(text.split()) if text else None for text in rows[column].to_pylist()]
        yield Figure(f"{column}:words", CAPTIONS, f"Length, {form} ({stage})", "words", lengths)
    yield from _numeric(rows, {stage for _, stage, _ in texts}, CAPTIONS)


# --- figures ----------------------------------------------------------------------------------------------------------


def _figures(records: Sequence[ViewRecord], rows: pa.Table) -> list[Figure]:
    """Scores, captions, and what rendering has measured where no scorer has measured it again."""
    scores = list(_scores(rows))
    again = {figure.name.rpartition(".")[2] for figure in scores}
    measured = [figure for figure in _measured(records) if figure.name not in again]
    return [*scores, *_caption_figures(rows), *measured]


def _scores(rows: pa.Table) -> Iterator[Figure]:
    captioners = {stage for _, stage, _ in _text_columns(rows)}
    stages = {name.rpartition(".")[0] for name in rows.column_names} - {""} - captioners
    yield from _numeric(rows, stages, SCORES)


def _numeric(rows: pa.Table, stages: set[str], group: str) -> Iterator[Figure]:
    """The numeric columns of some stages, in the table's order."""
    for field in rows.schema:
        stage, _, name = field.name.rpartition(".")
        if stage in stages and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
            scale = (field.metadata or {}).get(b"scale", b"").decode()
            values = [_number(value) for value in rows[field.name].to_pylist()]
            yield Figure(field.name, group, f"{_words(name)} ({stage})", scale, values)


def _measured(records: Sequence[ViewRecord]) -> Iterator[Figure]:
    """What rendering itself has measured."""
    for name, (group, title, scale) in MEASURED.items():
        yield Figure(name, group, title, scale, [_number(_of_record(record, name)) for record in records])


def _of_record(record: ViewRecord, name: str) -> Any:
    for holder in (record, record.camera):
        if hasattr(holder, name):
            return getattr(holder, name)
    return record.statistics.get(name)


def _words(name: str) -> str:
    text = name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def _number(value: Any) -> float | None:
    """Six digits, which is more than a histogram shows; None for what is no finite number."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return float(f"{value:.6g}")


# --- duplicates -------------------------------------------------------------------------------------------------------


def _duplicates(rows: pa.Table) -> tuple[list[list[int]], str]:
    """Groups of rows whose pictures look the same, and how they were compared.

    Views of one set are never duplicates: there likeness is wanted.
    """
    alike = next(rule for rule in load_preset("blendset").duplicates if rule.bits is not None)
    if alike.column not in rows.column_names:
        return _equal(rows["rgb_sha256"].to_pylist()), "byte for byte"
    vectors, cosine = vectors_and_cosine(rows, alike)
    sets = view_sets(rows)
    pairs = [(one, other) for one, other in alike_pairs(vectors, cosine) if sets[one] != sets[other]]
    linked_by = linked([], pairs, rows.num_rows).tolist()
    return _equal(linked_by), f"by perceptual hash (at most {alike.bits} of its 64 bits differ)"


def _equal(values: Sequence[Any]) -> list[list[int]]:
    """The places of equal values, for those that are there more than once."""
    places: dict[Any, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None:
            places.setdefault(value, []).append(place)
    return [group for group in places.values() if len(group) > 1]

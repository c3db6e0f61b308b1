# SPDX-License-Identifier: Apache-2.0
"""Columns of the report: scores, captions with their lengths, and the measurements in the views' records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from blendset.records import ViewRecord
from blendset_trainer.stages.caption_forms import DENSE, SHORT
from blendset_trainer.stages.stage import GREY_LEVELS, SHARE
from blendset_trainer.synthetic_views import has_camera

CAMERA, LIGHT, CAPTIONS, SCORES = "Camera and framing", "Light", "Captions", "Scores"
TEXT_COLUMNS = (DENSE, SHORT, "caption")
"""Columns that hold the text of a caption; the first is the one to read first."""

MEASUREMENTS = {
    "subject_share": (CAMERA, "Subject's share of the picture", SHARE),
    "visible_fraction": (CAMERA, "Visible part of the subject", SHARE),
    "truncation": (CAMERA, "Subject outside the frame", SHARE),
    "distance": (CAMERA, "Distance", "Blender units"),
    "elevation_deg": (CAMERA, "Elevation", "degrees"),
    "azimuth_deg": (CAMERA, "Azimuth", "degrees"),
    "focal_length_mm": (CAMERA, "Focal length", "mm"),
    "mean": (LIGHT, "Mean grey", GREY_LEVELS),
    "variance": (LIGHT, "Variance of grey", "grey levels squared"),
    "dark_fraction": (LIGHT, "Dark pixels", SHARE),
    "clipped_fraction": (LIGHT, "Blown out pixels", SHARE),
    "subject_mean": (LIGHT, "Mean grey of the subject", GREY_LEVELS),
    "subject_deviation": (LIGHT, "Contrast within the subject", GREY_LEVELS),
    "subject_contrast": (LIGHT, "Contrast with background", GREY_LEVELS),
    "exposure_ev": (LIGHT, "Exposure", "stops"),
}
"""What the records of rendered views measure: group, title and scale of each."""
CAMERA_SETTINGS = {"focal_length_mm", "exposure_ev"}
"""Those that are 0 where the camera is unknown."""


@dataclass(frozen=True)
class ReportColumn:
    """A number per view, None where a view has none; `scale` is its unit or range."""

    name: str
    group: str
    title: str
    scale: str
    values: Sequence[float | None]


@dataclass(frozen=True)
class Caption:
    """A caption of one view by one stage; `unsupported` are its nouns that the picture does not show."""

    stage: str
    form: str
    text: str
    unsupported: Sequence[str]


# --- captions ---------------------------------------------------------------------------------------------------------


def _find_text_columns(rows: pa.Table) -> list[tuple[str, str, str]]:
    """Find column, stage and form of every text; the index's own caption counts where no stage has any today."""
    filled = [name for name in rows.column_names if rows[name].null_count < rows.num_rows]
    split = [(name, *name.rpartition(".")[::2]) for name in filled]
    stage_columns = [(column, stage, form) for column, stage, form in split if stage and form in TEXT_COLUMNS]
    index_columns = [("caption", "captions", "caption")] if "caption" in filled else []
    return sorted(stage_columns or index_columns, key=lambda text: (text[1], TEXT_COLUMNS.index(text[2])))


def collect_captions(rows: pa.Table) -> list[list[Caption]]:
    """Collect the captions of each view, in the order of the rows."""
    captions_of_views: list[list[Caption]] = [[] for _ in range(rows.num_rows)]
    for column, stage, form in _find_text_columns(rows):
        noun_column = f"{stage}.unsupported"
        unsupported_nouns = (
            rows[noun_column].to_pylist()
            if noun_column in rows.column_names and form == DENSE
            else [None] * rows.num_rows
        )
        for captions, text, unsupported in zip(
            captions_of_views, rows[column].to_pylist(), unsupported_nouns, strict=True
        ):
            if text:
                captions.append(Caption(stage, form, text, unsupported or ()))
    return captions_of_views


def _build_caption_columns(rows: pa.Table) -> Iterator[ReportColumn]:
    """The length of every caption, and what else its stage measures (its grounded share)."""
    texts = _find_text_columns(rows)
    for column, stage, form in texts:
        lengths = [len(text.split()) if text else None for text in rows[column].to_pylist()]
        yield ReportColumn(f"{column}:words", CAPTIONS, f"Length, {form} ({stage})", "words", lengths)
    yield from _build_numeric_columns(rows, {stage for _, stage, _ in texts}, CAPTIONS)


# --- numbers ----------------------------------------------------------------------------------------------------------


def build_columns(records: Sequence[ViewRecord], rows: pa.Table) -> list[ReportColumn]:
    """Build the columns of scores and captions, and those of records where no scorer has measured the same again."""
    scores = list(_build_score_columns(rows))
    scored = {column.name.rpartition(".")[2] for column in scores}
    measured = [column for column in _build_record_columns(records) if column.name not in scored]
    return [*scores, *_build_caption_columns(rows), *measured]


def _build_score_columns(rows: pa.Table) -> Iterator[ReportColumn]:
    """The numeric columns of all stages but captioners."""
    captioners = {stage for _, stage, _ in _find_text_columns(rows)}
    stages = {name.rpartition(".")[0] for name in rows.column_names} - {""} - captioners
    yield from _build_numeric_columns(rows, stages, SCORES)


def _build_numeric_columns(rows: pa.Table, stages: set[str], group: str) -> Iterator[ReportColumn]:
    """The numeric columns of some stages, in the table's order."""
    for field in rows.schema:
        stage, _, name = field.name.rpartition(".")
        if stage in stages and (pa.types.is_floating(field.type) or pa.types.is_integer(field.type)):
            scale = (field.metadata or {}).get(b"scale", b"").decode()
            values = [round_number(value) for value in rows[field.name].to_pylist()]
            yield ReportColumn(field.name, group, f"{_format_title(name)} ({stage})", scale, values)


def _build_record_columns(records: Sequence[ViewRecord]) -> Iterator[ReportColumn]:
    """The measurements in the views' records."""
    for name, (group, title, scale) in MEASUREMENTS.items():
        values = [round_number(_read_measurement(record, name)) for record in records]
        yield ReportColumn(name, group, title, scale, values)


def _read_measurement(record: ViewRecord, name: str) -> Any:
    """A measurement from a record, its camera or its statistics; None where there is none."""
    if name in CAMERA_SETTINGS and not has_camera(record.camera):
        return None
    for holder in (record, record.camera):
        if hasattr(holder, name):
            return getattr(holder, name)
    return record.statistics.get(name)


def _format_title(name: str) -> str:
    """A column's name as words, with a capital letter."""
    text = name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def round_number(value: Any) -> float | None:
    """Round a number to six digits, more than a histogram shows; None for what is not finite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return float(f"{value:.6g}")

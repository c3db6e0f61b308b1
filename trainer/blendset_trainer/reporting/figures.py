# SPDX-License-Identifier: Apache-2.0
"""What is measured and said of views, in columns: scores, captions with their lengths, and the records' own figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from blendset.records import ViewRecord
from blendset_trainer.stages.caption_forms import DENSE, SHORT
from blendset_trainer.stages.stage import GREY_LEVELS, SHARE

CAMERA, LIGHT, CAPTIONS, SCORES = "Camera and framing", "Light", "Captions", "Scores"
FORMS = (DENSE, SHORT, "caption")
"""Figures of a caption stage that hold a text, the one to read first in front."""

MEASURED = {
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


# --- captions ---------------------------------------------------------------------------------------------------------


def _text_columns(rows: pa.Table) -> list[tuple[str, str, str]]:
    """Column, stage and form of every text; the index's own caption counts where no stage says anything today."""
    spoken = [name for name in rows.column_names if rows[name].null_count < rows.num_rows]
    split = [(name, *name.rpartition(".")[::2]) for name in spoken]
    of_stages = [each for each in split if each[1] and each[2] in FORMS]
    own = [("caption", "captions", "caption")] if "caption" in spoken else []
    return sorted(of_stages or own, key=lambda each: (each[1], FORMS.index(each[2])))


def captions_of(rows: pa.Table) -> list[list[Caption]]:
    """All that the stages say of each view."""
    said: list[list[Caption]] = [[] for _ in range(rows.num_rows)]
    for column, stage, form in _text_columns(rows):
        nouns = f"{stage}.unsupported"
        doubts = rows[nouns].to_pylist() if nouns in rows.column_names and form == DENSE else [None] * rows.num_rows
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


def figures_of(records: Sequence[ViewRecord], rows: pa.Table) -> list[Figure]:
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
            values = [number(value) for value in rows[field.name].to_pylist()]
            yield Figure(field.name, group, f"{_words(name)} ({stage})", scale, values)


def _measured(records: Sequence[ViewRecord]) -> Iterator[Figure]:
    """What rendering itself has measured."""
    for name, (group, title, scale) in MEASURED.items():
        yield Figure(name, group, title, scale, [number(_of_record(record, name)) for record in records])


def _of_record(record: ViewRecord, name: str) -> Any:
    for holder in (record, record.camera):
        if hasattr(holder, name):
            return getattr(holder, name)
    return record.statistics.get(name)


def _words(name: str) -> str:
    text = name.replace("_", " ").replace("-", " ")
    return text[:1].upper() + text[1:]


def number(value: Any) -> float | None:
    """Six digits, which is more than a histogram shows; None for what is no finite number."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    return float(f"{value:.6g}")

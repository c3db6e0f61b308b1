# SPDX-License-Identifier: Apache-2.0
"""Measures the pictures of a dataset: rows of scorers become values and features, one per picture, with their units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from blendset.dataset import CAPTION, Dataset
from blendset.errors import BlendsetError
from blendset.naming import join_names
from blendset.randomness import sample_uniform
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.evaluation.metrics import Metric, has_embedding, list_metrics
from blendset_trainer.evaluation.settings import AUTO, PICTURE, PROMPT, SCENE, SUBJECT, MeasureSettings
from blendset_trainer.evaluation.statistics.kernels import Features, Mask
from blendset_trainer.selection.files import read_chosen
from blendset_trainer.stages.executors.settings import make_executor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.stage import Stage
from blendset_trainer.stages.tables import read_index, read_valid_columns
from blendset_trainer.synthetic_views import SYNTHETIC


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of N pictures.

    `index` is the dataset's, these pictures only. `unit` says what `keys` (N,) are: pictures that were sampled together
    share one. `values` (N,) are NaN where a picture has none. `features` (N, D), by the name of their stage, are NaN in
    all of the row of a picture without any; `revisions` are of their weights. `texts` are columns of words, by their
    full names. `notes` are sentences for the user.
    """

    title: str
    dataset: Dataset
    index: pa.Table
    unit: str
    keys: NDArray[np.str_]
    values: dict[Metric, NDArray[np.float64]] = field(default_factory=dict)
    features: dict[str, Features] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    texts: dict[str, pa.ChunkedArray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many pictures were measured."""
        return int(self.index.num_rows)

    def take(self, mask: Mask) -> Measurement:
        """Return the same of those pictures that a mask (N,) keeps."""
        return Measurement(
            self.title,
            self.dataset,
            self.index.filter(pa.array(mask)),
            self.unit,
            self.keys[mask],
            {metric: values[mask] for metric, values in self.values.items()},
            {stage: features[mask] for stage, features in self.features.items()},
            self.revisions,
            {name: texts.filter(pa.array(mask)) for name, texts in self.texts.items()},
            self.notes,
        )


def measure(
    dataset: Dataset,
    title: str,
    stages: Sequence[Stage],
    settings: MeasureSettings,
    on_progress: OnProgress,
    most: int | None = None,
) -> Measurement:
    """Run scorers over the pictures of a dataset that the settings choose, and return what they say; rows resume.

    At most `most` pictures are measured, drawn at random. Raises BlendsetError for fewer than two, and for features
    that are not finite.
    """
    index = read_index(dataset)
    rows = choose_rows(dataset, index, settings, most)
    if len(rows) < 2:
        raise BlendsetError(f"{title} has {len(rows)} picture to measure, and needs at least two; give more pictures.")
    notes = _run_stages(dataset, stages, index.take(rows)["view_id"].to_pylist(), settings, on_progress)
    values: dict[Metric, NDArray[np.float64]] = {}
    features: dict[str, Features] = {}
    texts: dict[str, pa.ChunkedArray] = {}
    for stage in stages:
        columns = read_valid_columns(StageFolder.from_stage(dataset.root, stage), index)
        if columns is None:
            raise BlendsetError(f"{stage.name} has no row of any picture of {title}; {'; '.join(notes) or 'score it'}.")
        columns = columns.take(rows)
        texts |= {
            f"{stage.name}.{name}": columns[name] for name in stage.columns if pa.types.is_string(columns[name].type)
        }
        values |= {metric: _read_numbers(columns[metric.column]) for metric in list_metrics(stage)}
        if has_embedding(stage):
            features[stage.name] = _read_features(columns["embedding"], stage, title)
    index = index.take(rows)
    unit = choose_unit(index) if settings.unit == AUTO else settings.unit
    return Measurement(
        title,
        dataset,
        index,
        unit,
        make_keys(index, unit),
        values,
        features,
        {stage.name: stage.revision for stage in stages},
        texts,
        tuple(notes),
    )


def _run_stages(
    dataset: Dataset, stages: Sequence[Stage], views: list[str], settings: MeasureSettings, on_progress: OnProgress
) -> list[str]:
    """Bring the rows of these views up to date, of whole view sets all; return what the user is to know."""
    notes = []
    for stage in stages:
        only = None if stage.whole_sets else frozenset(views)
        report = run_stage(dataset, stage, make_executor(settings), on_progress, only=only)
        notes += [f"{stage.name}: {line}" for line in (*report.notes, *report.describe_failures())]
    return notes


def choose_rows(
    dataset: Dataset, index: pa.Table, settings: MeasureSettings, most: int | None = None
) -> NDArray[np.int64]:
    """Return the rows (N,) of an index to measure: of a selection, and at most `pairs`, and `most`, drawn at random."""
    names = index["view_id"].to_pylist()
    rows = np.arange(len(names))
    if settings.selection:
        chosen = set(read_chosen(dataset, settings.selection)["view_id"].to_pylist())
        rows = np.array([row for row, name in enumerate(names) if name in chosen], np.int64)
    limit = min(settings.pairs or len(rows), most or len(rows))
    chosen = index.take(rows)
    unit = choose_unit(chosen) if settings.unit == AUTO else settings.unit
    return np.asarray(rows[draw(make_keys(chosen, unit), limit, settings.seed)])


def draw(keys: NDArray[np.str_], most: int, seed: int) -> Mask:
    """Return a mask (N,) of at most `most` pictures, drawn unit by unit at random, from their units (N,).

    Which are drawn follows from the seed and each unit alone, so that sets of the same units draw the same.
    """
    mask = np.ones(len(keys), bool)
    if most < len(keys):
        order = sorted(range(len(keys)), key=lambda row: (sample_uniform(seed, "evaluate", str(keys[row])), row))
        mask[order[most:]] = False
    return mask


def choose_unit(index: pa.Table) -> str:
    """Return what was sampled: the prompt of pictures that were all made of one, the subject of renders, the picture.

    Pictures of prompts are those with `source` "synthetic" and no subject.
    """
    has_subject = pc.not_equal(pc.coalesce(index["subject"], ""), "")
    if pc.any(has_subject).as_py():
        return SUBJECT
    is_drawn = pc.all(pc.equal(index["source"], SYNTHETIC)).as_py() and not index[CAPTION].null_count
    return PROMPT if is_drawn else PICTURE


def make_keys(index: pa.Table, unit: str) -> NDArray[np.str_]:
    """Return the unit of each picture as a text (N,). A picture without a subject, or without a caption, is its own."""
    views, scenes = index["view_id"].to_pylist(), index["scene"].to_pylist()
    if unit == SCENE:
        return np.array(scenes)
    if unit == PROMPT:
        return np.array([caption or view for caption, view in zip(index[CAPTION].to_pylist(), views, strict=True)])
    if unit == SUBJECT:
        subjects = index["subject"].to_pylist()
        return np.array(
            [f"{scene}/{subject or view}" for scene, subject, view in zip(scenes, subjects, views, strict=True)]
        )
    return np.array(views)


def average_by_unit(
    keys: NDArray[np.str_], values: NDArray[np.float64]
) -> tuple[NDArray[np.str_], NDArray[np.float64]]:
    """Return the units (U,) that have a value, sorted, and the mean of each over its pictures.

    `keys` and `values` are (N,), one per picture.
    """
    has_value = np.isfinite(values)
    units, numbers = np.unique(keys[has_value], return_inverse=True)
    return units, np.bincount(numbers, values[has_value], len(units)) / np.bincount(numbers, minlength=len(units))


def _read_numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column (N,); what is null, NaN or infinite is NaN."""
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values), values, np.nan)


def _read_features(column: pa.ChunkedArray, stage: Stage, title: str) -> Features:
    """A column of embeddings (N, D); NaN in the row of a picture without one. BlendsetError for one that is broken."""
    array = column.combine_chunks()
    has_one = array.is_valid().to_numpy(zero_copy_only=False)
    found = np.stack(array.drop_null().to_numpy(zero_copy_only=False)) if has_one.any() else np.empty((0, 1))
    if not np.isfinite(found).all():
        broken = np.flatnonzero(has_one)[~np.isfinite(found).all(axis=1)]
        raise BlendsetError(
            f"{stage.name} gives {len(broken)} of the pictures of {title} features that are not finite (NaN); delete "
            "its folder in scores/ and evaluate again, with other weights if they come back."
        )
    features = np.full((len(has_one), found.shape[1]), np.nan)
    features[has_one] = found
    return features


def describe_missing(measurement: Measurement) -> list[str]:
    """Return a sentence for each figure that some pictures lack, with how many."""
    lacking: dict[int, list[str]] = {}
    for metric, values in measurement.values.items():
        missing = int(np.isnan(values).sum())
        if 0 < missing < measurement.count:
            lacking.setdefault(missing, []).append(metric.name)
    return [
        f"{measurement.title}: {count} of {measurement.count} pictures have no {join_names(names, 3)}"
        for count, names in sorted(lacking.items())
    ]

# SPDX-License-Identifier: Apache-2.0
"""What a set of pictures covers, from records alone: labels, directions, light, look-alikes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.set_metrics import SetMetric
from blendset_trainer.evaluation.statistics.kernels import Mask
from blendset_trainer.selection.duplicates import group_duplicates
from blendset_trainer.stages.stage import SHARE

RECORDS = "records"
"""What these figures are called by, in place of a scorer."""
BRIGHTNESS = "image-stats.mean"
AZIMUTH_BINS, ELEVATION_BINS = np.linspace(0, 360, 13), np.linspace(-90, 90, 7)
"""Of 30 degrees each way."""


def prepare_coverage(measurement: Measurement) -> Iterator[SetMetric]:
    """Yield figures of a set of N pictures from the dataset's index; those that no picture has a record for are left
    out.

    - labels: the effective number of labels of subjects, the exponential of their entropy;
    - directions: the share of 30 degree fields of azimuth and elevation, below 90 degrees each way, that hold a view;
    - lights: the effective number of eighths of mean grey;
    - duplicates: the share of pictures that look like another one that is not of its view set.
    """
    index = measurement.index
    labels = np.array([label or "" for label in index["subject_label"].to_pylist()])
    if (labels != "").any():
        yield _make("labels", "effective number of labels", _count_effective(labels))
    for metric, values in measurement.values.items():
        if metric.name == BRIGHTNESS:
            eighths = np.where(np.isfinite(values), np.nan_to_num(values) // 32, -1).astype(int).astype(str)
            yield _make("lights", "effective number, of 8 levels of mean grey", _count_effective(eighths, "-1"))
    azimuths, elevations = (_read_angles(index, column) for column in ("azimuth_deg", "elevation_deg"))
    if np.isfinite(azimuths).any():
        yield _make("directions", f"{SHARE}, of fields of 30 degrees", _share_fields(azimuths, elevations))
    groups, how = group_duplicates(_add_hashes(measurement))
    yield _make("duplicates", f"{SHARE}, {how}", _share_repeated(groups))


def _make(name: str, scale: str, compute: Callable[[Mask], float]) -> SetMetric:
    return SetMetric(Metric(RECORDS, name, "", scale), compute)


def _count_effective(values: NDArray[np.str_], unknown: str = "") -> Callable[[Mask], float]:
    known = values != unknown

    def compute(counts: Mask) -> float:
        number = np.unique(values[counts & known], return_counts=True)[1]
        shares = number / max(number.sum(), 1)
        return float(np.exp(-(shares * np.log(shares)).sum())) if len(number) else 0.0

    return compute


def _share_fields(azimuths: NDArray[np.float64], elevations: NDArray[np.float64]) -> Callable[[Mask], float]:
    def compute(counts: Mask) -> float:
        known = counts & np.isfinite(azimuths)
        fields = np.histogram2d(azimuths[known] % 360, elevations[known], bins=(AZIMUTH_BINS, ELEVATION_BINS))[0]
        return float((fields > 0).mean())

    return compute


def _share_repeated(groups: list[Any]) -> Callable[[Mask], float]:
    numbers = np.unique(np.array([str(group) for group in groups]), return_inverse=True)[1]

    def compute(counts: Mask) -> float:
        sizes = np.bincount(numbers[counts])
        return float((sizes[numbers[counts]] > 1).mean())

    return compute


def _read_angles(index: pa.Table, column: str) -> NDArray[np.float64]:
    return np.asarray(index[column].cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64)


def _add_hashes(measurement: Measurement) -> pa.Table:
    """The index with perceptual hashes, where they were computed."""
    hashes = measurement.texts.get("phash.hash")
    return measurement.index if hashes is None else measurement.index.append_column("phash.hash", hashes)

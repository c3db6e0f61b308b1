# SPDX-License-Identifier: Apache-2.0
"""From what was measured of pictures to figures with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.evaluation.coverage import RECORDS, prepare_coverage
from blendset_trainer.evaluation.lineage import Lineage
from blendset_trainer.evaluation.measurement import Measurement, average_by_unit, draw
from blendset_trainer.evaluation.metrics import SET_SCALES, Metric
from blendset_trainer.evaluation.records import Score
from blendset_trainer.evaluation.set_metrics import (
    MAX_PICTURES,
    SetMetric,
    number_units,
    prepare_set_metrics,
)
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.statistics.intervals import Replicates, estimate_mean, estimate_share, jackknife
from blendset_trainer.evaluation.statistics.kernels import Mask, Statistic
from blendset_trainer.evaluation.trusted import Trusted
from blendset_trainer.stages.stage import SHARE

TIFA, IDENTITY = "tifa-", "masked-dino-"
"""How the names of the scorers begin whose figures make GeometricScore."""
GEOMETRIC = Metric("geometric-score", "geometric", "", "√(TIFA · M-DINO), 0 to 1")


def list_means(measurement: Measurement) -> dict[Metric, tuple[NDArray[np.str_], NDArray[np.float64]]]:
    """Return the units (U,) and their means (U,) of each figure of single pictures that two units have at least."""
    means = {metric: average_by_unit(measurement.keys, values) for metric, values in measurement.values.items()}
    return {metric: (units, values) for metric, (units, values) in means.items() if len(units) > 1}


def summarize(measurement: Measurement, sets: Mapping[Metric, Replicates], lineage: Lineage) -> list[Score]:
    """Return all figures of a set of pictures: means of single pictures, then those of the whole set, by scorer."""
    scores = [
        make_score(metric, int(np.isfinite(measurement.values[metric]).sum()), _estimate(measurement, metric), lineage)
        for metric in list_means(measurement)
    ]
    scores += [
        make_score(metric, min(measurement.count, MAX_PICTURES) if metric.column in SET_SCALES else measurement.count,
                   found.estimate(), lineage)
        for metric, found in sets.items()
    ]  # fmt: skip
    return sorted(scores, key=lambda score: (score.scorer == RECORDS, score.scorer))


def _estimate(measurement: Measurement, metric: Metric) -> Estimate:
    """The mean of a figure; of one that is true or false, the share of what is true."""
    values = measurement.values[metric]
    known = np.isfinite(values)
    if not metric.is_truth:
        return estimate_mean(average_by_unit(measurement.keys, values)[1])
    numbers = number_units(measurement.keys[known])
    counts = np.bincount(numbers).astype(np.float64)
    hits: NDArray[np.float64] = np.bincount(numbers, values[known]).astype(np.float64)
    return estimate_share(hits, counts)


def compute_set_metrics(measurement: Measurement, trusted: Trusted, seed: int) -> dict[Metric, Replicates]:
    """Return the figures of the whole set. Distances are of at most MAX_PICTURES of the pictures, drawn at random.

    Sets of the same units, each with as many pictures, leave out the same ones at once.
    """
    limited = measurement.take(draw(measurement.keys, MAX_PICTURES, seed))
    found: dict[Metric, Replicates] = {}
    for measured, metrics in (
        (measurement, [*list_combined_metrics(measurement), *prepare_coverage(measurement)]),
        (limited, prepare_set_metrics(limited, trusted.features)),
    ):
        numbers = number_units(measured.keys)
        for each in metrics:
            compute = partial(_compute_over_units, each.compute, numbers)
            found[each.metric] = jackknife(compute, int(numbers.max()) + 1, seed, each.groups, each.pairs)
    return found


def _compute_over_units(compute: Statistic, numbers: NDArray[np.int64], kept: Mask) -> float:
    """A statistic of the pictures (N,) whose units (U,) are kept, from the number of each picture's unit (N,)."""
    return compute(kept[numbers])


def list_combined_metrics(measurement: Measurement) -> list[SetMetric]:
    """Return GeometricScore (SynCD, arXiv 2502.01720), the root of the means' product, where both were measured."""
    parts = {
        prefix: [
            metric for metric in measurement.values if metric.scorer.startswith(prefix) and metric.column == column
        ]
        for prefix, column in ((TIFA, "score"), (IDENTITY, "references"))
    }
    if not all(parts.values()):
        return []
    texts, identities = (measurement.values[found[0]] for found in parts.values())
    if not (np.isfinite(texts).any() and np.isfinite(identities).any()):
        return []

    def compute(counts: Mask) -> float:
        return math.sqrt(max(float(np.nanmean(texts[counts]) * np.nanmean(identities[counts])), 0))

    return [SetMetric(GEOMETRIC, compute)]


def make_score(metric: Metric, pictures: int, estimate: Estimate, lineage: Lineage) -> Score:
    """Return a figure as records keep it; the interval of a share stays within 0 and 1."""
    if metric.scale.startswith(SHARE):
        estimate = replace(estimate, low=max(estimate.low, 0.0), high=min(estimate.high, 1.0))
    return Score(
        name=metric.name,
        scorer=metric.scorer,
        revision=metric.revision,
        scale=metric.scale,
        better=metric.better,
        pictures=pictures,
        estimate=estimate,
        selected=lineage.did_select(metric),
    )

# SPDX-License-Identifier: Apache-2.0
"""From what was measured of pictures to figures with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.evaluation.coverage import prepare_coverage
from blendset_trainer.evaluation.intervals import Estimate, estimate_mean, jackknife
from blendset_trainer.evaluation.kernels import Mask
from blendset_trainer.evaluation.lineage import Lineage
from blendset_trainer.evaluation.measurement import Measurement, average_by_unit
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.records import Score
from blendset_trainer.evaluation.set_metrics import (
    MAX_PICTURES,
    SetMetric,
    draw_at_most,
    number_units,
    prepare_set_metrics,
)
from blendset_trainer.evaluation.trusted import Trusted

TIFA, IDENTITY = "tifa-", "masked-dino-"
"""How the names of the scorers begin whose figures make GeometricScore."""
GEOMETRIC = Metric("geometric-score", "geometric", "", "√(TIFA · M-DINO), 0 to 1")


def list_means(measurement: Measurement) -> dict[Metric, tuple[NDArray[np.str_], NDArray[np.float64]]]:
    """Return the units (U,) and their means (U,) of each figure of single pictures that two units have at least."""
    means = {metric: average_by_unit(measurement.keys, values) for metric, values in measurement.values.items()}
    return {metric: (units, values) for metric, (units, values) in means.items() if len(units) > 1}


def summarize(measurement: Measurement, trusted: Trusted, lineage: Lineage, seed: int) -> list[Score]:
    """Return all figures of a set of pictures, in the order of their scorers."""
    scores = [
        make_score(metric, int(np.isfinite(measurement.values[metric]).sum()), estimate_mean(values), lineage)
        for metric, (_, values) in list_means(measurement).items()
    ]
    for measured, metrics in (
        (measurement, list_combined_metrics(measurement)),
        (measurement, list(prepare_coverage(measurement))),
        prepare_limited(measurement, trusted, seed),
    ):
        scores += [
            make_score(each.metric, measured.count, estimate, lineage)
            for each, [estimate] in estimate_sets([measured], [metrics], seed)
        ]
    return sorted(scores, key=lambda score: (score.scorer == "records", score.scorer))


def prepare_limited(measurement: Measurement, trusted: Trusted, seed: int) -> tuple[Measurement, list[SetMetric]]:
    """Return at most MAX_PICTURES of the pictures, drawn at random, and the figures in their features."""
    limited = measurement.take(draw_at_most(measurement.count, MAX_PICTURES, seed))
    return limited, list(prepare_set_metrics(limited, trusted.features))


def estimate_sets(
    measurements: Sequence[Measurement], metrics: Sequence[Sequence[SetMetric]], seed: int
) -> Iterator[tuple[SetMetric, list[Estimate]]]:
    """Yield each figure of sets with an estimate for each set and, for two, one for the second minus the first.

    All sets have the same figures, in one order. Two sets have the same units, which are left out of both at once.
    """
    numbers = [number_units(measurement.keys) for measurement in measurements]
    units = max(int(number.max()) + 1 for number in numbers)
    for each in zip(*metrics, strict=True):

        def compute(kept: Mask, each: tuple[SetMetric, ...] = each) -> list[float]:
            values = [metric.compute(kept[number]) for metric, number in zip(each, numbers, strict=True)]
            return [*values, values[1] - values[0]] if len(values) == 2 else values

        yield each[0], jackknife(compute, units, seed, each[0].groups)


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
    """Return a figure as records keep it."""
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

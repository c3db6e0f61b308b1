# SPDX-License-Identifier: Apache-2.0
"""Figures of whole sets in the features of a scorer: how far a set is from a trusted one, and how diverse it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.metrics import SET_SCALES, Metric
from blendset_trainer.evaluation.statistics.frechet import LEAST_PICTURES, prepare_frechet
from blendset_trainer.evaluation.statistics.intervals import GROUPS, PAIRS
from blendset_trainer.evaluation.statistics.kernels import (
    Features,
    Mask,
    Statistic,
    prepare_cmmd,
    prepare_kid,
    prepare_mmd2,
    prepare_vendi,
)
from blendset_trainer.evaluation.statistics.neighbours import K, prepare_neighbours

MAX_PICTURES = 5000
"""Of a set, in the matrices of its distances; more are drawn from at random."""
SLOW = {"frechet": (10, 0)}
"""Groups of the jackknife, and pairs of them, where each takes seconds."""


@dataclass(frozen=True, eq=False)
class SetMetric:
    """A figure of a set of N pictures: `compute` takes a mask (N,) of those that count. The jackknife leaves out
    `groups` of them, and `pairs` of groups."""

    metric: Metric
    compute: Statistic
    groups: int = GROUPS
    pairs: int = PAIRS


def prepare_set_metrics(measurement: Measurement, trusted: Mapping[str, Features]) -> Iterator[SetMetric]:
    """Yield the figures that the number of pictures allows, in the features of each scorer by name.

    Without trusted features there is only the diversity. Pictures without features do not count.
    """
    for scorer, features in measurement.features.items():
        known = np.asarray(np.isfinite(features).all(axis=1))
        if known.sum() <= K:
            continue
        functions = _prepare(features[known], trusted.get(scorer), has_prompts=scorer.startswith("clip-"))
        for column, compute in functions.items():
            metric = Metric(scorer, column, measurement.revisions[scorer], SET_SCALES[column])
            yield SetMetric(metric, _count_known(compute, known), *SLOW.get(column, (GROUPS, PAIRS)))


def number_units(keys: NDArray[np.str_]) -> NDArray[np.int64]:
    """Return the number of each picture's unit (N,), from keys (N,)."""
    return np.asarray(np.unique(keys, return_inverse=True)[1])


def _prepare(features: Features, trusted: Features | None, has_prompts: bool) -> dict[str, Statistic]:
    """The figures by column; CMMD is of CLIP's features only."""
    functions = {"vendi": prepare_vendi(features)}
    if trusted is None or len(trusted) <= K:
        return functions
    functions |= {
        "mmd2": prepare_mmd2(features, trusted),
        "kid": prepare_kid(features, trusted),
        **({"cmmd": prepare_cmmd(features, trusted)} if has_prompts else {}),
        **prepare_neighbours(features, trusted),
    }
    if min(len(features), len(trusted)) >= LEAST_PICTURES:
        functions["frechet"] = prepare_frechet(features, trusted)
    return functions


def _count_known(compute: Statistic, known: Mask) -> Statistic:
    """A statistic of all pictures, from one of those with features."""
    return lambda counts: compute(counts[known])

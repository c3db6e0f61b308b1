# SPDX-License-Identifier: Apache-2.0
"""Figures of models that were trained several times: intervals over seeds and prompts, and when enough was trained.

Two things were drawn at random: the seeds, by which the models of one rung differ, and the prompts, which all models
draw. An interval over prompts alone is one of these very models: it calls two seeds of one rung different.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import stats

from blendset_trainer.evaluation.ladder.records import DIFFERS, EQUAL, OPEN
from blendset_trainer.evaluation.statistics.estimates import CONFIDENCE, Estimate
from blendset_trainer.evaluation.statistics.intervals import Replicates, average_replicates


def estimate_over_seeds(runs: Sequence[Replicates], confidence: float = CONFIDENCE) -> Estimate:
    """Return the mean of a figure, or of a difference, over one run for each seed, with an interval.

    The half width is the root of the sum of two squares: the half width of Student's interval over the seeds, with as
    many degrees of freedom as there are seeds but one, and that of the jackknife over prompts, of the mean over the
    seeds. Of such a sum the coverage is at least nominal (Banerjee, Sankhya 22, 1960). With one seed the second
    remains, and the interval holds for these models only. `units` counts the seeds, or the prompts of one seed.
    `effect` is the mean in standard deviations over the seeds.
    """
    values = np.array([run.value for run in runs])
    over_prompts = average_replicates(runs).estimate(confidence)
    if len(runs) == 1:
        return over_prompts
    spread = float(values.std(ddof=1))
    over_seeds = float(stats.t.ppf((1 + confidence) / 2, len(runs) - 1)) * spread / math.sqrt(len(runs))
    value, half = over_prompts.value, math.hypot(over_seeds, over_prompts.high - over_prompts.value)
    return Estimate(value, value - half, value + half, len(runs), value / spread if spread else None)


def compute_confidence(seeds: int) -> float:
    """Return the confidence of each interval of a ladder with so many seeds, such that all hold at once with 95 %.

    There is a look after each seed from the second on, and the risk is shared by them (Bonferroni).
    """
    return 1 - (1 - CONFIDENCE) / max(seeds - 1, 1)


def judge_difference(difference: Estimate, smallest: float) -> str:
    """Return EQUAL for an interval within plus or minus `smallest`, DIFFERS for one that leaves zero out, else OPEN."""
    if -smallest <= difference.low and difference.high <= smallest:
        return EQUAL
    return DIFFERS if difference.excludes_zero else OPEN

# SPDX-License-Identifier: Apache-2.0
"""The scene's view transform as a table, and the exposure under which previews meet their limits best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.placement.reasons import Reason
from blendset.quality import LUMA, PREVIEW, Statistics, compute_statistics, find_light_faults

THIN = 2
"""Every second pixel each way is enough to choose an exposure by."""


@dataclass(frozen=True, eq=False)
class ViewTransform:
    """A scene's view transform as a table, so that any exposure can be tried without rendering or Blender.

    `table` (N, N, N, 3) holds display values 0..1 for scene-linear values 2**low .. 2**high, spaced evenly in stops.
    """

    table: NDArray[np.float32]
    low: float
    high: float

    def __call__(self, linear: NDArray[Any], exposure_ev: float = 0.0) -> Array:
        """Display values 0..255 (..., 3) of scene-linear values (..., 3), by trilinear interpolation."""
        steps = len(self.table) - 1
        stops = np.where(linear > 0, np.log2(np.maximum(linear, 1e-12)) + exposure_ev, self.low)
        position = np.clip((stops - self.low) / (self.high - self.low), 0, 1) * steps
        cell = np.minimum(position.astype(np.int64), steps - 1)
        above = position - cell
        below = 1 - above
        result = np.zeros(linear.shape)
        for r in (0, 1):
            for g in (0, 1):
                for b in (0, 1):
                    part = (
                        (above if r else below)[..., 0]
                        * (above if g else below)[..., 1]
                        * (above if b else below)[..., 2]
                    )
                    result += part[..., None] * self.table[cell[..., 0] + r, cell[..., 1] + g, cell[..., 2] + b]
        return np.asarray(255 * result)


@dataclass(frozen=True)
class Exposure:
    """The stops chosen, the statistics that they give, and what is still wrong."""

    ev: float
    statistics: Statistics
    faults: tuple[Reason, ...]


def try_exposures(
    images: Sequence[NDArray[Any]],
    subject: NDArray[np.bool_] | None,
    transform: ViewTransform,
    exposures: Iterable[float],
) -> tuple[Exposure, ...]:
    """Return what each exposure makes of a preview, all tried on the same pixels.

    Takes one denoised linear image (H, W, 3), or two noisy ones of the same view with different seeds: their difference
    shows how much of the variance is noise. `subject` (H, W) masks the subject's pixels.
    """
    thin = [image[::THIN, ::THIN] for image in images]
    subject = None if subject is None else subject[::THIN, ::THIN]
    trials = []
    for ev in exposures:
        greys = [transform(image, ev) @ LUMA for image in thin]
        noise = float(np.mean((greys[0] - greys[-1]) ** 2) / 4)
        statistics = compute_statistics(np.mean(greys, axis=0), subject, noise)
        trials.append(Exposure(ev, statistics, tuple(find_light_faults(statistics, PREVIEW))))
    return tuple(trials)


def choose_shared_exposure(views: Sequence[Sequence[Exposure]]) -> tuple[Exposure, ...]:
    """Return, for each view, its trial under the one exposure at which all views together meet the limits best.

    `views` holds, for each view, the trials of the same exposures in the same order. The pictures of a view set are
    compared with one another, so a set has one exposure, as one camera would. Raises ValueError where there is none.
    """
    trials = list(zip(*views, strict=True))
    if not trials:
        raise ValueError("no exposure to try")
    return max(trials, key=_rate_together)


def _rate_together(trials: Sequence[Exposure]) -> tuple[int, float]:
    """Fewer faults come first, then the better ratings."""
    return -sum(len(trial.faults) for trial in trials), sum(map(_rate, trials))


def _rate(trial: Exposure) -> float:
    """Higher is better: a well-lit subject in a well-lit frame, near the scene's own exposure."""
    statistics = trial.statistics
    subject = statistics.mean if statistics.subject_mean is None else statistics.subject_mean
    return float(
        -(((subject - 120) / 70) ** 2)
        - 0.5 * ((statistics.mean - 110) / 70) ** 2
        - 4 * statistics.clipped_fraction
        - 2 * statistics.dark_fraction
        + 0.3 * np.log2(max(statistics.variance, 1.0) / PREVIEW.variance)
        - 0.04 * abs(trial.ev)
    )


def list_exposures(limit: float, step: float = 0.5) -> Array:
    """Return the exposures to try, in stops from -limit to +limit, (N,)."""
    count = int(limit / step)
    return np.linspace(-count * step, count * step, 2 * count + 1)

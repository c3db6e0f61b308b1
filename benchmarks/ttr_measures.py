# SPDX-License-Identifier: Apache-2.0
"""How near drawn patches are to held-out ones: energy at high frequencies, kernel distances, and their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn
from scipy.spatial.distance import cdist, pdist
from scipy.stats import t as student

Array = NDArray[np.float32]
SEEN = 0.02
"""A hundredth of the range of grey values: what is weaker in a patch's spectrum counts as nothing."""


def compute_power(patches: Array) -> NDArray[Any]:
    """The power of patches (N, side, side) at each frequency, by a cosine transform, which sees no edges."""
    return np.asarray(dctn(patches.astype(np.float64), axes=(1, 2), norm="ortho") ** 2)


def compute_radius(side: int) -> NDArray[Any]:
    """Frequencies (side, side) as a part of the highest that an axis has."""
    return np.hypot(*np.meshgrid(np.arange(side), np.arange(side))) / side


def average_rings(power: NDArray[Any], bins: int) -> NDArray[Any]:
    """Mean power (..., bins) on rings of frequency from 0 to 1."""
    ring = np.floor(compute_radius(power.shape[-1]) * bins).astype(int)
    return np.stack([power[..., ring == number].mean(axis=-1) for number in range(bins)], axis=-1)


def sum_high_frequencies(power: NDArray[Any]) -> Any:
    """The power (...) in the upper half of frequencies."""
    return power[..., compute_radius(power.shape[-1]) >= 0.5].sum(axis=-1)


def compute_log_spectra(patches: Array) -> NDArray[Any]:
    """What the spectral distance compares, (N, 8): log10 of each patch's power on rings of frequency."""
    return np.asarray(np.log10(average_rings(compute_power(patches), 8) + SEEN**2))


def compute_kernels(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], ...]:
    """Gaussian kernels of x with x, x with y and y with y, as wide as y's median distance; rows are samples."""
    wide = float(np.median(pdist(y)))
    return tuple(np.exp(-cdist(a, b, "sqeuclidean") / (2 * wide**2)) for a, b in ((x, x), (x, y), (y, y)))


def compute_mmd2(kernels: Sequence[NDArray[Any]], x: NDArray[Any], y: NDArray[Any]) -> float:
    """The unbiased squared maximum mean discrepancy (Gretton et al. 2012, lemma 6), each sample counted so often."""

    def within(kernel: NDArray[Any], counts: NDArray[Any]) -> float:
        own = (counts**2).sum()  # a sample's kernel with itself is 1, and says nothing
        return float((counts @ kernel @ counts - own) / (counts.sum() ** 2 - own))

    between = x @ kernels[1] @ y / (x.sum() * y.sum())
    return within(kernels[0], x) + within(kernels[2], y) - 2 * float(between)


@dataclass(frozen=True)
class PatchComparison:
    """Drawn patches x beside held-out ones y: all that `FIGURES` are made of."""

    high: tuple[NDArray[Any], NDArray[Any]]
    spectra: tuple[NDArray[Any], ...]
    pixels: tuple[NDArray[Any], ...]

    @classmethod
    def from_patches(cls, drawn: Array, held_out: Array) -> PatchComparison:
        """Compare drawn with held-out patches (N, side, side)."""
        flat = [each.reshape(len(each), -1) for each in (drawn, held_out)]
        return cls(
            (sum_high_frequencies(compute_power(drawn)), sum_high_frequencies(compute_power(held_out))),
            compute_kernels(compute_log_spectra(drawn), compute_log_spectra(held_out)),
            compute_kernels(flat[0], flat[1]),
        )

    def compute_metrics(self, x: NDArray[Any] | None = None, y: NDArray[Any] | None = None) -> NDArray[Any]:
        """`FIGURES`, each sample counted so often; once without counts."""
        x = np.ones(len(self.high[0])) if x is None else x
        y = np.ones(len(self.high[1])) if y is None else y
        energy = np.average(self.high[0], weights=x) / np.average(self.high[1], weights=y)
        return np.array(
            [energy, abs(math.log(energy)), compute_mmd2(self.spectra, x, y), compute_mmd2(self.pixels, x, y)]
        )


METRICS = ("high-frequency energy", "its log error", "MMD² of spectra", "MMD² of pixels")
"""A ratio to the held-out patches, the size of its logarithm, and distances to them, which like it are best at 0."""


def compute_seed_interval(values: NDArray[Any]) -> NDArray[Any]:
    """Mean and ends of the 95 % interval (3, figures) of values (seeds, figures), by Student's t."""
    half = student.ppf(0.975, len(values) - 1) * values.std(axis=0, ddof=1) / math.sqrt(len(values))
    return np.stack([values.mean(axis=0), values.mean(axis=0) - half, values.mean(axis=0) + half])


def compute_image_interval(
    ones: Sequence[PatchComparison], others: Sequence[PatchComparison], rounds: int = 1000
) -> NDArray[Any]:
    """Ends of the 95 % interval (2, figures) of the first minus the second, each averaged over its runs, by a bootstrap
    over drawn and held-out patches."""
    random = np.random.default_rng(0)

    def counts(values: NDArray[Any]) -> NDArray[Any]:
        return random.multinomial(len(values), np.full(len(values), 1 / len(values))).astype(float)

    differences = []
    for _ in range(rounds):
        y = counts(ones[0].high[1])
        means = [
            np.mean([run.compute_metrics(counts(run.high[0]), y) for run in runs], axis=0) for runs in (ones, others)
        ]
        differences.append(means[0] - means[1])
    return np.asarray(np.quantile(differences, (0.025, 0.975), axis=0))

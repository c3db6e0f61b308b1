# SPDX-License-Identifier: Apache-2.0
"""Stage `appearance`: a picture's colour, contrast and spectrum, in which renders, photographs and samples of a model
differ. It reads the pixels alone, without a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import fft

from blendset_trainer.scoring.greys import Grey, to_grey
from blendset_trainer.stages.stage import SHARE, Column, Scorer, View

NYQUIST = 0.5
"""Cycles per pixel."""
RINGS_PER_OCTAVE = 4
"""Rings of frequencies over which the power is averaged, equal in the logarithm: each octave weighs the same."""
SLOWEST = 4
"""Cycles over the shorter side from which the slope is fitted; the window smears what is slower."""
SMALLEST = 32
"""Pixels of the shorter side, below which there are too few frequencies for a slope."""


@dataclass(frozen=True)
class Appearance(Scorer):
    """Computes figures of a picture; those of the spectrum are None for a picture of one grey."""

    name = "appearance"
    parameters: ClassVar[Mapping[str, Any]] = {"rings_per_octave": RINGS_PER_OCTAVE, "slowest": SLOWEST}
    columns: ClassVar[Mapping[str, Column]] = {
        "colourfulness": Column(pa.float64(), "0 is grey, 109 extremely colourful"),
        "saturation": Column(pa.float64(), "mean of HSV, 0 to 1"),
        "contrast": Column(pa.float64(), "RMS, 0 to 0.5"),
        "high_frequency": Column(pa.float64(), SHARE),
        "spectral_slope": Column(pa.float64(), "exponent of power over frequency, about -2 for photographs"),
    }

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        return [_compute_row(view.rgb) for view in views]


def _compute_row(rgb: npt.NDArray[np.uint8]) -> dict[str, Any]:
    grey = to_grey(rgb)
    high_frequency, slope = compute_spectrum(grey)
    return {
        "colourfulness": compute_colourfulness(rgb),
        "saturation": compute_saturation(rgb),
        "contrast": float(grey.std(dtype=np.float64)) / 255,
        "high_frequency": high_frequency,
        "spectral_slope": slope,
    }


def compute_colourfulness(rgb: npt.NDArray[np.uint8]) -> float:
    """Return the colourfulness of a picture (height, width, 3) by Hasler and Suesstrunk, "Measuring colourfulness in
    natural images" (2003): 15 slightly, 33 moderately, 59 quite, 109 extremely colourful.
    """
    red, green, blue = (rgb[..., channel].astype(np.int16) for channel in range(3))
    (mean, deviation), (mean_2, deviation_2) = map(_compute_moments, (red - green, red + green - 2 * blue))
    return float(np.hypot(deviation, deviation_2 / 2) + 0.3 * np.hypot(mean, mean_2 / 2))


def _compute_moments(differences: npt.NDArray[np.int16]) -> tuple[float, float]:
    """Mean and standard deviation of differences (height, width) of levels, -510 to 510, from how often each occurs."""
    counts, levels = np.bincount((differences + 510).ravel(), minlength=1021), np.arange(-510, 511)
    mean = (counts * levels).sum() / differences.size
    return mean, np.sqrt((counts * (levels - mean) ** 2).sum() / differences.size)


def compute_saturation(rgb: npt.NDArray[np.uint8]) -> float:
    """Return the mean saturation, (max - min) / max as in HSV, of a picture (height, width, 3); black has none."""
    red, green, blue = (rgb[..., channel] for channel in range(3))
    high, low = np.maximum(np.maximum(red, green), blue), np.minimum(np.minimum(red, green), blue)
    return float(np.mean((high - low) / np.maximum(high, np.uint8(1)), dtype=np.float64))


@dataclass(frozen=True, eq=False)
class FrequencyGrid:
    """What the spectra of all pictures of one size share: the coefficients of a real transform, (H, W // 2 + 1).

    `window` (H, W) is Hann's. `copies` (W // 2 + 1,) says how often a column stands in the whole spectrum. `rings` is
    the ring of each coefficient, flat: 0 beyond Nyquist, then inwards, and in the last what is too slow for the slope.
    `sizes` and `logarithms`, both (rings,), say how many coefficients a ring has and the mean of their log frequency.
    """

    window: Grey
    copies: Grey
    rings: npt.NDArray[np.intp]
    sizes: npt.NDArray[np.float64]
    logarithms: npt.NDArray[np.float64]


@lru_cache(maxsize=8)
def make_frequency_grid(height: int, width: int) -> FrequencyGrid:
    """Return the grid of pictures of one size."""
    rows, columns = (np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2 for side in (height, width))
    copies = np.where(np.isin(np.arange(width // 2 + 1), (0, width / 2)), 1, 2).astype(np.float32)
    frequencies = np.hypot(fft.fftfreq(height)[:, None], fft.rfftfreq(width)).ravel()
    frequencies[0] = 1e-9  # DC, which holds nothing
    count = max(int(RINGS_PER_OCTAVE * np.log2(NYQUIST * min(height, width) / SLOWEST)), RINGS_PER_OCTAVE)
    numbers = np.floor(RINGS_PER_OCTAVE * np.log2(NYQUIST / frequencies)).astype(np.intp) + 1
    rings, weights = np.clip(numbers, 0, count + 1), np.tile(copies, height)
    sizes = _sum_rings(rings, weights, count + 2)
    logarithms = _sum_rings(rings, weights * np.log(frequencies), count + 2) / np.maximum(sizes, 1)
    return FrequencyGrid(np.outer(rows, columns).astype(np.float32), copies, rings, sizes, logarithms)


def _sum_rings(rings: npt.NDArray[np.intp], values: npt.NDArray[Any], count: int) -> npt.NDArray[np.float64]:
    return np.asarray(np.bincount(rings, values, count), np.float64)


def compute_spectrum(grey: Grey) -> tuple[float | None, float | None]:
    """Return two figures of the power spectrum of a grey picture (height, width), under a Hann window and without DC.

    The first is the share of energy above half of Nyquist's frequency. The second is the slope of the radially averaged
    power over frequency, both in logarithms: about -2 for photographs (Field 1987), 0 for noise; None for a picture
    with a side below SMALLEST. Both are None for a picture of one grey.
    """
    if grey.min() == grey.max():
        return None, None
    grid = make_frequency_grid(*grey.shape)
    centred = grey - np.float32(np.average(grey, weights=grid.window))
    coefficients = fft.rfft2(centred * grid.window)
    powers = (coefficients.real**2 + coefficients.imag**2) * grid.copies
    energies = _sum_rings(grid.rings, powers.ravel(), len(grid.sizes))
    high = float(energies[: RINGS_PER_OCTAVE + 1].sum() / energies.sum())
    return high, _fit_slope(grid, energies) if min(grey.shape) >= SMALLEST else None


def _fit_slope(grid: FrequencyGrid, energies: npt.NDArray[np.float64]) -> float | None:
    """The slope by least squares over all rings but the first and the last; None where a ring holds no energy."""
    means = energies[1:-1] / grid.sizes[1:-1]
    return float(np.polyfit(grid.logarithms[1:-1], np.log(means), 1)[0]) if means.all() else None

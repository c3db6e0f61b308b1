# SPDX-License-Identifier: Apache-2.0
"""The noise level from which on a source may train: there noise covers the differences between its pictures and clean
ones.

The best linear denoiser of pictures with power P(f) keeps P/(P + v) of frequency f under noise of power v (Wiener).
Two sources are alike to a model from the noise on at which these shares differ by no more than a tolerance.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset.quality import LUMA

Array = NDArray[np.float64]
EncodePicture = Callable[[NDArray[np.uint8]], Array]
"""From a square picture (side, side, 3) to what a model adds noise of deviation 1 to: (channels, height, width)."""
MAX_RINGS, MIN_SIDE = 24, 32
"""How many frequencies are distinguished, up to half a cycle per pixel, and the least side of a picture in pixels."""
MIN_POWER = 1e-9
"""The least power of a picture of 8 bits that is not of one colour."""


@dataclass(frozen=True)
class Boundary:
    """The log-SNR below which two sources are alike, infinite where they are at every level; its 95 % interval over
    resampled pictures; and the frequency, in cycles per pixel, that decides."""

    log_snr: float
    interval: tuple[float, float]
    frequency: float


def encode_luminance(picture: NDArray[np.uint8]) -> Array:
    """The luminance (1, side, side) of a picture (side, side, 3) to a model of colours in -1..1 that adds noise of
    deviation 1 to every channel.
    """
    return np.asarray((picture / 127.5 - 1) @ LUMA / np.linalg.norm(LUMA))[None]


def compute_spectrum(encoded: Array) -> Array:
    """The power of a picture (channels, side, side) by frequency, (rings,), where noise of deviation 1 has power 1.

    A Hann window keeps the picture's edges, where it does not repeat itself, out of the high frequencies.
    """
    side = encoded.shape[-1]
    window, ring = _make_window(side), _number_rings(side)
    free = encoded - encoded.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(free * window, norm="ortho")) ** 2).mean(0)
    mean = np.bincount(ring.ravel(), power.ravel()) / np.bincount(ring.ravel())
    return np.maximum(mean[:-1], MIN_POWER)


def find_boundary(clean: Array, source: Array, tolerance: float = 0.1, resamples: int = 500, seed: int = 0) -> Boundary:
    """The level at which two sources become alike, from the spectra (pictures, rings) of each."""
    random = np.random.default_rng(seed)
    resampled = [
        _find_from_spectra(_resample(clean, random), _resample(source, random), tolerance)[0] for _ in range(resamples)
    ]
    low, high = np.quantile(resampled, (0.025, 0.975), method="nearest")
    log_snr, frequency = _find_from_spectra(clean, source, tolerance)
    return Boundary(log_snr, (float(low), float(high)), frequency)


def compute_covering_noise(clean: Array, source: Array, tolerance: float) -> Array:
    """The power of noise from which on the Wiener filters of two powers differ by no more than the tolerance.

    Any shape, elementwise: the larger v with v |P - Q| = tolerance (P + v)(Q + v), 0 where they never differ by more.
    """
    middle = (np.abs(clean - source) / tolerance - clean - source) / 2
    root = np.sqrt(np.maximum(middle**2 - clean * source, 0))
    return np.where((middle > 0) & (middle**2 >= clean * source), middle + root, 0.0)


def _find_from_spectra(clean: Array, source: Array, tolerance: float) -> tuple[float, float]:
    """The log-SNR of the boundary, and the frequency that decides it in cycles per pixel."""
    power = clean.mean(0)
    noise = compute_covering_noise(power, power * _compute_falloff(source) / _compute_falloff(clean), tolerance)
    ring = int(noise.argmax())
    return -math.log(noise[ring]) if noise[ring] > 0 else math.inf, (ring + 0.5) / (2 * len(noise))


def _compute_falloff(spectra: Array) -> Array:
    """How power falls from the coarsest ring on, (rings,), whatever the contrast: the geometric mean over pictures, so
    that a few of high contrast do not decide.
    """
    return np.asarray(np.exp(np.log(spectra / spectra[:, :1]).mean(0)))


def _resample(spectra: Array, random: np.random.Generator) -> Array:
    """As many spectra, drawn from these with replacement: a bootstrap sample."""
    return spectra[random.integers(len(spectra), size=len(spectra))]


@lru_cache(maxsize=4)
def _make_window(side: int) -> Array:
    """A Hann window (side, side) of mean power 1."""
    edge = np.hanning(side + 2)[1:-1]
    window = np.outer(edge, edge)
    return np.asarray(window / math.sqrt((window**2).mean()))


@lru_cache(maxsize=4)
def _number_rings(side: int) -> NDArray[np.int64]:
    """The ring of each frequency, (side, side); the mean and the corners, which are in none, have the last number."""
    if side < MIN_SIDE:
        raise BlendsetError(
            f"A side of {side} tells too few frequencies apart; choose a --resolution that gives {MIN_SIDE}."
        )
    rings = min(MAX_RINGS, side // 3)
    along = np.fft.fftfreq(side)
    radius = np.hypot(along[:, None], along[None, :])
    ring: NDArray[np.int64] = np.minimum((radius * 2 * rings).astype(np.int64), rings)
    ring[0, 0] = rings
    return ring

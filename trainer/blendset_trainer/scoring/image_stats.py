# SPDX-License-Identifier: Apache-2.0
"""Stage `image-stats`: a picture's light, sharpness and faults, from its pixels alone, without a model.

It has the columns of BlendFusion's four heuristics (arXiv 2604.09022, 1.3): subject pixels, mean, variance, dark share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from blendset.quality import CLIPPED, DARK, compute_statistics
from blendset_trainer.scoring.greys import Grey, compute_sharpness, to_grey
from blendset_trainer.stages.stage import GREY_LEVELS, SHARE, Column, Scorer, View

SPECK = 64
"""Grey levels by which a firefly outshines everything two pixels away from it."""


@dataclass(frozen=True)
class ImageStats(Scorer):
    """Computes statistics of a picture; those of the subject are None for a view without a subject or passes."""

    name = "image-stats"
    version = "2"
    parameters: ClassVar[Mapping[str, Any]] = {"dark": DARK, "clipped": CLIPPED, "speck": SPECK}
    reads = frozenset({"rgb", "ids", "record"})
    columns: ClassVar[Mapping[str, Column]] = {
        "mean": Column(pa.float64(), GREY_LEVELS),
        "variance": Column(pa.float64(), "grey levels squared"),
        "dark_fraction": Column(pa.float64(), SHARE),
        "clipped_fraction": Column(pa.float64(), SHARE),
        "subject_mean": Column(pa.float64(), GREY_LEVELS),
        "subject_deviation": Column(pa.float64(), GREY_LEVELS),
        "subject_contrast": Column(pa.float64(), GREY_LEVELS),
        "subject_pixels": Column(pa.int64(), "pixels"),
        "sharpness": Column(pa.float64(), "grey levels squared"),
        "fireflies": Column(pa.float64(), SHARE),
        "magenta": Column(pa.float64(), SHARE),
        "entropy": Column(pa.float64(), "bits, 0 to 8"),
    }

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        return [_compute_row(view) for view in views]


def _compute_row(view: View) -> dict[str, Any]:
    picture, mask = to_grey(view.rgb), view.subject_mask
    return asdict(compute_statistics(picture, mask)) | {
        "subject_pixels": None if mask is None else int(mask.sum()),
        "sharpness": compute_sharpness(picture),
        "fireflies": measure_fireflies(picture),
        "magenta": measure_magenta(view.rgb),
        "entropy": compute_entropy(picture),
    }


def measure_fireflies(picture: Grey) -> float:
    """Return the share of pixels in bright specks of at most 3 x 3 pixels, which path tracing leaves.

    A pixel counts where it is brighter, by SPECK, than the whole ring two pixels around it. Lines and edges cross
    that ring.
    """
    height, width = picture.shape
    padded = np.pad(picture, 2, mode="reflect")
    across, down = _max_of_five(padded, 1), _max_of_five(padded, 0)
    ring = np.maximum.reduce((across[:height], across[4:], down[:, :width], down[:, 4:]))
    return float(np.mean(picture - ring > SPECK))


def _max_of_five(picture: Grey, axis: int) -> Grey:
    """Return the maximum of each five neighbours along an axis, which becomes four shorter."""
    lines = np.moveaxis(picture, axis, 0)
    pairs = np.maximum(lines[:-1], lines[1:])
    fives = np.maximum(np.maximum(pairs[:-3], pairs[2:-1]), lines[4:])
    return np.moveaxis(fives, 0, axis)


def measure_magenta(rgb: npt.NDArray[np.uint8]) -> float:
    """Return the share of pixels (height, width, 3) in the magenta of a missing texture, in any light."""
    red, green, blue = (rgb[..., channel].astype(np.int16) for channel in range(3))
    high, low = np.maximum(red, blue), np.minimum(red, blue)
    return float(np.mean((high >= 48) & (10 * low >= 7 * high) & (10 * green <= 4 * high)))


def compute_entropy(picture: Grey) -> float:
    """Return the Shannon entropy of a picture's grey levels in bits: 0 for one level, 8 for all 256 equally often."""
    counts = np.bincount(np.rint(picture).astype(np.uint8).ravel(), minlength=256)
    shares = counts[counts > 0] / picture.size
    return float(-(shares * np.log2(shares)).sum()) + 0.0

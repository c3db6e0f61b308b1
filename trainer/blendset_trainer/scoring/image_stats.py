# SPDX-License-Identifier: Apache-2.0
"""Stage `image-stats`: what pixels alone say of a picture's light, sharpness and faults, without a model.

Holds the figures of BlendFusion's four heuristics (arXiv 2604.09022, 1.3): subject pixels, mean, variance, dark share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy import ndimage

from blendset.imaging import CLIPPED, DARK, measure
from blendset_trainer.scoring.greys import Greys, by_size, grey, sharpness
from blendset_trainer.stages import Figure, View

SPECK = 64
"""Grey levels by which a firefly outshines everything two pixels away from it."""
RGBS = npt.NDArray[np.uint8]
"""(views, height, width, 3)"""

_GREY, _SHARE = "grey levels, 0 to 255", "share, 0 to 1"


@dataclass(frozen=True)
class ImageStats:
    """Figures about the subject are None for views of the whole scene and for pictures without passes."""

    name: ClassVar[str] = "image-stats"
    version: ClassVar[str] = "1"
    parameters: ClassVar[Mapping[str, Any]] = {"dark": DARK, "clipped": CLIPPED, "speck": SPECK}
    revision: ClassVar[str] = ""
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})
    whole_sets: ClassVar[bool] = False
    figures: ClassVar[Mapping[str, Figure]] = {
        "mean": Figure(pa.float64(), _GREY),
        "variance": Figure(pa.float64(), "grey levels squared"),
        "dark_fraction": Figure(pa.float64(), _SHARE),
        "clipped_fraction": Figure(pa.float64(), _SHARE),
        "subject_mean": Figure(pa.float64(), _GREY),
        "subject_deviation": Figure(pa.float64(), _GREY),
        "subject_contrast": Figure(pa.float64(), _GREY),
        "subject_pixels": Figure(pa.int64(), "pixels"),
        "sharpness": Figure(pa.float64(), "grey levels squared"),
        "fireflies": Figure(pa.float64(), _SHARE),
        "magenta": Figure(pa.float64(), _SHARE),
        "entropy": Figure(pa.float64(), "bits, 0 to 8"),
    }

    def setup(self) -> None:
        """There is no model."""

    def rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        return by_size(views, _rows)


def _rows(views: list[View]) -> list[dict[str, Any]]:
    rgbs = np.stack([view.rgb for view in views])
    greys = grey(rgbs)
    columns: dict[str, Any] = {
        "sharpness": sharpness(greys),
        "fireflies": fireflies(greys),
        "magenta": magenta(rgbs),
        "entropy": [entropy(each) for each in greys],
    }
    return [
        _about(view, greys[place]) | {name: float(column[place]) for name, column in columns.items()}
        for place, view in enumerate(views)
    ]


def _about(view: View, picture: npt.NDArray[np.float32]) -> dict[str, Any]:
    """The core's statistics, with those of the subject's own pixels where there are any."""
    mask = subject_mask(view)
    return asdict(measure(picture, mask)) | {"subject_pixels": None if mask is None else int(mask.sum())}


def subject_mask(view: View) -> npt.NDArray[np.bool_] | None:
    """The subject's own pixels (height, width); None without a subject or without passes."""
    if not view.record.subject or not view.has_passes:
        return None
    return np.isin(view.passes.id, view.record.subject_objects)


def fireflies(greys: Greys) -> npt.NDArray[np.float64]:
    """The share of pixels (views) in bright specks of at most 3 x 3 pixels, as path tracing leaves them.

    A pixel counts that outshines the whole ring two pixels around it; lines and edges cross that ring.
    """
    height, width = greys.shape[1:]
    padded = np.pad(greys, ((0, 0), (2, 2), (2, 2)), mode="reflect")
    across, down = (ndimage.maximum_filter1d(padded, 5, axis) for axis in (2, 1))
    rows, columns = slice(2, 2 + height), slice(2, 2 + width)
    sides = (
        across[:, :height, columns],
        across[:, 4:, columns],
        down[:, rows, :width],
        down[:, rows, 4:],
    )
    ring = np.maximum(np.maximum(sides[0], sides[1]), np.maximum(sides[2], sides[3]))
    return np.asarray(np.mean(greys - ring > SPECK, axis=(1, 2)))


def magenta(rgbs: RGBS) -> npt.NDArray[np.float64]:
    """The share of pixels (views) in the colour that stands for a missing texture, however it is lit."""
    red, green, blue = (rgbs[..., channel].astype(np.int16) for channel in range(3))
    high, low = np.maximum(red, blue), np.minimum(red, blue)
    return np.asarray(np.mean((high >= 48) & (low >= 0.7 * high) & (green <= 0.4 * high), axis=(1, 2)))


def entropy(picture: npt.NDArray[np.float32]) -> float:
    """Shannon's entropy of a picture's grey levels, in bits: 0 for one level, 8 for all 256 alike."""
    counts = np.bincount(np.rint(picture).astype(np.uint8).ravel(), minlength=256)
    shares = counts[counts > 0] / picture.size
    return float(-(shares * np.log2(shares)).sum()) + 0.0

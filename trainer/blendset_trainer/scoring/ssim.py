# SPDX-License-Identifier: Apache-2.0
"""Stage `ssim-roundtrip`: how much of a picture is left at the resolution of a vision model.

SynthVLM (arXiv 2407.20756) scores pictures by it; FLARE (arXiv 2504.09925, equation 11) gives the formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from blendset_trainer.scoring.greys import compute_sharpness, to_grey
from blendset_trainer.stages.stage import Column, Scorer, View

SIDE = 336
"""The input of SynthVLM's vision encoder, CLIP ViT-L/14 at 336 pixels."""
WINDOW = 7
SHARPNESS_FLOOR = 10.0
"""A picture that is less sharp has no detail to lose: blur, and flat grey most of all, have an SSIM near 1.

Measured on 80 renders of four scenes at 256 pixels: as rendered 13 and more, blurred by two pixels 1 to 4 (medians).
"""


@dataclass(frozen=True)
class SsimRoundtrip(Scorer):
    """Computes `ssim` as published, and `ssim_of_sharp`, which is None where a picture is too blurred to judge by it.

    Values can be compared among pictures of one resolution only, and mean something above 336 pixels only.
    """

    name = "ssim-roundtrip"
    version = "2"
    parameters: ClassVar[Mapping[str, Any]] = {"side": SIDE, "sharpness_floor": SHARPNESS_FLOOR}
    columns: ClassVar[Mapping[str, Column]] = {
        "ssim": Column(pa.float64(), "similarity, -1 to 1"),
        "ssim_of_sharp": Column(pa.float64(), "similarity, -1 to 1"),
        "sharpness": Column(pa.float64(), "grey levels squared"),
    }

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        return [_compute_row(view) for view in views]


def _compute_row(view: View) -> dict[str, Any]:
    score, sharp = compute_ssim_roundtrip(view.rgb), compute_sharpness(to_grey(view.rgb))
    return {"ssim": score, "ssim_of_sharp": score if sharp >= SHARPNESS_FLOOR else None, "sharpness": sharp}


def compute_ssim_roundtrip(rgb: npt.NDArray[np.uint8], side: int = SIDE) -> float:
    """Return the SSIM of a grey picture with itself after bicubic resizing to `side` x `side` pixels and back.

    `rgb` is (height, width, 3). The paper does not say window, channels and interpolation; these give its mean.
    """
    picture = Image.fromarray(rgb).convert("L")
    small = picture.resize((side, side), Image.Resampling.BICUBIC)
    back = small.resize(picture.size, Image.Resampling.BICUBIC)
    return ssim(np.asarray(picture), np.asarray(back))


def ssim(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """Return the mean structural similarity of two pictures (height, width) over all windows of 7 x 7 pixels."""
    return float(np.mean(ssim_map(one, other)))


def ssim_map(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the structural similarity of each window of 7 x 7 pixels; of shape (height - 6, width - 6).

    Wang et al. 2004, equation 13, with sample covariances: scikit-image's values, in a third of its time. The
    sums are of integers, and so exact in any order.
    """
    x, y = one.astype(np.int32), other.astype(np.int32)
    pixels = WINDOW**2
    sum_x, sum_y, squares, products = map(_sum_windows, (x, y, x * x + y * y, x * y))
    crossed, apart = sum_x * sum_y, sum_x**2 + sum_y**2
    means, spread = (0.01 * 255 * pixels) ** 2, (0.03 * 255) ** 2 * pixels * (pixels - 1)
    alike = (2 * crossed + means) * (2 * (pixels * products - crossed) + spread)
    return np.asarray(alike / ((apart + means) * (pixels * squares - apart + spread)))


def find_windows_within(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which windows of `ssim_map`, (height - 6, width - 6), lie wholly within a mask (height, width)."""
    return np.asarray(_sum_windows(mask.astype(np.int32)) == WINDOW**2)


def _sum_windows(plane: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """Return the sum over each window: over WINDOW rows first, then over WINDOW columns."""
    for _ in range(2):
        plane = sum(
            (plane[start : len(plane) - WINDOW + 1 + start] for start in range(1, WINDOW)), plane[: 1 - WINDOW]
        ).T
    return plane

# SPDX-License-Identifier: Apache-2.0
"""Stage `ssim-roundtrip`: how much of a picture survives the resolution that a vision model sees it at.

SynthVLM (arXiv 2407.20756) scores pictures so; FLARE (arXiv 2504.09925, equation 11) gives the formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image

from blendset_trainer.scoring.greys import compute_sharpness, to_grey
from blendset_trainer.stages.stage import Column, View

SIDE = 336
"""The input of SynthVLM's vision encoder, CLIP ViT-L/14 at 336 pixels."""
WINDOW = 7
SHARPNESS_FLOOR = 10.0
"""Below it a picture survives because it has no detail to lose: blur, and flat grey most of all, score near 1.

Measured on 80 renders of four scenes at 256 pixels: as rendered 13 and more, blurred by two pixels 1 to 4 (medians).
"""


@dataclass(frozen=True)
class SsimRoundtrip:
    """`ssim` as published; `ssim_of_sharp` is the same, and None where a picture is not sharp enough for it to mean
    anything. Comparable among pictures of one resolution only, and telling only above 336 pixels.
    """

    name: ClassVar[str] = "ssim-roundtrip"
    version: ClassVar[str] = "2"
    parameters: ClassVar[Mapping[str, Any]] = {"side": SIDE, "sharpness_floor": SHARPNESS_FLOOR}
    revision: ClassVar[str] = ""
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb"})
    whole_sets: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, Column]] = {
        "ssim": Column(pa.float64(), "similarity, -1 to 1"),
        "ssim_of_sharp": Column(pa.float64(), "similarity, -1 to 1"),
        "sharpness": Column(pa.float64(), "grey levels squared"),
    }

    def setup(self) -> None:
        """There is no model."""

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        return [_row(view) for view in views]


def _row(view: View) -> dict[str, Any]:
    score, sharp = ssim_roundtrip(view.rgb), compute_sharpness(to_grey(view.rgb))
    return {"ssim": score, "ssim_of_sharp": score if sharp >= SHARPNESS_FLOOR else None, "sharpness": sharp}


def ssim_roundtrip(rgb: npt.NDArray[np.uint8], side: int = SIDE) -> float:
    """SSIM of a picture's grey and of the same after `side` x `side` pixels and back, bicubic both ways.

    The paper leaves window, channels and interpolation open; these meet its published mean.
    """
    picture = Image.fromarray(rgb).convert("L")
    small = picture.resize((side, side), Image.Resampling.BICUBIC)
    back = small.resize(picture.size, Image.Resampling.BICUBIC)
    return ssim(np.asarray(picture), np.asarray(back))


def ssim(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    """The mean structural similarity of two pictures (height, width) over every whole window of 7 x 7 pixels."""
    return float(np.mean(ssim_map(one, other)))


def ssim_map(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """The structural similarity (height - 6, width - 6) of each whole window of 7 x 7 pixels.

    Wang et al. 2004, equation 13, with sample covariances: scikit-image's figure, at a third of its time. The sums
    are of whole numbers, and so exact in any order.
    """
    x, y = one.astype(np.int32), other.astype(np.int32)
    pixels = WINDOW**2
    sum_x, sum_y, squares, products = map(_window_sums, (x, y, x * x + y * y, x * y))
    crossed, apart = sum_x * sum_y, sum_x**2 + sum_y**2
    means, spread = (0.01 * 255 * pixels) ** 2, (0.03 * 255) ** 2 * pixels * (pixels - 1)
    alike = (2 * crossed + means) * (2 * (pixels * products - crossed) + spread)
    return np.asarray(alike / ((apart + means) * (pixels * squares - apart + spread)))


def find_windows_within(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Which windows of `ssim_map` lie wholly within a mask (height, width)."""
    return np.asarray(_window_sums(mask.astype(np.int32)) == WINDOW**2)


def _window_sums(plane: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """The sum over each window: of WINDOW rows first, then of WINDOW columns of those."""
    for _ in range(2):
        plane = sum(
            (plane[start : len(plane) - WINDOW + 1 + start] for start in range(1, WINDOW)), plane[: 1 - WINDOW]
        ).T
    return plane

# SPDX-License-Identifier: Apache-2.0
"""Stage `phash`: a perceptual hash of 64 bits, by which selections find pictures that look the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from PIL import Image
from scipy.fft import dctn

from blendset_trainer.stages.stage import Column, Scorer, View

SIDE, KEPT = 32, 8
"""Pixels of the shrunk picture, and frequencies that are kept, in each direction."""


@dataclass(frozen=True)
class Phash(Scorer):
    """Computes a hash of 16 hexadecimal digits; pictures whose hashes differ in few bits look alike."""

    name = "phash"
    parameters: ClassVar[Mapping[str, Any]] = {"side": SIDE, "kept": KEPT}
    columns: ClassVar[Mapping[str, Column]] = {"hash": Column(pa.string())}

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        return [{"hash": f"{compute_perceptual_hash(view.rgb):016x}"} for view in views]


def compute_perceptual_hash(rgb: npt.NDArray[np.uint8]) -> int:
    """Return 64 bits: which of the 8 x 8 lowest frequencies of a picture (height, width, 3) are above their median.

    The picture is shrunk to 32 x 32 grey pixels first. This is the DCT hash of Zauner, "Implementation and benchmarking
    of perceptual image hash functions" (2010), 3.2.1; as there, the frequencies begin after the constant ones.
    """
    small = Image.fromarray(rgb).convert("L").resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    low = dctn(np.asarray(small, np.float64), norm="ortho")[1 : KEPT + 1, 1 : KEPT + 1]
    bits = np.round(low, 6) > np.round(np.median(low), 6)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")

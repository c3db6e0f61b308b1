# SPDX-License-Identifier: Apache-2.0
"""Grey pictures, and how sharp they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from blendset.quality import LUMA

Grey = npt.NDArray[np.float32]
"""A grey picture (height, width), 0 to 255."""


def to_grey(rgb: npt.NDArray[np.uint8]) -> Grey:
    """Return the luma (height, width) of a picture (height, width, 3)."""
    red, green, blue = LUMA.astype(np.float32)  # not a matrix product: its rounding depends on the number of threads
    return np.asarray(red * rgb[..., 0] + green * rgb[..., 1] + blue * rgb[..., 2])


def compute_sharpness(picture: Grey) -> float:
    """Return the variance of a picture's Laplacian, in grey levels squared: near 0 for a blurred picture.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000); the kernel of four neighbours.
    """
    around = np.pad(picture, 1, mode="edge")
    sides = around[:-2, 1:-1] + around[2:, 1:-1] + around[1:-1, :-2] + around[1:-1, 2:]
    return float(np.var(sides - 4 * picture, dtype=np.float64))

# SPDX-License-Identifier: Apache-2.0
"""Views as batches of grey pictures of one size, and how sharp these are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from blendset.imaging import LUMA
from blendset_trainer.stages import View

Greys = npt.NDArray[np.float32]
"""(views, height, width), 0 to 255."""
Row = dict[str, Any]


def grey(rgb: npt.NDArray[np.uint8]) -> Greys:
    """The luma of pictures (..., height, width, 3)."""
    red, green, blue = LUMA.astype(np.float32)  # not a matrix product: its rounding hangs on the number of threads
    return np.asarray(red * rgb[..., 0] + green * rgb[..., 1] + blue * rgb[..., 2])


def by_size(views: Sequence[View], rows: Callable[[list[View]], list[Row]]) -> list[Row]:
    """The rows of views in their order, made from groups whose pictures have one size."""
    sizes = [view.rgb.shape for view in views]
    made: dict[int, Row] = {}
    for size in dict.fromkeys(sizes):
        places = [place for place, each in enumerate(sizes) if each == size]
        made |= zip(places, rows([views[place] for place in places]), strict=True)
    return [made[place] for place in range(len(views))]


def sharpness(greys: Greys) -> npt.NDArray[np.float64]:
    """The variance of each picture's Laplacian (views), in grey levels squared: near 0 where all is blurred.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy" (2000); the kernel of four neighbours.
    """
    across, down = (ndimage.correlate1d(greys, (1, -2, 1), axis, mode="nearest") for axis in (2, 1))
    laplacian = across + down
    return np.asarray(np.var(laplacian, axis=(1, 2), dtype=np.float64))

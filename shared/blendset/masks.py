# SPDX-License-Identifier: Apache-2.0
"""Masks of pictures."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
"""(H, W)."""


def find_bounding_slices(mask: Mask) -> tuple[slice, slice]:
    """Return the slices of rows and of columns that bound the true pixels of a mask (H, W), which has at least one."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)

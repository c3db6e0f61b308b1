# SPDX-License-Identifier: Apache-2.0
"""Scenes far from the origin, where single precision, in which Blender and Cycles compute, is too coarse for them."""

from __future__ import annotations

import numpy as np

from blendset.cameras import Array

COARSE = 1e-5
"""Numbers at a place are too coarse for a scene where the step between two of them is so large a share of its size."""


def find_local_origin(extent: Array) -> Array:
    """Where the origin of a scene with this box (2, 3) should be, (3,) in its units: 0 on each axis along which numbers
    are fine enough as they are.

    Single precision holds it exactly, and in a scene of one unit or more it is whole.
    """
    size = float(np.linalg.norm(extent[1] - extent[0]))
    if not 0 < size < np.inf:
        return np.zeros(3)
    middle = extent.mean(axis=0)
    grid = 2.0 ** np.floor(np.log2(size))
    is_coarse = find_number_step(middle) > COARSE * size
    return np.where(is_coarse, np.float32(np.rint(middle / grid) * grid), 0.0).astype(np.float64)


def find_number_step(values: Array) -> Array:
    """The distance from each value (N,) to the next number that single precision has."""
    return np.spacing(np.abs(values).astype(np.float32)).astype(np.float64)

# SPDX-License-Identifier: Apache-2.0
"""A view as planes of numbers: which object each pixel shows, its colour, its place in the world and where it faces."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, Camera
from blendset.exr import Passes
from blendset.records import ViewRecord
from blendset_trainer.captioning.seeing.colours import Lab, fair_lab

Mask = NDArray[np.bool_]

LEVEL, UPRIGHT = 0.7, 0.4
"""How much of a normal points up (or down) on a floor (a ceiling), and how little on a wall."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A view as planes of numbers, all (height, width, ...): ids, CIELAB colours, world positions and normals."""

    camera: Camera
    ids: NDArray[np.uint32]
    lab: Lab
    positions: Array
    normals: Array

    @cached_property
    def reach(self) -> float:
        """How far what is in sight extends, in world units."""
        seen = self.positions[self.ids > 0]
        return float(np.linalg.norm(np.ptp(np.percentile(seen, (5, 95), axis=0), axis=0))) if len(seen) else 0.0

    @cached_property
    def depths(self) -> Array:
        """(height, width): how far each pixel lies along the camera's axis."""
        return np.asarray((self.camera.position - self.positions) @ self.camera.rotation[:, 2])


def picture_of(view: ViewRecord, rgb: NDArray[np.uint8], passes: Passes) -> Picture:
    """`rgb` is (height, width, 3), of the same size as the passes."""
    camera = Camera.from_record(view.camera)
    positions = camera.unproject(np.where(np.isfinite(passes.depth), passes.depth, 0.0))
    towards = np.sign(((camera.position - positions) * passes.normal).sum(axis=2))[..., None]
    return Picture(camera, passes.id, fair_lab(rgb), positions, passes.normal * towards)


def bounding(mask: Mask) -> tuple[slice, slice]:
    """The rows and the columns that hold all of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

# SPDX-License-Identifier: Apache-2.0
"""A view's G-buffer: for each pixel its object, its colour, its position in the world and its normal."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, Camera
from blendset.exr import Passes
from blendset.records import ViewRecord
from blendset_trainer.captioning.seeing.colours import Lab, to_balanced_lab

"""Which pixels (H, W) belong to something."""

MIN_LEVEL_Z, MAX_UPRIGHT_Z = 0.7, 0.4
"""The least Z of a floor's unit normal (negated: of a ceiling's), and the greatest magnitude of Z of a wall's."""


@dataclass(frozen=True, eq=False)
class GBuffer:
    """Ids (H, W), CIELAB colours, world positions and unit normals that face the camera (all H, W, 3) of a view."""

    camera: Camera
    ids: NDArray[np.uint32]
    lab: Lab
    positions: Array
    normals: Array

    @cached_property
    def extent(self) -> float:
        """The diagonal, in world units, of what is in sight, without the outer 5 % at each side."""
        covered = self.positions[self.ids > 0]
        return float(np.linalg.norm(np.ptp(np.percentile(covered, (5, 95), axis=0), axis=0))) if len(covered) else 0.0

    @cached_property
    def depths(self) -> Array:
        """The distance (H, W) of each pixel along the camera's axis, in world units."""
        return np.asarray((self.camera.position - self.positions) @ self.camera.rotation[:, 2])


def build_gbuffer(view: ViewRecord, rgb: NDArray[np.uint8], passes: Passes) -> GBuffer:
    """Combine a view's picture and passes. `rgb` (H, W, 3) is 8-bit sRGB of the same size as the passes."""
    camera = Camera.from_record(view.camera)
    positions = camera.unproject(np.where(np.isfinite(passes.depth), passes.depth, 0.0))
    facing = np.sign(((camera.position - positions) * passes.normal).sum(axis=2))[..., None]
    return GBuffer(camera, passes.id, to_balanced_lab(rgb), positions, passes.normal * facing)

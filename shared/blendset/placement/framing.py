# SPDX-License-Identifier: Apache-2.0
"""How a subject stands in a picture, as the index pass shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Camera
from blendset.placement.scene import Geometry
from blendset.placement.subjects import Subject


@dataclass(frozen=True)
class Framing:
    """How a subject stands in a picture: the share it covers, the part in sight, the part outside the frame."""

    subject_share: float
    visible_fraction: float
    truncation: float


SAMPLES_ACROSS = 72
"""Rays across the subject in its longer direction."""


def measure_framing(camera: Camera, subject: Subject, alone: Geometry, ids: NDArray[Any]) -> Framing:
    """Compare an id image (H, W) with the subject's full extent, which rays at the subject `alone` find.

    Both are sampled at the same pixel centres, also beyond the frame's edge, so the shares are of the very same points.
    """
    is_subject = np.isin(ids, list(subject.objects))
    pixels, depth = camera.project(subject.hull)
    size = np.array([camera.width, camera.height])
    if (depth <= 0).any():  # it runs past the camera: look as far around as the samples can
        pixels = np.concatenate([pixels[depth > 0], [-size, 2 * size]])
    low = np.floor(np.clip(pixels.min(axis=0), -size, 2 * size)).astype(int)
    high = np.ceil(np.clip(pixels.max(axis=0), -size, 2 * size)).astype(int)
    stride = max(1, int((high - low).max()) // SAMPLES_ACROSS)
    columns, rows = (np.arange(low[k], high[k] + 1, stride) for k in range(2))
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    rays = camera.make_rays(grid + 0.5)
    _, hit = alone.cast(np.broadcast_to(camera.position, rays.shape), rays)
    extent = grid[hit >= 0]
    if not len(extent):
        return Framing(float(is_subject.mean()), 0.0, 1.0)
    inside = ((extent >= 0) & (extent < size)).all(axis=1)
    visible = is_subject[extent[inside, 1], extent[inside, 0]]
    return Framing(
        subject_share=float(is_subject.mean()),
        visible_fraction=float(visible.mean()) if len(visible) else 0.0,
        truncation=float(1 - inside.mean()),
    )

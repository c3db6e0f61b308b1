# SPDX-License-Identifier: GPL-3.0-or-later
"""From where the sun shows the form of a scene best."""

from __future__ import annotations

import numpy as np

from blendset.cameras import Array, direction_from_angles
from blendset.placement.scene import Snapshot

SUN_ELEVATION_DEG = 42.0
AZIMUTH_STEP_DEG, USUAL_AZIMUTH_DEG = 15.0, -60.0
"""The azimuths to try; among equals the usual one, or the next after it, is taken."""
FACES = 1024
"""Faces that stand for all, drawn evenly by area."""


def choose_sun_direction(scene: Snapshot) -> Array:
    """Return the direction (3,) towards a sun under which the faces of a scene differ most in brightness.

    With the sun before one wall of a house the other three are in the shade alike, and at a corner two walls are lit
    alike: what counts is how far two faces, drawn by area, differ on average.
    """
    turns = np.arange(0, 360, AZIMUTH_STEP_DEG) + USUAL_AZIMUTH_DEG
    directions = np.array([direction_from_angles(turn, SUN_ELEVATION_DEG) for turn in turns])
    shades = np.sort(np.maximum(sample_normals(scene) @ directions.T, 0), axis=0)
    ranks = np.linspace(-1, 1, len(shades))
    differences = (ranks[:, None] * shades).sum(axis=0) / FACES  # in proportion to the mean difference of two faces
    return np.asarray(directions[np.argmax(np.round(differences, 3))])


def sample_normals(scene: Snapshot) -> Array:
    """Return the normals (FACES, 3) of faces drawn evenly by area; none (0, 3) where nothing has a surface."""
    total = np.cumsum(scene.areas)
    if not len(total) or total[-1] <= 0:
        return np.zeros((0, 3))
    chosen = np.searchsorted(total, (np.arange(FACES) + 0.5) / FACES * total[-1])
    return np.asarray(scene.normals[np.minimum(chosen, len(total) - 1)])

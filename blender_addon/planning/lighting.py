# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a scene needs light added, and which."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from blendset.placement.reasons import Reason
from blendset.placement.scene import has_roof, is_covered

from ..scene.lights import WorldLight, compute_lamp_light, read_world
from ..scene.snapshot import OpenScene
from .previews import Previewer, Shot

TOO_DARK, TOO_FLAT = {Reason.DARK, Reason.DARK_SUBJECT}, {Reason.FLAT, Reason.FLAT_SUBJECT}
DARK_SHARE, UNLIT_SHARE = 0.25, 0.5
"""Light is added where more than this share of the subjects that cameras can see is too dark at any exposure, or where
more than the second share is too dark or too flat: some plain things are flat in any light."""
PROBES = 24
LAMP_SHARE = 0.1
"""Lamps that give less than this share of what a plain world gives leave no shadow that can be seen."""


def choose_lighting(
    scene: bpy.types.Scene, opened: OpenScene, setting: str, previewer: Previewer, shots: Sequence[Shot]
) -> str:
    """The light to add, or "scene" for none. "auto" adds some where the scene has none, or where too few of these
    shots can be exposed by it."""
    if setting != "auto":
        return setting
    probes = shots[:: max(1, -(-len(shots) // PROBES))]
    roofed = is_roofed(opened, probes)
    if has_light(scene, opened, roofed) and is_well_lit(previewer, probes):
        return "scene"
    return "interior" if roofed else "sky"


def is_well_lit(previewer: Previewer, shots: Sequence[Shot]) -> bool:
    """Whether few enough of these views are too dark or too flat; previews end with the one that decides it."""
    dark = unlit = 0
    for shot in shots:
        faults = set(previewer.preview(*shot).faults)
        dark += bool(TOO_DARK & faults)
        unlit += bool((TOO_DARK | TOO_FLAT) & faults)
        if dark > DARK_SHARE * len(shots) or unlit > UNLIT_SHARE * len(shots):
            return False
    return True


def is_roofed(opened: OpenScene, shots: Sequence[Shot]) -> bool:
    """Whether most of what is above the cameras is no open sky; without cameras, above the middle of the scene."""
    if not shots:
        return has_roof(opened.snapshot, opened.geometry)
    return is_covered(opened.geometry, np.array([camera.position for _, camera, _ in shots]))


def is_dark(scene: bpy.types.Scene, opened: OpenScene) -> bool:
    """Whether nothing in the scene gives any light, so that every picture would be black."""
    return not (opened.lamps or opened.emissive or read_world(scene.world).radiance)


def has_light(scene: bpy.types.Scene, opened: OpenScene, roofed: bool) -> bool:
    """Whether the scene has light that could show the form of things.

    A world of one colour, however bright, has none: light from everywhere is light without shadows. Only under a roof
    does it come from somewhere.
    """
    world = read_world(scene.world)
    if opened.emissive or world.directional or _outshine(opened, world):
        return True
    return roofed and world.radiance > 0


def _outshine(opened: OpenScene, world: WorldLight) -> bool:
    """Whether lamps give a visible share of the light in at least half of the scene."""
    if not opened.lamps:
        return False
    low, high = opened.snapshot.extent
    steps = np.array([0.1, 0.5, 0.9])
    points = low + np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3) * (high - low)
    return bool(np.median(compute_lamp_light(opened.lamps, points)) >= LAMP_SHARE * np.pi * world.radiance)

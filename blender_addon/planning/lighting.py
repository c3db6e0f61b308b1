# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a scene needs light added, and which."""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

from blendset.placement.reasons import Reason
from blendset.placement.scene import has_roof

from ..scene.snapshot import OpenScene
from .previews import Previewer, Shot

LIT_SHARE = 0.75
"""Light is added where a smaller share of the subjects that cameras can see can be exposed."""
PROBES = 24
TOO_DARK = {Reason.DARK, Reason.DARK_SUBJECT}


def choose_lighting(
    scene: bpy.types.Scene, opened: OpenScene, setting: str, previewer: Previewer, shots: Sequence[Shot]
) -> str:
    """The light to add, or "scene" for none. "auto" adds some where the scene has none, or where too few of these
    shots can be exposed by it."""
    if setting != "auto":
        return setting
    if has_light(scene, opened) and compute_lit_share(previewer, shots) >= LIT_SHARE:
        return "scene"
    return choose_kind(opened)


def compute_lit_share(previewer: Previewer, shots: Sequence[Shot]) -> float:
    """Share of these views that can be exposed, of at most PROBES of them; 1 where there is none to ask."""
    probes = shots[:: max(1, -(-len(shots) // PROBES))]
    lit = [not TOO_DARK & set(previewer.preview(*shot).faults) for shot in probes]
    return float(np.mean(lit)) if lit else 1.0


def has_light(scene: bpy.types.Scene, opened: OpenScene) -> bool:
    """Whether anything in the scene could light it at all."""
    lamps = any(thing.type == "LIGHT" and not thing.hide_render for thing in scene.objects)
    return lamps or opened.emissive or _is_world_emissive(scene.world)


def _is_world_emissive(world: bpy.types.World | None) -> bool:
    if world is None:
        return False
    if not world.node_tree:
        return world.color.v > 0
    for node in world.node_tree.nodes:
        if node.type == "BACKGROUND":
            colour, strength = node.inputs["Color"], node.inputs["Strength"]
            lit = colour.is_linked or sum(colour.default_value[:3]) > 0
            if lit and (strength.is_linked or strength.default_value > 0):
                return True
    return False


def choose_kind(opened: OpenScene) -> str:
    """ "sky" for a scene that is open above, "interior" for one that is closed."""
    return "interior" if has_roof(opened.snapshot, opened.geometry) else "sky"

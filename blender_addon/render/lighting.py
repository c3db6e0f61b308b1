# SPDX-License-Identifier: GPL-3.0-or-later
"""Light for scenes that have none where it is needed. Added once, before the session's first kept picture, and named
in every record.

Strengths only have to be even: exposure decides how bright a picture is.
"""

from __future__ import annotations

from typing import Literal

import bpy
import numpy as np
from mathutils import Vector

from ..compat import enable_nodes
from ..scene.overrides import Overrides
from ..scene.snapshot import OpenScene
from .sunlight import choose_sun_direction

SKY = ((0.0, (0.11, 0.10, 0.09)), (0.42, (0.12, 0.11, 0.10)), (0.58, (0.50, 0.54, 0.58)), (1.0, (0.18, 0.29, 0.52)))
"""Radiance of the sky from straight below (0) over the horizon to straight above (1). Beside a sun of 3 a surface in
the shade has about a quarter of the light of one in the sun; and what stands alone has a darker ground behind it."""


def add_light(scene: bpy.types.Scene, opened: OpenScene, kind: str, overrides: Overrides) -> None:
    """Add "sky", "interior" or "studio" light until the overrides end; the scene's own light stays."""
    builders = {"sky": _add_sky, "interior": _add_interior, "studio": _add_studio}
    builders[kind](scene, opened, overrides)


def _add_sky(scene: bpy.types.Scene, opened: OpenScene, overrides: Overrides) -> None:
    """A sky, and a sun from the side that shows the form of things best."""
    _add_gradient(_replace_world(scene, (1.0, 1.0, 1.0), 1.0, overrides))
    sun = _add_lamp(scene, "SUN", overrides)
    sun.data.energy, sun.data.angle = 3.0, 0.1
    direction = choose_sun_direction(opened.snapshot)
    sun.rotation_euler = Vector(direction.tolist()).to_track_quat("Z", "Y").to_euler()


def _add_studio(scene: bpy.types.Scene, opened: OpenScene, overrides: Overrides) -> None:
    """Key, fill and rim around the whole scene before a grey world."""
    _replace_world(scene, (1.0, 1.0, 1.0), 0.35, overrides)
    low, high = opened.snapshot.extent
    centre, reach = (low + high) / 2, opened.snapshot.diagonal
    for turn, height, strength in ((-0.8, 0.7, 1.0), (1.0, 0.4, 0.4), (2.8, 0.8, 0.6)):
        position = centre + reach * np.array([np.sin(turn), -np.cos(turn), height])
        _add_area_lamp(scene, position, centre, reach * 0.7, strength * 25 * reach**2, overrides)


def _add_interior(scene: bpy.types.Scene, opened: OpenScene, overrides: Overrides) -> None:
    """Panels under the ceiling, some two room heights apart, where there is free space below them.

    Small and few: light from everywhere is light without shadows, and flat pictures fail their preview.
    """
    low, high = opened.snapshot.extent
    height = max(float(high[2] - low[2]), 1e-6)
    counts = [int(np.clip(round(float(span) / (2.5 * height)), 1, 6)) for span in (high - low)[:2]]
    for x in (np.arange(counts[0]) + 0.5) / counts[0]:
        for y in (np.arange(counts[1]) + 0.5) / counts[1]:
            middle = low + np.array([x, y, 0.6]) * (high - low)
            reach, _ = opened.geometry.cast(middle[None], np.array([[0.0, 0.0, 1.0]]))
            rise = 0.9 * min(float(reach[0]), 0.4 * height)
            position = middle + np.array([0, 0, rise])
            _add_area_lamp(scene, position, position - np.array([0, 0, 1]), 0.15 * height, 4 * height**2, overrides)


def _replace_world(
    scene: bpy.types.Scene, colour: tuple[float, float, float], strength: float, overrides: Overrides
) -> bpy.types.World:
    world = bpy.data.worlds.new("Blendset light")
    overrides.call_on_exit(bpy.data.worlds.remove, world)
    enable_nodes(world)
    background = next(node for node in world.node_tree.nodes if node.type == "BACKGROUND")
    background.inputs["Color"].default_value = (*colour, 1.0)
    background.inputs["Strength"].default_value = strength
    overrides.set(scene, "world", world)
    return world


def _add_gradient(world: bpy.types.World) -> None:
    """Have the height of the direction decide the colour of a world, as SKY has it."""
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = next(node for node in nodes if node.type == "BACKGROUND")
    direction, axes = nodes.new("ShaderNodeTexCoord"), nodes.new("ShaderNodeSeparateXYZ")
    height, ramp = nodes.new("ShaderNodeMapRange"), nodes.new("ShaderNodeValToRGB")
    height.inputs["From Min"].default_value = -1.0
    while len(ramp.color_ramp.elements) < len(SKY):
        ramp.color_ramp.elements.new(0.5)
    for element, (position, colour) in zip(ramp.color_ramp.elements, SKY, strict=True):
        element.position, element.color = position, (*colour, 1.0)
    links.new(direction.outputs["Generated"], axes.inputs["Vector"])
    links.new(axes.outputs["Z"], height.inputs["Value"])
    links.new(height.outputs["Result"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], background.inputs["Color"])


def _add_lamp(scene: bpy.types.Scene, kind: Literal["SUN", "AREA"], overrides: Overrides) -> bpy.types.Object:
    data = bpy.data.lights.new("Blendset light", kind)
    overrides.call_on_exit(bpy.data.lights.remove, data)
    lamp = bpy.data.objects.new("Blendset light", data)
    scene.collection.objects.link(lamp)
    overrides.call_on_exit(bpy.data.objects.remove, lamp)
    lamp.visible_camera = False
    return lamp


def _add_area_lamp(
    scene: bpy.types.Scene, position: np.ndarray, target: np.ndarray, size: float, energy: float, overrides: Overrides
) -> None:
    lamp = _add_lamp(scene, "AREA", overrides)
    lamp.data.size, lamp.data.energy = size, energy
    lamp.location = position
    lamp.rotation_euler = Vector(target - position).to_track_quat("-Z", "Y").to_euler()

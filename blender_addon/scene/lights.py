# SPDX-License-Identifier: GPL-3.0-or-later
"""What light a scene has of its own: its lamps as they render, and its world."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..compat import has_nodes

LUMINANCE = (0.2126, 0.7152, 0.0722)
"""ITU-R BT.709, for linear colours."""
DIRECTIONAL_NODES = ("TEX_", "NEW_GEOMETRY", "ATTRIBUTE")
"""How the types of nodes begin whose values depend on the direction: a world with one has brighter and darker sides."""


@dataclass(frozen=True)
class Lamp:
    """A lamp that renders: where it stands, None for a sun, and its energy in Blender's units (W/m² of a sun, else
    W)."""

    position: tuple[float, float, float] | None
    energy: float


def list_lamps(depsgraph: bpy.types.Depsgraph) -> tuple[Lamp, ...]:
    """The lamps of a render depsgraph that give light, those of instances too."""
    found = (each for each in depsgraph.object_instances if each.object.type == "LIGHT" and each.show_self)
    return tuple(lamp for each in found if (lamp := _read_lamp(each)) is not None)


def _read_lamp(instance: bpy.types.DepsgraphObjectInstance) -> Lamp | None:
    """The lamp that an instance of the render depsgraph is; None for one that gives no light."""
    data: Any = instance.object.data
    energy = float(data.energy) * compute_luminance(data.color)
    if energy <= 0 or data.cycles.is_portal:
        return None
    x, y, z = np.array(instance.matrix_world)[:3, 3].tolist()
    return Lamp(None if data.type == "SUN" else (x, y, z), energy)


def compute_lamp_light(lamps: Sequence[Lamp], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Irradiance (N,), in W/m², that the lamps give at points (N, 3) that face them, when nothing stands between."""
    light = np.full(len(points), sum((lamp.energy for lamp in lamps if lamp.position is None), 0.0))
    for lamp in lamps:
        if lamp.position is not None:
            distance = np.linalg.norm(points - lamp.position, axis=1)
            light += lamp.energy / (4 * np.pi * np.maximum(distance, 1e-6) ** 2)
    return light


@dataclass(frozen=True)
class WorldLight:
    """What a world gives from all sides: `radiance` (0 = black), and whether some directions are brighter than
    others."""

    radiance: float
    directional: bool


def read_world(world: bpy.types.World | None) -> WorldLight:
    """What light a world gives. One plain colour, however bright, is light from everywhere."""
    if world is None:
        return WorldLight(0.0, False)
    if not has_nodes(world):
        return WorldLight(compute_luminance(world.color), False)
    output = world.node_tree.get_output_node("CYCLES") or world.node_tree.get_output_node("ALL")
    nodes = list(_iterate_nodes(output.inputs["Surface"])) if output else []
    radiance = max((_estimate_radiance(node) for node in nodes), default=0.0)
    return WorldLight(radiance, radiance > 0 and any(node.type.startswith(DIRECTIONAL_NODES) for node in nodes))


def compute_luminance(colour: Any) -> float:
    """Luminance of a linear colour."""
    return float(sum(weight * value for weight, value in zip(LUMINANCE, colour, strict=False)))


def _estimate_radiance(node: bpy.types.Node) -> float:
    """What a background gives; what is driven by other nodes counts as 1."""
    if node.type not in ("BACKGROUND", "EMISSION"):
        return 0.0
    colour, strength = node.inputs["Color"], node.inputs["Strength"]
    brightness = 1.0 if colour.is_linked else compute_luminance(colour.default_value)
    return brightness * (1.0 if strength.is_linked else max(float(strength.default_value), 0.0))


def _iterate_nodes(socket: bpy.types.NodeSocket, visited: set[str] | None = None) -> Iterator[bpy.types.Node]:
    """The nodes behind a socket, each once, those inside groups too; nothing behind a background that gives no
    light."""
    visited = set() if visited is None else visited
    for link in socket.links:
        node = link.from_node
        if (key := f"{node.id_data.name_full}/{node.name}") in visited:
            continue
        visited.add(key)
        yield node
        if node.type in ("BACKGROUND", "EMISSION") and not _estimate_radiance(node):
            continue
        inside = [inner for inner in node.node_tree.nodes if inner.type == "GROUP_OUTPUT"] if _is_group(node) else []
        for entry in [*node.inputs, *(entry for inner in inside for entry in inner.inputs)]:
            yield from _iterate_nodes(entry, visited)


def _is_group(node: bpy.types.Node) -> bool:
    return node.type == "GROUP" and node.node_tree is not None

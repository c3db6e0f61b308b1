# SPDX-License-Identifier: GPL-3.0-or-later
"""What placement must know of a material: whether it can be seen at all, whether it emits, how bright it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy

from ..compat import has_nodes
from .lights import compute_luminance

UNKNOWN_ALBEDO = 0.4
INDEX_PASS_ALPHA = 0.5
"""Cycles' pass_alpha_threshold: what is less opaque than this is not in the index pass, so rays must not stop at it
either."""

PAINTED = {"ATTRIBUTE", "VERTEX_COLOR"}
"""Nodes that give the colours painted on a mesh."""
NO_PICTURE = {"TEX_COORD", "TEX_IES", "TEX_SKY"}
"""Nodes that are called textures and show nothing of a thing."""


@dataclass(frozen=True)
class Surface:
    """A material in short; the defaults describe an object without one.

    `pictured` is whether a texture colours what it emits: the scan of a thing, or a screen, and no lamp. `only_volume`
    is whether what looks like a surface is the bounds of smoke or fog.
    """

    name: str = ""
    albedo: float = 0.8
    alpha: float = 1.0
    emissive: bool = False
    pictured: bool = False
    textured: bool = False
    only_volume: bool = False
    missing_files: tuple[str, ...] = ()

    @property
    def visible(self) -> bool:
        """Whether the index pass shows it, and so a camera."""
        return self.alpha >= INDEX_PASS_ALPHA

    @property
    def only_shines(self) -> bool:
        """Whether it is light, and shows nothing of a thing."""
        return self.emissive and not self.pictured


def read_surface(material: bpy.types.Material | None, missing_files: tuple[str, ...] = ()) -> Surface:
    """Read a material's node tree from its output backwards; texture-driven values count as unknown."""
    if material is None:
        return Surface()
    shader = _find_surface_shader(material)
    if shader is None:
        if _has_only_volume(material):
            return Surface(material.name, alpha=0.0, only_volume=True, missing_files=missing_files)
        return Surface(material.name, albedo=_compute_grey(material.diffuse_color), missing_files=missing_files)
    return Surface(
        name=material.name,
        albedo=_estimate_albedo(shader),
        alpha=_estimate_alpha(shader),
        emissive=_is_emissive(shader),
        pictured=_emits_texture(shader),
        textured=_is_textured(shader),
        missing_files=missing_files,
    )


def _find_surface_shader(material: bpy.types.Material) -> bpy.types.Node | None:
    if not has_nodes(material):
        return None
    output = material.node_tree.get_output_node("CYCLES") or material.node_tree.get_output_node("ALL")
    return _find_source(output.inputs["Surface"]) if output else None


def _has_only_volume(material: bpy.types.Material) -> bool:
    """Whether a material has a volume shader and no other."""
    output = material.node_tree.get_output_node("CYCLES") if material.node_tree else None
    return output is not None and bool(output.inputs["Volume"].links) and not output.inputs["Surface"].links


def _find_source(socket: bpy.types.NodeSocket) -> bpy.types.Node | None:
    """The node behind a socket, through reroutes."""
    node = socket.links[0].from_node if socket.is_linked and socket.links else None
    while node is not None and node.type == "REROUTE":
        node = node.inputs[0].links[0].from_node if node.inputs[0].is_linked else None
    return node


def _get_input(node: bpy.types.Node, name: str) -> Any:
    """The input of that name; None where the node has none."""
    return node.inputs.get(name)


def _find_group_shader(group: bpy.types.Node) -> bpy.types.Node | None:
    """The shader that a node group gives out."""
    tree = getattr(group, "node_tree", None)
    output = next((node for node in tree.nodes if node.type == "GROUP_OUTPUT"), None) if tree else None
    socket = next((entry for entry in output.inputs if entry.type == "SHADER"), None) if output else None
    return _find_source(socket) if socket else None


def _read_mix(node: bpy.types.Node) -> tuple[float, list[bpy.types.Node | None]]:
    """Factor and the two shaders of a mix node; a driven factor counts as one half."""
    factor = 0.5 if node.inputs[0].is_linked else float(node.inputs[0].default_value)
    return factor, [_find_source(node.inputs[1]), _find_source(node.inputs[2])]


def _estimate_alpha(node: bpy.types.Node | None) -> float:
    if node is None:
        return 1.0
    if node.type == "BSDF_TRANSPARENT":
        return 0.0
    if node.type == "BSDF_PRINCIPLED" and not node.inputs["Alpha"].is_linked:
        return float(node.inputs["Alpha"].default_value)
    if node.type == "MIX_SHADER":
        factor, (first, second) = _read_mix(node)
        if node.inputs[0].is_linked:
            return max(_estimate_alpha(first), _estimate_alpha(second))  # the index pass decides
        return (1 - factor) * _estimate_alpha(first) + factor * _estimate_alpha(second)
    if node.type == "ADD_SHADER":
        return max(_estimate_alpha(_find_source(node.inputs[0])), _estimate_alpha(_find_source(node.inputs[1])))
    return _estimate_alpha(_find_group_shader(node)) if node.type == "GROUP" else 1.0


def _is_emissive(node: bpy.types.Node | None) -> bool:
    if node is None:
        return False
    if node.type == "EMISSION":
        return node.inputs["Strength"].is_linked or node.inputs["Strength"].default_value > 0
    if node.type == "BSDF_PRINCIPLED":
        strength = _get_input(node, "Emission Strength")
        colour = _get_input(node, "Emission Color")
        lit = colour is not None and (colour.is_linked or _compute_grey(colour.default_value) > 0)
        return bool(strength is not None and lit and (strength.is_linked or strength.default_value > 0))
    if node.type == "MIX_SHADER":
        return any(_is_emissive(shader) for shader in _read_mix(node)[1])
    if node.type == "ADD_SHADER":
        return any(_is_emissive(_find_source(socket)) for socket in node.inputs)
    return _is_emissive(_find_group_shader(node)) if node.type == "GROUP" else False


def _emits_texture(node: bpy.types.Node | None) -> bool:
    """Whether a texture, or colours painted on the mesh, decide the colour of what a shader emits."""
    if node is None:
        return False
    if node.type in {"MIX_SHADER", "ADD_SHADER"}:
        return any(_emits_texture(_find_source(socket)) for socket in node.inputs if socket.type == "SHADER")
    if node.type == "GROUP":
        return _emits_texture(_find_group_shader(node))
    name = {"EMISSION": "Color", "BSDF_PRINCIPLED": "Emission Color"}.get(node.type)
    return name is not None and _reads_texture(_get_input(node, name), set())


def _reads_texture(socket: bpy.types.NodeSocket | None, visited: set[bpy.types.Node]) -> bool:
    """Whether a texture or painted colours lie behind a socket."""
    node = _find_source(socket) if socket is not None else None
    if node is None or node in visited:
        return False
    visited.add(node)
    if node.type in PAINTED or (node.type.startswith("TEX_") and node.type not in NO_PICTURE):
        return True
    inner = node.node_tree.nodes if node.type == "GROUP" and node.node_tree else ()
    return any(each.type.startswith("TEX_") or each.type in PAINTED for each in inner) or any(
        _reads_texture(behind, visited) for behind in node.inputs
    )


def _estimate_albedo(node: bpy.types.Node | None) -> float:
    if node is None:
        return UNKNOWN_ALBEDO
    if node.type == "MIX_SHADER":
        factor, (first, second) = _read_mix(node)
        return (1 - factor) * _estimate_albedo(first) + factor * _estimate_albedo(second)
    if node.type == "GROUP":
        return _estimate_albedo(_find_group_shader(node))
    socket = _get_input(node, "Base Color") or _get_input(node, "Color")
    if socket is None or socket.is_linked:
        return UNKNOWN_ALBEDO
    return _compute_grey(socket.default_value)


def _is_textured(node: bpy.types.Node | None) -> bool:
    """Whether something other than one value decides a shader's colour."""
    if node is None:
        return False
    if node.type in {"MIX_SHADER", "ADD_SHADER"}:
        return any(_is_textured(_find_source(socket)) for socket in node.inputs if socket.type == "SHADER")
    if node.type == "GROUP":
        return True
    socket = _get_input(node, "Base Color") or _get_input(node, "Color")
    return socket is not None and socket.is_linked


def _compute_grey(colour: bpy.types.bpy_prop_array) -> float:
    """Luma of a linear colour, display-encoded, which is how contrast is seen."""
    linear = max(compute_luminance(colour), 0.0)
    return float(min(linear, 1.0) ** (1 / 2.2))

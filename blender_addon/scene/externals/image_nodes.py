# SPDX-License-Identifier: GPL-3.0-or-later
"""Which image nodes Cycles reaches from the output of a material, world or light, and what each image is good for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import bpy

from ...compat import has_nodes

IMAGE_TYPES = {"TEX_IMAGE", "TEX_ENVIRONMENT"}
FILE_TYPES = IMAGE_TYPES | {"TEX_IES", "SCRIPT"}
ROLES = ("normal", "opaque", "grey", "off")
"""What an image can be good for, the most delicate first: a normal map, opacity, any value or colour, and what a
surface has only where an image says so, such as metal or glow."""

Groups = tuple[bpy.types.Node, ...]


@dataclass(eq=False)
class _Walk:
    """A walk through a node tree and its groups, against the links; `roles` are those of each node that names a
    file."""

    nodes: dict[int, bpy.types.Node] = field(default_factory=dict)
    roles: dict[int, set[str]] = field(default_factory=dict)
    visited: set[tuple[object, ...]] = field(default_factory=set)

    def follow_input(self, socket: bpy.types.NodeSocket, role: str, groups: Groups) -> None:
        """Visit what is linked to a socket; `groups` are the group nodes that it stands in, the outermost first."""
        for link in socket.links or ():
            if link.is_valid and not link.is_muted:
                self._visit(link.from_socket, role, groups)

    def _visit(self, socket: bpy.types.NodeSocket, role: str, groups: Groups) -> None:
        node = socket.node
        key = (*(group.as_pointer() for group in groups), node.as_pointer(), socket.identifier, role)
        if key in self.visited:
            return
        self.visited.add(key)
        if node.type in FILE_TYPES and not node.mute:
            self.nodes[node.as_pointer()] = node
            self.roles.setdefault(node.as_pointer(), set()).add(role)
        for entry, inner in _find_inputs(socket, groups):
            self.follow_input(entry, _choose_role(node, entry, role), inner)


def find_file_nodes(owner: bpy.types.ID) -> list[tuple[bpy.types.Node, str]]:
    """The nodes that name a file and that the shader of a material, world or light depends on, each with its role."""
    tree = owner.node_tree if has_nodes(owner) else None
    output = tree.get_output_node("CYCLES") if tree else None
    walk = _Walk()
    for socket in output.inputs if output else ():
        walk.follow_input(socket, "grey", ())
    return [(node, min(walk.roles[key], key=ROLES.index)) for key, node in walk.nodes.items()]


def _find_inputs(socket: bpy.types.NodeSocket, groups: Groups) -> Iterator[tuple[bpy.types.NodeSocket, Groups]]:
    """The inputs that decide what an output gives, and the groups that they stand in."""
    node = socket.node
    if node.mute:
        for link in node.internal_links:
            if link.to_socket == socket:
                yield link.from_socket, groups
    elif getattr(node, "node_tree", None) is not None:
        output = next(
            (each for each in node.node_tree.nodes if each.type == "GROUP_OUTPUT" and each.is_active_output), None
        )
        yield from ((entry, (*groups, node)) for entry in _match(output.inputs if output else (), socket))
    elif node.type == "GROUP_INPUT":
        if groups:
            yield from ((entry, groups[:-1]) for entry in _match(groups[-1].inputs, socket))
    else:
        yield from (
            (entry, groups) for entry in _drop_unmixed([entry for entry in node.inputs if entry.enabled], groups)
        )


def _match(sockets: object, other: bpy.types.NodeSocket) -> Iterator[bpy.types.NodeSocket]:
    """The socket on the other side of a group's border."""
    return (socket for socket in sockets if socket.identifier == other.identifier)


def _drop_unmixed(inputs: list[bpy.types.NodeSocket], groups: Groups) -> list[bpy.types.NodeSocket]:
    """Inputs of a node without the side that a mix of a fixed 0 or 1 leaves out, as Cycles leaves it out."""
    node = inputs[0].node if inputs else None
    if node is None or node.type not in {"MIX", "MIX_RGB", "MIX_SHADER"} or len(inputs) != 3:
        return inputs
    factor = _read_constant(inputs[0], groups)
    if factor is not None and factor <= 0:
        return inputs[:2]
    plain = getattr(node, "blend_type", "MIX") == "MIX"
    return [inputs[0], inputs[2]] if factor is not None and factor >= 1 and plain else inputs


def _read_constant(socket: bpy.types.NodeSocket, groups: Groups) -> float | None:
    """The number that a socket always has, through the borders of groups; None where something decides it."""
    if not socket.is_linked:
        value = getattr(socket, "default_value", None)
        return float(value) if isinstance(value, (int, float)) else None
    source = socket.links[0].from_socket
    if source.node.type != "GROUP_INPUT" or not groups:
        return None
    outer = next(_match(groups[-1].inputs, source), None)
    return _read_constant(outer, groups[:-1]) if outer is not None else None


def _choose_role(node: bpy.types.Node, entry: bpy.types.NodeSocket, role: str) -> str:
    """What an image is good for that comes into this node by this input; `role` is what the node's own output is."""
    if node.type == "NORMAL_MAP":
        return "normal" if entry.name == "Color" else "grey"
    if node.type == "BSDF_PRINCIPLED":
        known = {"Base Color": "grey", "Roughness": "grey", "IOR": "grey", "Normal": "grey", "Alpha": "opaque"}
        return known.get(entry.name, "off")
    if node.type == "MIX_SHADER":
        return _choose_factor_role(node) if entry == node.inputs[0] else "grey"
    return role


def _choose_factor_role(mix: bpy.types.Node) -> str:
    """What keeps a mix of shaders opaque where one side of it is transparent."""
    kinds = [socket.links[0].from_node.type if socket.is_linked else "" for socket in mix.inputs[1:3]]
    if kinds[0] == "BSDF_TRANSPARENT":
        return "opaque"
    return "off" if kinds[1] == "BSDF_TRANSPARENT" else "grey"

# SPDX-License-Identifier: GPL-3.0-or-later
"""An origin of its own for a scene that lies far from Blender's, such as a model at its map coordinates.

The scene is moved only where that cannot change the picture, for as long as it is worked on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import bpy
import numpy as np
from mathutils import Vector

from blendset.cameras import Array
from blendset.placement.origin import find_local_origin, find_number_step

from .datablocks import iterate_drivers
from .externals.files import Externals
from .overrides import Overrides
from .snapshot import OpenScene, open_scene

POSITION_OUTPUTS = {
    "ShaderNodeNewGeometry": {"Position"},
    "ShaderNodeObjectInfo": {"Location"},
    "ShaderNodeParticleInfo": {"Location"},
    "GeometryNodeObjectInfo": {"Transform", "Location"},
    "GeometryNodeSelfObject": {"Self Object"},
    "GeometryNodeInputActiveCamera": {"Active Camera"},
}
"""Outputs of nodes that tell where in the world something is."""
POSITION_NODES = {"ShaderNodeScript", "ShaderNodeBsdfRayPortal", "ShaderNodeTexPointDensity"}
"""Nodes that may read where in the world something is without an input for it."""
TOLERANCE = 8
"""By so many of the coarse numbers' steps a vertex may lie elsewhere once its scene has moved."""


def open_near_origin(
    scene: bpy.types.Scene, layer: str, overrides: Overrides, externals: Externals, neutral: bool
) -> OpenScene:
    """Take the snapshot of a view layer. A scene far from the origin is moved to one of its own until the overrides
    end; where that could change the picture, it stays, and a note says why. `externals` and `neutral` are as
    `open_scene` takes them."""
    opened = open_scene(scene, layer, externals, neutral)
    offset = find_local_origin(opened.snapshot.extent)
    if not offset.any():
        return opened
    obstacle = find_obstacle(scene)
    if not obstacle:
        moved = Overrides()
        _move_roots(scene, offset, moved)
        local = open_scene(scene, layer, externals, neutral)
        if _is_same_scene(opened, local, offset):
            overrides.call_on_exit(scene.view_layers[layer].update)  # else the window would notice the move later
            overrides.call_on_exit(moved.close)
            remark = f"far from the origin: rendered and recorded relative to {_format_place(offset)}"
            return replace(local, world_offset=tuple(offset.tolist()), notes=(*local.notes, remark))
        moved.close()
        obstacle = "not everything in it moves along"
    step = find_number_step(offset).max()
    remark = (
        f"far from the origin, at {_format_place(offset)}, where numbers are {step:.2g} apart: depth and shapes are "
        f"coarse; move the scene near the origin (not done here: {obstacle})"
    )
    return replace(opened, notes=(*opened.notes, remark))


def _format_place(offset: Array) -> str:
    return f"({', '.join(f'{value:,g}' for value in offset)})"


def _move_roots(scene: bpy.types.Scene, offset: Array, overrides: Overrides) -> None:
    """Move everything in a scene by the negative of an offset (3,), whether its location is animated or not."""
    roots = {_find_root(thing).name_full: _find_root(thing) for thing in scene.objects}
    for root in roots.values():
        overrides.set(root, "delta_location", root.delta_location - Vector(offset.tolist()))


def _find_root(thing: bpy.types.Object) -> bpy.types.Object:
    while thing.parent is not None:
        thing = thing.parent
    return thing


def _is_same_scene(before: OpenScene, after: OpenScene, offset: Array) -> bool:
    """Whether two snapshots differ by an offset (3,) and nothing else."""
    tolerance = TOLERANCE * find_number_step(np.abs(before.snapshot.extent).max(axis=0)).max()

    def is_moved(old: Array, new: Array) -> bool:
        return old.shape == new.shape and np.allclose(old - offset, new, rtol=0, atol=tolerance, equal_nan=True)

    cameras = [[camera.position for _, camera in opened.cameras.cameras] for opened in (before, after)]
    return (
        [thing.name for thing in before.snapshot.objects] == [thing.name for thing in after.snapshot.objects]
        and is_moved(before.snapshot.bounds, after.snapshot.bounds)
        and is_moved(before.snapshot.vertices, after.snapshot.vertices)
        and is_moved(*(np.array(positions).reshape(-1, 3) for positions in cameras))
    )


# ---- what reads where things are -------------------------------------------------------------------------------------


def find_obstacle(scene: bpy.types.Scene) -> str:
    """Why the picture of a scene might change if all of it moved, or ""."""
    for thing in scene.objects:
        if thing.type == "LIGHT" and thing.constraints:
            return f"{thing.name} has a constraint"
    for owner, _ in iterate_drivers():
        return f"{owner.name} has a driver"
    for owner, tree in _iterate_trees():
        for node in tree.nodes:
            if _reads_position(node):
                return f"{owner.name} reads positions in the world"
    return ""


def _iterate_trees() -> Iterator[tuple[Any, Any]]:
    """Yield every node tree that could be rendered, and what it belongs to."""
    for datablock in (*bpy.data.materials, *bpy.data.worlds, *bpy.data.lights):
        if datablock.node_tree is not None:
            yield datablock, datablock.node_tree
    for group in bpy.data.node_groups:
        yield group, group


def _reads_position(node: Any) -> bool:
    """Whether a node may tell a shader, or a geometry, where in the world something is."""
    kind = node.bl_idname
    if kind == "ShaderNodeAttribute":
        return bool(node.attribute_type != "GEOMETRY")
    if kind == "ShaderNodeVectorTransform":
        return bool(node.vector_type == "POINT")
    if kind == "ShaderNodeTexCoord":
        outputs = {"Object"} if node.object is not None or isinstance(node.id_data.original, bpy.types.World) else set()
    else:
        outputs = POSITION_OUTPUTS.get(kind, set())
    return kind in POSITION_NODES or any(
        output.is_linked and output.identifier.split("_")[0] in outputs for output in node.outputs
    )

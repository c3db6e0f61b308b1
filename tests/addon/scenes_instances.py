# SPDX-License-Identifier: Apache-2.0
"""Scenes of instances, hair and light, built in the open file: each function adds to it and saves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bmesh
import bpy
import numpy as np

Point = tuple[float, float, float]


def add_box(
    name: str, at: Point, size: float = 1.0, collection: bpy.types.Collection | None = None
) -> bpy.types.Object:
    """A box with a material of its own, bevelled so that it is more than a plain box."""
    form = bmesh.new()
    bmesh.ops.create_cube(form, size=size)
    edges: list[bmesh.types.BMVert | bmesh.types.BMEdge | bmesh.types.BMFace] = list(form.edges)
    bmesh.ops.bevel(form, geom=edges, offset=0.1 * size, segments=3, affect="EDGES")
    mesh = bpy.data.meshes.new(name)
    form.to_mesh(mesh)
    form.free()
    mesh.materials.append(bpy.data.materials.new(name))
    thing = bpy.data.objects.new(name, mesh)
    thing.location = at
    (collection or bpy.context.scene.collection).objects.link(thing)
    return thing


def add_points(name: str, points: Sequence[Point]) -> bpy.types.Object:
    """An object that is nothing but points."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(list(points), [], [])
    thing = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def add_grid(name: str, count: int, spacing: float, at: Point = (0.0, 0.0, 0.0)) -> bpy.types.Object:
    """`count` points in rows of ten."""
    return add_points(name, [(at[0] + spacing * (n % 10), at[1] + spacing * (n // 10), at[2]) for n in range(count)])


def make_collection(name: str, parts: dict[str, Point]) -> bpy.types.Collection:
    """A collection of boxes that is not in the scene itself."""
    collection = bpy.data.collections.new(name)
    for part, at in parts.items():
        add_box(part, at, collection=collection)
    return collection


def add_collection_instance(
    name: str, collection: bpy.types.Collection, at: Point, into: bpy.types.Collection | None = None
) -> bpy.types.Object:
    """An empty that instances a collection."""
    empty = bpy.data.objects.new(name, None)
    empty.instance_type, empty.instance_collection, empty.location = "COLLECTION", collection, at
    (into or bpy.context.scene.collection).objects.link(empty)
    return empty


def scatter(
    carrier: bpy.types.Object, instanced: bpy.types.Object | bpy.types.Collection | None, id_: int = -1
) -> None:
    """Put instances on the points of an object: of an object, a collection, or a small ball that is in no object.

    They are all numbered `id_`, if that is not negative; the object keeps what it has.
    """
    tree: Any = bpy.data.node_groups.new(carrier.name, "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    given, instancer, join = (
        tree.nodes.new(kind) for kind in ("NodeGroupInput", "GeometryNodeInstanceOnPoints", "GeometryNodeJoinGeometry")
    )
    points = given.outputs[0]
    if id_ >= 0:
        numbered = tree.nodes.new("GeometryNodeSetID")
        numbered.inputs["ID"].default_value = id_
        tree.links.new(points, numbered.inputs["Geometry"])
        points = numbered.outputs[0]
    tree.links.new(points, instancer.inputs["Points"])
    tree.links.new(_add_source(tree, instanced), instancer.inputs["Instance"])
    tree.links.new(instancer.outputs["Instances"], join.inputs[0])
    tree.links.new(given.outputs[0], join.inputs[0])
    tree.links.new(join.outputs[0], tree.nodes.new("NodeGroupOutput").inputs[0])
    carrier.modifiers.new("Scatter", "NODES").node_group = tree


def _add_source(tree: Any, instanced: bpy.types.Object | bpy.types.Collection | None) -> Any:
    if instanced is None:
        ball = tree.nodes.new("GeometryNodeMeshIcoSphere")
        ball.inputs["Radius"].default_value = 0.1
        return ball.outputs[0]
    kind = "Object" if isinstance(instanced, bpy.types.Object) else "Collection"
    source = tree.nodes.new(f"GeometryNode{kind}Info")
    source.inputs[kind].default_value = instanced
    if kind == "Object":
        source.inputs["As Instance"].default_value = True
    return source.outputs["Geometry" if kind == "Object" else "Instances"]


def add_particles(owner: bpy.types.Object, **settings: Any) -> None:
    """A particle system of hair."""
    owner.modifiers.new("Particles", "PARTICLE_SYSTEM")
    own = owner.particle_systems[-1].settings
    own.type, own.use_advanced_hair = "HAIR", True
    for name, value in settings.items():
        setattr(own, name, value)


def add_hair_curves(name: str, surface: bpy.types.Object) -> bpy.types.Object:
    """Twenty upright hairs of length 3 that grow on a surface."""
    curves = bpy.data.hair_curves.new(name)
    curves.add_curves([2] * 20)
    roots = np.array(surface.location) + np.linspace(-0.3, 0.3, 20)[:, None] * [1, 0, 0]
    points = np.stack([roots, roots + np.array([0, 0, 3])], axis=1)
    curves.attributes["position"].data.foreach_set("vector", points.ravel())
    curves.surface = surface
    thing = bpy.data.objects.new(name, curves)
    bpy.context.scene.collection.objects.link(thing)
    return thing


def shine(thing: bpy.types.Object, colour: str = "") -> None:
    """Make a thing emit light; a node of the type `colour` gives its colour, behind a switch as scans have it."""
    material = thing.data.materials[0]
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    output, mix, emission, clear, path = (
        tree.nodes.new(f"ShaderNode{kind}")
        for kind in ("OutputMaterial", "MixShader", "Emission", "BsdfTransparent", "LightPath")
    )
    if colour:
        node: Any = tree.nodes.new(colour)
        if colour == "ShaderNodeTexImage":
            node.image = bpy.data.images.new("Photo", 4, 4)
        tree.links.new(node.outputs["Color"], emission.inputs["Color"])
    tree.links.new(path.outputs["Is Camera Ray"], mix.inputs[0])
    tree.links.new(clear.outputs[0], mix.inputs[1])
    tree.links.new(emission.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], output.inputs["Surface"])


def fill_with_fog(thing: bpy.types.Object) -> None:
    """Make a thing the bounds of fog, and nothing else."""
    material = thing.data.materials[0]
    if bpy.app.version < (5, 0, 0):
        material.use_nodes = True
    nodes = material.node_tree.nodes
    nodes.clear()
    fog, output = nodes.new("ShaderNodeVolumePrincipled"), nodes.new("ShaderNodeOutputMaterial")
    material.node_tree.links.new(fog.outputs[0], output.inputs["Volume"])

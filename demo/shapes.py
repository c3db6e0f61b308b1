# SPDX-License-Identifier: Apache-2.0
"""The joiner's bench: boxes, rods, turned and woven shapes, and how parts become one labelled piece.

Parts are drawn in their piece's own metres, the piece in front of you: x to the right, y away from you, z up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import bmesh
import bpy
from mathutils import Euler, Matrix, Vector

from finishes import get_material

Point = tuple[float, float, float]
Parts = list[bpy.types.Object]


def make_box(size: Point, at: Point, finish: str, bevel: float = 0.008, tilt: Point = (0, 0, 0)) -> bpy.types.Object:
    """A block centred on `at`, its edges rounded by a bevel modifier; `tilt` in degrees about its centre."""
    form = bmesh.new()
    bmesh.ops.create_cube(form, size=1.0, matrix=_make_matrix(at, tilt) @ Matrix.Diagonal((*size, 1.0)))
    part = _make_part(form, "block", finish)
    rounded = part.modifiers.new("edges", "BEVEL")
    rounded.width, rounded.segments, rounded.harden_normals = bevel, 2 + 2 * (bevel > 0.02), True
    return part


def make_rod(start: Point, end: Point, radius: float, finish: str, end_radius: float | None = None) -> bpy.types.Object:
    """A round bar between two points, tapered when the end has a radius of its own."""
    along = Vector(end) - Vector(start)
    frame = Matrix.Translation(start) @ along.to_track_quat("Z", "Y").to_matrix().to_4x4()
    tip = radius if end_radius is None else end_radius
    profile = [(0.0, 0.0), (radius, 0.0), (tip, along.length), (0.0, along.length)]
    part = lathe(profile, (0, 0, 0), finish, columns=24)
    part.data.transform(frame)
    return part


def lathe(
    profile: Sequence[tuple[float, float]],
    at: Point,
    finish: str,
    *,
    columns: int = 48,
    ribs: int = 0,
    depth: float = 0.0,
    tilt: Point = (0, 0, 0),
) -> bpy.types.Object:
    """A lathe's work: (radius, height) pairs turned about the vertical, with `ribs` cut `depth` of the radius deep."""

    def point(u: float, v: float) -> Point:
        radius, height = profile[round(v * (len(profile) - 1))]
        radius *= 1 - depth * abs(math.sin(ribs * math.pi * u))
        return radius * math.cos(math.tau * u), radius * math.sin(math.tau * u), height

    part = make_sheet(point, columns, len(profile) - 1, finish)
    part.data.transform(_make_matrix(at, tilt))
    return part


def make_ball(radii: Point, at: Point, finish: str, tilt: Point = (0, 0, 0), square: float = 1.0) -> bpy.types.Object:
    """An ellipsoid; `square` below 1 fattens it into a pillow (a superellipsoid)."""

    def power(value: float) -> float:
        return math.copysign(abs(value) ** square, value)

    def point(u: float, v: float) -> Point:
        around, up = math.tau * u, math.pi * (v - 0.5)
        level = abs(math.cos(up))
        x, y = level * power(math.cos(around)), level * power(math.sin(around))
        return radii[0] * x, radii[1] * y, radii[2] * math.sin(up)

    part = make_sheet(point, 48, 24, finish)
    part.data.transform(_make_matrix(at, tilt))
    return part


def make_ring(radius: float, thickness: float, at: Point, finish: str, tilt: Point = (0, 0, 0)) -> bpy.types.Object:
    """A torus lying flat before `tilt`."""

    def point(u: float, v: float) -> Point:
        out = radius + thickness * math.cos(math.tau * v)
        return out * math.cos(math.tau * u), out * math.sin(math.tau * u), thickness * math.sin(math.tau * v)

    part = make_sheet(point, 64, 16, finish)
    part.data.transform(_make_matrix(at, tilt))
    return part


def make_sheet(surface: Callable[[float, float], Point], columns: int, rows: int, finish: str) -> bpy.types.Object:
    """The mesh of a surface over u, v in [0, 1]; where its edges meet they are sewn together."""
    vertices: dict[Point, int] = {}

    def corner(i: int, j: int) -> int:
        x, y, z = surface(i / columns, j / rows)
        return vertices.setdefault((round(x, 6), round(y, 6), round(z, 6)), len(vertices))

    corners = [[corner(i, j) for i in range(columns + 1)] for j in range(rows + 1)]
    form = bmesh.new()
    points = [form.verts.new(vertex) for vertex in vertices]
    for lower, upper in pairwise(corners):
        for i in range(columns):
            face = dict.fromkeys((lower[i], lower[i + 1], upper[i + 1], upper[i]))
            if len(face) > 2:
                form.faces.new([points[index] for index in face])
    return _make_part(form, "form", finish)


def make_plate(
    outline: Sequence[tuple[float, float]], at: Point, finish: str, thickness: float = 0.002
) -> bpy.types.Object:
    """A flat shape standing upright in x and z, facing you."""
    form = bmesh.new()
    form.faces.new([form.verts.new((x, 0.0, z)) for x, z in outline])
    part = _make_part(form, "plate", finish)
    part.data.transform(Matrix.Translation(at))
    part.modifiers.new("thickness", "SOLIDIFY").thickness = thickness
    return part


def make_cord(points: Sequence[Point], radius: float, finish: str) -> bpy.types.Object:
    """A round cord that runs smoothly from the first point to the last: a curve, not a mesh."""
    curve = bpy.data.curves.new("cord", "CURVE")
    curve.dimensions, curve.bevel_depth, curve.bevel_resolution, curve.use_fill_caps = "3D", radius, 4, True
    spline = curve.splines.new("NURBS")
    spline.points.add(len(points) - 1)
    for control, point in zip(spline.points, points, strict=True):
        control.co = (*point, 1.0)
    spline.order_u, spline.use_endpoint_u = min(4, len(points)), True
    curve.materials.append(get_material(finish))
    return bpy.data.objects.new("cord", curve)


def make_bulb(at: Point, watts: float, radius: float = 0.03) -> Parts:
    """A glowing bulb with the lamp that lights the room, which is a little larger so that the bulb casts no shadow."""
    lamp = bpy.data.lights.new("light", "POINT")
    lamp.energy, lamp.shadow_soft_size, lamp.color = watts, radius * 1.2, (1.0, 0.62, 0.34)
    light = bpy.data.objects.new("light", lamp)
    light.location = at
    return [make_ball((radius,) * 3, at, "tungsten glow"), light]


def mirror(part: bpy.types.Object, axes: str = "X") -> bpy.types.Object:
    """The part and its reflections about the piece's middle, by a mirror modifier."""
    twin = part.modifiers.new("twin", "MIRROR")
    for axis in range(3):
        twin.use_axis[axis] = "XYZ"[axis] in axes
    return part


def repeat(part: bpy.types.Object, count: int, step: Point) -> bpy.types.Object:
    """The part and its copies, one `step` apart, by an array modifier."""
    row = part.modifiers.new("row", "ARRAY")
    row.use_relative_offset, row.use_constant_offset = False, True
    row.count, row.constant_offset_displace = count, step
    return part


def make_piece(label: str, parts: Iterable[bpy.types.Object], at: Point, heading: float = 0.0) -> bpy.types.Object:
    """The parts under one root that stands at `at`, turned by `heading` degrees and carrying the label."""
    return _parent_to_root(bpy.data.objects.new(label, None), label, parts, at, heading)


def make_collection(label: str, parts: Iterable[bpy.types.Object]) -> bpy.types.Collection:
    """The parts as a collection to be instanced; the collection itself is in no scene."""
    stock = bpy.data.collections.new(label)
    stock["blendset_label"] = label
    for part in parts:
        part.name = f"{label} {part.name}"
        stock.objects.link(part)
    return stock


def make_instance(
    stock: bpy.types.Collection, at: Point, heading: float = 0.0, tilt: Point = (0, 0, 0)
) -> bpy.types.Object:
    """One instance of a collection, not yet in a scene."""
    instance = bpy.data.objects.new(stock.name, None)
    instance.instance_type, instance.instance_collection = "COLLECTION", stock
    instance.matrix_world = _make_matrix(at, (tilt[0], tilt[1], tilt[2] + heading))
    return instance


def link_to_scene(thing: bpy.types.Object, label: str) -> bpy.types.Object:
    """The thing in the scene, under its label."""
    thing["blendset_label"] = label
    bpy.context.scene.collection.objects.link(thing)
    return thing


def _parent_to_root(
    root: bpy.types.Object, label: str, parts: Iterable[bpy.types.Object], at: Point, heading: float
) -> bpy.types.Object:
    home = bpy.data.collections.new(label)
    bpy.context.scene.collection.children.link(home)
    root["blendset_label"] = label
    root.empty_display_size = 0.1
    root.location, root.rotation_euler.z = at, math.radians(heading)
    for part in (root, *parts):
        home.objects.link(part)
        if part is not root:
            part.name = f"{label} {part.name}"
            part.parent = root
    return root


def _make_matrix(at: Point, tilt: Point) -> Matrix:
    turn = Euler([math.radians(angle) for angle in tilt], "XYZ").to_matrix().to_4x4()
    placed: Matrix = Matrix.Translation(at) @ turn
    return placed


def _make_part(form: bmesh.types.BMesh, name: str, finish: str) -> bpy.types.Object:
    bmesh.ops.recalc_face_normals(form, faces=form.faces[:])
    mesh = bpy.data.meshes.new(name)
    form.to_mesh(mesh)
    form.free()
    mesh.materials.append(get_material(finish))
    mesh.shade_smooth()
    mesh.set_sharp_from_angle(angle=math.radians(38))
    return bpy.data.objects.new(name, mesh)

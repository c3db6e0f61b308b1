# SPDX-License-Identifier: GPL-3.0-or-later
"""From the render depsgraph to items: every object and every instance of it that renders, with what makes it up.

Reading costs with objects and meshes, not with instances: of an instance only its matrix and its number are read.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from blendset.config import SubjectSettings
from blendset.placement.labels import label_from_name
from blendset.placement.scene import compute_extent
from blendset.placement.things import ONLY_SHINES

from ..compat import GREASE_PENCIL_TYPES
from .fringes import read_fringe
from .identities import Path, find_owner, is_rigid, name_group, number_repeated
from .layers import is_seen_by_cameras
from .materials import Surface, read_surface
from .names import decode_text

MESH_LIKE_TYPES = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
STRAND_TYPES = {"CURVES", "POINTCLOUD"}
VOLUME = "volume"
NO_THINGS = {"VOLUME": VOLUME, **dict.fromkeys(GREASE_PENCIL_TYPES, "drawing")}
"""Types of which no object is a subject, or a part of one, and why."""
RENDERED_TYPES = MESH_LIKE_TYPES | STRAND_TYPES | NO_THINGS.keys()
SMALLEST = SubjectSettings().smallest
"""Share of the scene's diagonal below which nothing is a subject; no option, for ids must not depend on options."""
MASS = 100
"""More small instances of one object than this, all by one instancer, are one item."""
NO_LEVEL = 2**31 - 1
"""Fills `persistent_id` behind its last level."""


@dataclass(eq=False)
class Mesh:
    """Local geometry of one evaluated mesh: vertices (V, 3), triangles (T, 3), and `material_indices` (T,)."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material_indices: NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Origin:
    """What is true of an object, or of all instances of it that one object makes; names are full names.

    `parents` are the names of what it hangs on, the nearest first.
    """

    original: str
    instance_of: str
    in_collection_instance: bool
    label: str
    collection: str
    parents: tuple[str, ...]
    exclusion: str


@dataclass(eq=False)
class Source:
    """One evaluated geometry, and where it stands: `paths` number the instance on each level, the outermost first, and
    `matrices` belong to them. `bound_box` (8, 3), of what has no mesh, and `fringe` (N, 3) are local."""

    origin: Origin
    kind: str
    is_shown: bool
    mesh: Mesh | None
    surfaces: list[Surface]
    bound_box: NDArray[np.float64] | None
    fringe: NDArray[np.float64]
    paths: list[Path] = field(default_factory=list)
    matrices: Any = field(default_factory=list)

    @cached_property
    def corners(self) -> NDArray[np.float64]:
        """Corners (8, 3) of the box around the geometry, or the points of what is nothing but fringe; local. Vertices
        that are not finite do not count."""
        if self.mesh is None or not len(self.mesh.vertices):
            return self.fringe if self.bound_box is None else self.bound_box
        finite = self.mesh.vertices[np.isfinite(self.mesh.vertices).all(axis=1)]
        vertices = finite if len(finite) else np.zeros((1, 3))
        sides = zip(vertices.min(axis=0), vertices.max(axis=0), strict=True)
        return np.array(list(product(*sides)), dtype=np.float64)


@dataclass(eq=False)
class Piece:
    """Equal copies of one geometry within an item, at `matrices` (N, 4, 4)."""

    source: Source
    matrices: NDArray[np.float64]
    mesh: Mesh | None

    @property
    def boxes(self) -> NDArray[np.float64]:
        """Lower and upper corner of each copy, (N, 2, 3)."""
        corners = self.source.corners @ self.matrices[:, :3, :3].transpose(0, 2, 1) + self.matrices[:, None, :3, 3]
        return np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)

    @property
    def fringe(self) -> NDArray[np.float64]:
        """Points of what renders without triangles, (N, 3)."""
        points = self.source.fringe @ self.matrices[:, :3, :3].transpose(0, 2, 1) + self.matrices[:, None, :3, 3]
        return np.asarray(points.reshape(-1, 3))


@dataclass(eq=False)
class Item:
    """One object or instance, with the instances that it makes of its own geometry."""

    origin: Origin
    path: Path
    unit: str
    pieces: list[Piece]

    @property
    def key(self) -> tuple[str, str, Path]:
        """What items are sorted by: the same in every version of Blender."""
        return self.origin.original, self.origin.instance_of, self.path

    @property
    def surfaces(self) -> list[Surface]:
        """The materials of all pieces."""
        return list(dict.fromkeys(surface for piece in self.pieces for surface in piece.source.surfaces))

    @property
    def objection(self) -> str:
        """Why it can be no subject, or "". A thing that only shines is a lamp's light, not a lamp."""
        if self.origin.exclusion:
            return self.origin.exclusion
        sources = [piece.source for piece in self.pieces]
        if all(source.kind in NO_THINGS for source in sources):
            return NO_THINGS[sources[0].kind]
        solid = [source for source in sources if source.mesh and len(source.mesh.triangles)]
        surfaces = [surface for source in solid for surface in source.surfaces]
        if surfaces and all(surface.only_volume for surface in surfaces):
            return VOLUME
        return ONLY_SHINES if surfaces and all(surface.only_shines for surface in surfaces) else ""


class Gathering:
    """One pass over the depsgraph of a view layer. `excluded` says why objects can be no subject, `missing_files` are
    the textures that materials lack, both by full names. `unseen` are in the end the names of what renders and no
    camera sees."""

    _depsgraph: bpy.types.Depsgraph

    def __init__(
        self,
        scene: bpy.types.Scene,
        layer: bpy.types.ViewLayer,
        excluded: Mapping[str, str],
        missing_files: Mapping[str, tuple[str, ...]],
    ) -> None:
        self._collections = _map_collections(scene)
        self._layer, self._excluded, self._missing_files = layer, excluded, missing_files
        self.unseen: set[str] = set()
        self._meshes: dict[tuple[str, int], Mesh] = {}
        self._surfaces: dict[str, Surface] = {}
        self._origins: dict[tuple[str, str], Origin] = {}
        self._sources: dict[tuple[int, int, int], Source | None] = {}
        self._instancers: dict[tuple[str, Path], str] = {}

    @property
    def emissive(self) -> bool:
        """Whether any surface emits light, of things that cameras do not see too."""
        return any(surface.emissive for surface in self._surfaces.values())

    def gather(self, depsgraph: bpy.types.Depsgraph) -> list[Item]:
        """All items that cameras see, sorted."""
        self._depsgraph = depsgraph
        for instance in self._depsgraph.object_instances:
            self._read_instance(instance)
        sources = [source for source in self._sources.values() if source is not None]
        _drop_broken(sources)
        _drop_doubles(sources)
        return sorted(self._build_items([source for source in sources if source.paths]), key=lambda item: item.key)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def _read_instance(self, instance: bpy.types.DepsgraphObjectInstance) -> None:
        evaluated, parent = instance.object, instance.parent if instance.is_instance else None
        key = (
            (instance.instance_object or evaluated).as_pointer(),
            evaluated.data.as_pointer() if evaluated.data else 0,
            parent.as_pointer() if parent else 0,
        )
        if key not in self._sources:
            self._sources[key] = self._read_source(instance)
        source = self._sources[key]
        if source is not None:
            source.paths.append(_read_path(instance) if parent else ())
            source.matrices.append(instance.matrix_world.copy())
        elif evaluated.type == "EMPTY" and parent:
            self._instancers[parent.name_full, _read_path(instance)] = evaluated.name_full

    def _read_source(self, instance: bpy.types.DepsgraphObjectInstance) -> Source | None:
        """What is read once of a geometry; None where it does not render, or no camera sees it."""
        evaluated = instance.object
        if evaluated.type not in RENDERED_TYPES:
            return None
        surfaces = [self._get_surface(slot.material) for slot in evaluated.material_slots] or [Surface()]
        if not is_seen_by_cameras(instance, self._layer):
            self.unseen.add(evaluated.original.name_full)
            return None
        fringe = read_fringe(evaluated, instance.show_particles)
        if not instance.show_self and not len(fringe):
            return None
        mesh = self._get_mesh(evaluated) if evaluated.type in MESH_LIKE_TYPES and instance.show_self else None
        solid = mesh is not None and len(mesh.vertices)
        return Source(
            origin=self._get_origin(instance),
            kind=evaluated.type,
            is_shown=instance.show_self,
            mesh=mesh,
            surfaces=surfaces,
            bound_box=np.array(evaluated.bound_box) if instance.show_self and not solid else None,
            fringe=fringe,
        )

    def _get_origin(self, instance: bpy.types.DepsgraphObjectInstance) -> Origin:
        original = instance.object.original
        parent = instance.parent.original if instance.is_instance and instance.parent else None
        if parent == original:  # what it makes of its own geometry is a part of it
            parent = None
        key = original.name_full, parent.name_full if parent else ""
        if key not in self._origins:
            collection = self._collections.get((parent or original).name_full)
            excluded = next((self._excluded[name] for name in key if name in self._excluded), "")
            self._origins[key] = Origin(
                original=key[0],
                instance_of=key[1],
                in_collection_instance=bool(parent and parent.instance_type == "COLLECTION"),
                label=_find_label(_list_label_holders(original, parent, collection)),
                collection=collection.name if collection else "",
                parents=_list_parents(original, parent),
                exclusion=excluded or ("shadow catcher" if instance.object.is_shadow_catcher else ""),
            )
        return self._origins[key]

    def _get_surface(self, material: bpy.types.Material | None) -> Surface:
        name = material.name_full if material else ""
        if name not in self._surfaces:
            missing_files = self._missing_files.get(name, ())
            self._surfaces[name] = read_surface(material.original if material else None, missing_files)
        return self._surfaces[name]

    def _get_mesh(self, evaluated: bpy.types.Object) -> Mesh | None:
        """Triangles of an evaluated object, read once per evaluated mesh."""
        direct = evaluated.type == "MESH" and evaluated.mode != "EDIT"  # a mesh under edit is elsewhere until asked for
        key = ("", evaluated.data.as_pointer()) if direct and evaluated.data else (evaluated.original.name_full, 0)
        if key not in self._meshes:
            mesh: Any = evaluated.data if direct else evaluated.to_mesh()
            if mesh is None:
                return None
            self._meshes[key] = _copy_mesh(mesh)
            if not direct:
                evaluated.to_mesh_clear()
        return self._meshes[key]

    # ---- items -------------------------------------------------------------------------------------------------------

    def _build_items(self, sources: Sequence[Source]) -> list[Item]:
        by_origin: dict[Origin, list[Source]] = {}
        for source in sources:
            by_origin.setdefault(source.origin, []).append(source)
        limit = _compute_size_limit(sources)
        items = [item for origin, members in by_origin.items() for item in _split_into_items(origin, members, limit)]
        self._name_units([item for item in items if item.origin.instance_of and item.path])
        return items

    def _name_units(self, items: Sequence[Item]) -> None:
        """Name what each instance is a part of: its collection instance, or what stands at one point of a scatterer."""
        groups: dict[tuple[str, Path], list[Item]] = {}
        for item in items:
            groups.setdefault((item.origin.instance_of, item.path[:-1]), []).append(item)
        for (instancer, path), members in groups.items():
            together = self._is_collection(members) if path else members[0].origin.in_collection_instance
            for item in members:
                item.unit = name_group(instancer, path if together else item.path, self._instancers)

    def _is_collection(self, items: Sequence[Item]) -> bool:
        """Whether items at one point are what one collection holds, rather than as many instances."""
        if len(items) == 1:
            return True
        names = [item.origin.original for item in items]
        home = {name: np.array(bpy.data.objects[name].evaluated_get(self._depsgraph).matrix_world) for name in names}
        return is_rigid(names, [item.pieces[0].matrices[0] for item in items], home)


def _compute_boxes(source: Source) -> NDArray[np.float64]:
    """Lower and upper corner of each copy, (N, 2, 3)."""
    return Piece(source, source.matrices, None).boxes


def _compute_size_limit(sources: Sequence[Source]) -> float:
    """The diagonal below which an instance is too small for a subject; 0 where nothing is there in masses."""
    if all(len(source.paths) <= MASS for source in sources):
        return 0.0
    low, high = compute_extent(np.concatenate([_compute_boxes(source) for source in sources]))
    return SMALLEST * float(np.linalg.norm(high - low))


def _split_into_items(origin: Origin, sources: Sequence[Source], limit: float) -> list[Item]:
    """One item for each instance, with all that it makes of its own geometry."""
    if not origin.instance_of:
        pieces = [Piece(source, source.matrices, source.mesh) for source in sources]
        return [Item(origin, (), origin.original, pieces)]
    known = {path for source in sources for path in source.paths}
    items: dict[Path, Item] = {}
    for source in sources:
        rows = _join_mass(source, _find_rows(source, known), limit)
        for path, group in rows.items():
            item = items.setdefault(path, Item(origin, path, origin.instance_of, []))
            item.pieces.append(Piece(source, source.matrices[group], source.mesh))
    return list(items.values())


def _join_mass(source: Source, rows: dict[Path, list[int]], limit: float) -> dict[Path, list[int]]:
    """The copies by their paths, but a mass of small ones as one, without a path: none of them could be a subject."""
    if len(rows) <= MASS:
        return rows
    is_small = np.linalg.norm(np.ptp(_compute_boxes(source), axis=1), axis=1) < limit
    mass = [group[0] for group in rows.values() if len(group) == 1 and is_small[group[0]]]
    if len(mass) <= MASS:
        return rows
    return {path: group for path, group in rows.items() if len(group) > 1 or not is_small[group[0]]} | {(): mass}


def _find_rows(source: Source, known: Collection[Path]) -> dict[Path, list[int]]:
    """Which copies belong to the instance at each path."""
    alike = set(source.paths)
    rows: dict[Path, list[int]] = {}
    for row, path in enumerate(number_repeated(source.paths)):
        rows.setdefault(find_owner(path, alike, known), []).append(row)
    return rows


def _read_path(instance: bpy.types.DepsgraphObjectInstance) -> Path:
    """The numbers of an instance on each level, the outermost first."""
    numbers: Any = instance.persistent_id
    return tuple(number for number in tuple(numbers)[::-1] if number != NO_LEVEL)


def _drop_broken(sources: Sequence[Source]) -> None:
    """Take out what has a matrix that is not finite, and turn the rest of each source into an array (N, 4, 4)."""
    every = np.array([matrix for source in sources for matrix in source.matrices], dtype=np.float64).reshape(-1, 4, 4)
    finite = np.isfinite(every).all(axis=(1, 2))
    ends = np.cumsum([len(source.matrices) for source in sources])
    for source, end in zip(sources, ends.tolist(), strict=True):
        rows = slice(end - len(source.matrices), end)
        _keep(source, finite[rows], every[rows])


def _drop_doubles(sources: Sequence[Source]) -> None:
    """Blender lists a curve, text or metaball twice, as itself and as the mesh that it makes: the mesh is what
    renders."""
    others = [source for source in sources if source.kind != "MESH"]
    names = {source.origin.original for source in others}
    meshes = {
        (source.origin.original, matrix.tobytes())
        for source in sources
        if source.kind == "MESH" and source.origin.original in names
        for matrix in source.matrices
    }
    for source in others:
        own = [(source.origin.original, matrix.tobytes()) not in meshes for matrix in source.matrices]
        _keep(source, np.array(own, dtype=bool), source.matrices)


def _keep(source: Source, kept: NDArray[np.bool_], matrices: NDArray[np.float64]) -> None:
    source.matrices = matrices
    if not kept.all():
        source.matrices = matrices[kept]
        source.paths = [path for path, is_kept in zip(source.paths, kept, strict=True) if is_kept]


def _map_collections(scene: bpy.types.Scene) -> dict[str, bpy.types.Collection]:
    """The innermost collection of every object of the scene that is in one, by the object's full name."""
    inner = scene.collection.children_recursive
    return {member.name_full: collection for collection in inner for member in collection.objects}


def _list_parents(original: bpy.types.Object, instancer: bpy.types.Object | None) -> tuple[str, ...]:
    """What an object hangs on, the nearest first: its instancer, or the surface that it grows on, and the parents."""
    surface = getattr(original.data, "surface", None) if original.type == "CURVES" else None
    above: bpy.types.Object | None = instancer or surface or original.parent
    names: dict[str, None] = {}
    while above is not None and above.name_full not in names:
        names[above.name_full] = None
        above = above.parent
    return tuple(names)


def _find_label(holders: list[bpy.types.ID]) -> str:
    """The label that a person set: our custom property, else the name of something marked as an asset."""
    for holder in holders:
        if isinstance(label := holder.get("blendset_label"), str) and label.strip():
            return decode_text(label.strip())
    for holder in holders:
        if holder.asset_data is not None:
            return label_from_name(holder.name) or holder.name
    return ""


def _list_label_holders(
    original: bpy.types.Object, parent: bpy.types.Object | None, collection: bpy.types.Collection | None
) -> list[bpy.types.ID]:
    """What may carry a label for an object, the first counts: instancer, the object and its parents, collection."""
    holders: list[bpy.types.ID] = []
    if parent is not None:
        holders += [parent, *([parent.instance_collection] if parent.instance_collection else [])]
    above: bpy.types.Object | None = original
    while above is not None:
        holders.append(above)
        above = above.parent
    return [*holders, *([collection] if collection else [])]


def _copy_mesh(mesh: bpy.types.Mesh) -> Mesh:
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    vertices = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    triangles = np.empty(count * 3, dtype=np.int32)
    material_indices = np.empty(count, dtype=np.int32)
    mesh.vertices.foreach_get("co", vertices)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    mesh.loop_triangles.foreach_get("material_index", material_indices)
    return Mesh(vertices.reshape(-1, 3), triangles.reshape(-1, 3), material_indices)

# SPDX-License-Identifier: GPL-3.0-or-later
"""From the render depsgraph to the core's Snapshot: every object and instance, its triangles in world space, where it
is in the file.

Instances become objects of their own; ids follow names, not Blender's order, so that they are the same in every
version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from blendset.placement.labels import label_from_name
from blendset.placement.scene import SceneObject, Snapshot

from ..compat import GREASE_PENCIL_TYPES
from .cameras import SceneCameras, get_picture_size, list_camera_objects, read_cameras
from .geometry import JoinedGeometry
from .materials import Surface, is_missing, read_surface
from .names import decode_text
from .render_depsgraph import call_with_render_depsgraph

MESH_LIKE_TYPES = {"MESH", "CURVE", "SURFACE", "FONT", "META"}
RENDERED_TYPES = MESH_LIKE_TYPES | {"CURVES", "POINTCLOUD", "VOLUME"} | GREASE_PENCIL_TYPES
TRIANGLE_LIMIT = 8_000_000
"""Above this many triangles in all, heavily instanced meshes are thinned for the rays; what is rendered stays whole."""
MAX_PASS_INDEX = 32_767


@dataclass(frozen=True, eq=False)
class OpenScene:
    """A snapshot and its geometry for rays, with what ties it to Blender.

    `pass_indices` (N + 1,) are the values that objects render with in the index pass, by id; `pass_index_by_name` holds
    them by the full names of Blender's objects. `missing_files` and `notes` are for a person; `emissive` is true where
    any surface emits light; `cameras` are the artist's own.
    """

    snapshot: Snapshot
    geometry: JoinedGeometry
    pass_indices: NDArray[np.int32]
    pass_index_by_name: dict[str, int]
    missing_files: tuple[str, ...]
    notes: tuple[str, ...]
    emissive: bool
    cameras: SceneCameras


@dataclass(eq=False)
class _Mesh:
    """Local geometry of one evaluated mesh: vertices (V, 3), triangles (T, 3), and `material_indices` (T,)."""

    vertices: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material_indices: NDArray[np.int32]


@dataclass(eq=False)
class _Item:
    """One object or instance of the depsgraph."""

    key: tuple[str, ...]
    original: str
    label: str
    collection: str
    unit: str
    instance_of: str
    kind: str
    matrix: NDArray[np.float64]
    mesh: _Mesh | None
    surfaces: list[Surface]
    objection: str
    box: NDArray[np.float64]


@dataclass
class _Gathering:
    """What one pass over the depsgraph collects."""

    items: list[_Item] = field(default_factory=list)
    meshes: dict[tuple[str, int], _Mesh] = field(default_factory=dict)
    surfaces: dict[str, Surface] = field(default_factory=dict)
    collections: dict[str, bpy.types.Collection] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()


def find_rendered_layer(scene: bpy.types.Scene) -> str:
    """The first view layer that is switched on for rendering."""
    return next((layer.name for layer in scene.view_layers if layer.use), scene.view_layers[0].name)


def open_scene(scene: bpy.types.Scene, layer: str) -> OpenScene:
    """Take the snapshot of one view layer as it renders now."""
    excluded = _find_excluded_names(scene, scene.view_layers[layer])
    holders, size = list_camera_objects(scene), get_picture_size(scene)
    items, cameras = call_with_render_depsgraph(
        scene,
        layer,
        lambda depsgraph: (_gather_items(depsgraph, scene, excluded), read_cameras(depsgraph, holders, size)),
    )
    items.sort(key=lambda item: item.key)
    notes = _thin_meshes(items)
    originals = sorted({item.original for item in items})
    pass_index_by_name = {name: 1 + number % MAX_PASS_INDEX for number, name in enumerate(originals)}
    snapshot = _join_items(items, get_metres_per_unit(scene))
    if missing := sorted({image for item in items for surface in item.surfaces for image in surface.missing_images}):
        notes.append(f"textures missing: {', '.join(missing)}")
    return OpenScene(
        snapshot=snapshot,
        geometry=JoinedGeometry(snapshot),
        pass_indices=np.array([0] + [pass_index_by_name[item.original] for item in items], dtype=np.int32),
        pass_index_by_name=pass_index_by_name,
        missing_files=tuple(list_missing_files()),
        notes=tuple(notes),
        emissive=any(surface.emissive for item in items for surface in item.surfaces),
        cameras=cameras,
    )


def get_metres_per_unit(scene: bpy.types.Scene) -> float:
    """Metres in one Blender unit. Without a unit system Blender itself ignores the scale, which may hold anything."""
    units = scene.unit_settings
    return float(units.scale_length) if units.system != "NONE" else 1.0


def list_missing_files() -> list[str]:
    """Paths of images and libraries that the file refers to and that are not there."""
    images = [image.filepath or image.name for image in bpy.data.images if image.users and is_missing(image)]
    libraries = [library.filepath for library in bpy.data.libraries if library.is_missing]
    lost = [f"{thing.name} (linked)" for thing in bpy.data.objects if thing.is_missing]
    return sorted({*images, *libraries, *lost})


# ---- gathering, inside the render call -------------------------------------------------------------------------------


def _find_excluded_names(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> frozenset[str]:
    """Objects that may stand in a picture but are never what it is about: holdouts and the cutters of boolean
    modifiers."""
    names = {thing.name_full for thing in scene.objects if thing.is_holdout or thing.holdout_get(view_layer=layer)}
    for thing in scene.objects:
        for modifier in thing.modifiers:
            cutter = modifier.object if modifier.type == "BOOLEAN" else None
            if cutter is not None and cutter.display_type in {"WIRE", "BOUNDS"}:
                names.add(cutter.name_full)
    return frozenset(names)


def _gather_items(depsgraph: bpy.types.Depsgraph, scene: bpy.types.Scene, excluded: frozenset[str]) -> list[_Item]:
    gathering = _Gathering(collections=_map_collections(scene), excluded=excluded)
    for instance in depsgraph.object_instances:
        evaluated = instance.object
        if evaluated.type in RENDERED_TYPES and instance.show_self and evaluated.visible_camera:
            item = _build_item(gathering, instance)
            if item is not None:
                gathering.items.append(item)
    return _drop_doubles(gathering.items)


def _drop_doubles(items: list[_Item]) -> list[_Item]:
    """Blender lists a curve, text or metaball twice, as itself and as the mesh that it makes: the mesh is what
    renders."""
    meshes = {(item.original, item.matrix.tobytes()) for item in items if item.kind == "MESH"}
    return [item for item in items if item.kind == "MESH" or (item.original, item.matrix.tobytes()) not in meshes]


def _map_collections(scene: bpy.types.Scene) -> dict[str, bpy.types.Collection]:
    """The innermost collection of every object of the scene that is in one, by the object's full name."""
    inner = scene.collection.children_recursive
    return {member.name_full: collection for collection in inner for member in collection.objects}


def _build_item(gathering: _Gathering, instance: bpy.types.DepsgraphObjectInstance) -> _Item | None:
    evaluated = instance.object
    original = evaluated.original
    matrix = np.array(instance.matrix_world, dtype=np.float64)
    if not np.isfinite(matrix).all():
        return None
    parent = instance.parent.original if instance.is_instance and instance.parent else None
    collection = gathering.collections.get((parent or original).name_full)
    mesh = _get_mesh(gathering, evaluated) if evaluated.type in MESH_LIKE_TYPES else None
    surfaces = [_get_surface(gathering, slot.material) for slot in evaluated.material_slots] or [Surface()]
    corners = np.array(evaluated.bound_box) @ matrix[:3, :3].T + matrix[:3, 3]
    identity = ".".join(str(number) for number in instance.persistent_id if number not in (0, 2**31 - 1, -(2**31)))
    return _Item(
        key=(original.name_full, parent.name_full if parent else "", identity.rjust(24, "0")),
        original=original.name_full,
        label=_find_label(_list_label_holders(original, parent, collection)),
        collection=collection.name if collection else "",
        unit=_name_unit(original, parent, identity),
        instance_of=parent.name_full if parent else "",
        kind=evaluated.type,
        matrix=matrix,
        mesh=mesh,
        surfaces=surfaces,
        objection=_find_objection(gathering, evaluated, surfaces),
        box=np.stack([corners.min(axis=0), corners.max(axis=0)]),
    )


def _find_objection(gathering: _Gathering, evaluated: bpy.types.Object, surfaces: list[Surface]) -> str:
    """Why an object can be no subject, or ""; a thing that only shines is a lamp's light, not a lamp."""
    if evaluated.is_holdout or evaluated.is_shadow_catcher or evaluated.original.name_full in gathering.excluded:
        return "holdout, shadow catcher or boolean cutter"
    return "only shines" if all(surface.emissive for surface in surfaces) else ""


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


def _name_unit(original: bpy.types.Object, parent: bpy.types.Object | None, identity: str) -> str:
    """The asset that an object belongs to: its collection instance, its own instance, or the root that it is
    parented to."""
    if parent is not None:
        return parent.name_full if parent.instance_type == "COLLECTION" else f"{parent.name_full}#{identity}"
    root = original
    while root.parent is not None:
        root = root.parent
    return root.name_full


def _get_surface(gathering: _Gathering, material: bpy.types.Material | None) -> Surface:
    name = material.name_full if material else ""
    if name not in gathering.surfaces:
        gathering.surfaces[name] = read_surface(material.original if material else None)
    return gathering.surfaces[name]


def _get_mesh(gathering: _Gathering, evaluated: bpy.types.Object) -> _Mesh | None:
    """Triangles of an evaluated object, read once per evaluated mesh."""
    direct = evaluated.type == "MESH" and evaluated.mode != "EDIT"  # a mesh under edit is elsewhere until asked for
    key = (evaluated.original.name_full, evaluated.data.as_pointer() if direct and evaluated.data else 0)
    if key not in gathering.meshes:
        mesh: Any = evaluated.data if direct else evaluated.to_mesh()
        if mesh is None:
            return None
        gathering.meshes[key] = _copy_mesh(mesh)
        if not direct:
            evaluated.to_mesh_clear()
    return gathering.meshes[key]


def _copy_mesh(mesh: bpy.types.Mesh) -> _Mesh:
    mesh.calc_loop_triangles()
    count = len(mesh.loop_triangles)
    vertices = np.empty(len(mesh.vertices) * 3, dtype=np.float32)
    triangles = np.empty(count * 3, dtype=np.int32)
    material_indices = np.empty(count, dtype=np.int32)
    mesh.vertices.foreach_get("co", vertices)
    mesh.loop_triangles.foreach_get("vertices", triangles)
    mesh.loop_triangles.foreach_get("material_index", material_indices)
    return _Mesh(vertices.reshape(-1, 3), triangles.reshape(-1, 3), material_indices)


# ---- joining ---------------------------------------------------------------------------------------------------------


def _thin_meshes(items: list[_Item]) -> list[str]:
    """Keep the joined geometry within memory; returns a note when it had to."""
    total = sum(len(item.mesh.triangles) for item in items if item.mesh)
    if total <= TRIANGLE_LIMIT:
        return []
    share = TRIANGLE_LIMIT / total
    thinned: dict[int, _Mesh] = {}
    for item in items:
        if item.mesh and len(item.mesh.triangles) > 64:
            item.mesh = thinned.setdefault(id(item.mesh), cluster_vertices(item.mesh, share))
    return [f"{total:,} triangles are more than rays can hold; screening uses a coarser shape of them"]


def cluster_vertices(mesh: _Mesh, share: float) -> _Mesh:
    """A mesh of about `share` of the triangles: vertices within a cell of a grid are merged (Rossignac and Borrel
    1993)."""
    low = mesh.vertices.min(axis=0)
    size = np.maximum(mesh.vertices.max(axis=0) - low, 1e-9)
    cells = max(2.0, (len(mesh.triangles) * share / 2) ** 0.5)
    grid = np.floor((mesh.vertices - low) / (size.max() / cells)).astype(np.int64)
    _, first, cluster = np.unique(grid @ [1, 2**20, 2**40], return_index=True, return_inverse=True)
    merged = cluster.reshape(-1)[mesh.triangles]
    valid = (merged[:, 0] != merged[:, 1]) & (merged[:, 1] != merged[:, 2]) & (merged[:, 0] != merged[:, 2])
    _, unique = np.unique(np.sort(merged[valid], axis=1), axis=0, return_index=True)
    return _Mesh(mesh.vertices[first], merged[valid][unique].astype(np.int32), mesh.material_indices[valid][unique])


def _join_items(items: list[_Item], metres_per_unit: float) -> Snapshot:
    vertices: list[NDArray[np.float64]] = []
    triangles: list[NDArray[np.int32]] = []
    albedo: list[NDArray[np.float32]] = []
    objects: list[SceneObject] = []
    corner = start = 0
    for number, item in enumerate(items, 1):
        visible = _find_visible_triangles(item)
        if item.mesh is not None and visible is not None:
            vertices.append(item.mesh.vertices @ item.matrix[:3, :3].T + item.matrix[:3, 3])
            triangles.append(_turn_outward(item, item.mesh.triangles[visible]) + corner)
            greys = np.array([surface.albedo for surface in item.surfaces], dtype=np.float32)
            albedo.append(greys[np.clip(item.mesh.material_indices[visible], 0, len(greys) - 1)])
            corner += len(item.mesh.vertices)
        count = len(triangles[-1]) if item.mesh is not None and visible is not None else 0
        objects.append(_build_object(number, item, (start, start + count)))
        start += count
    return Snapshot(
        tuple(objects),
        np.concatenate(vertices) if vertices else np.zeros((0, 3)),
        np.concatenate(triangles) if triangles else np.zeros((0, 3), dtype=np.int32),
        np.concatenate(albedo) if albedo else np.zeros(0, dtype=np.float32),
        metres_per_unit,
    )


def _find_visible_triangles(item: _Item) -> NDArray[np.bool_] | None:
    """Which triangles (T,) have a surface that a camera can see; None where there is no mesh."""
    if item.mesh is None:
        return None
    visible = np.array([surface.visible for surface in item.surfaces])
    return np.asarray(visible[np.clip(item.mesh.material_indices, 0, len(visible) - 1)])


def _turn_outward(item: _Item, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Turn the triangles of a mirrored object, whose faces would be inside out."""
    return triangles[:, ::-1] if np.linalg.det(item.matrix[:3, :3]) < 0 else triangles


def _build_object(number: int, item: _Item, triangles: tuple[int, int]) -> SceneObject:
    low, high = (tuple(float(value) for value in corner) for corner in item.box)
    return SceneObject(
        id=number,
        name=item.original,
        label=item.label,
        collection=item.collection,
        materials=tuple(dict.fromkeys(surface.name for surface in item.surfaces if surface.name)),
        unit=item.unit,
        triangles=triangles,
        instance_of=item.instance_of,
        objection=item.objection,
        textured=any(surface.textured for surface in item.surfaces),
        missing_files=tuple(sorted({path for surface in item.surfaces for path in surface.missing_images})),
        bounds=None if triangles[1] > triangles[0] else (low, high),  # type: ignore[arg-type]
    )

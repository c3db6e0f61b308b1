# SPDX-License-Identifier: GPL-3.0-or-later
"""From the render depsgraph to the core's Snapshot: every object and instance, its triangles in world space, where it
is in the file.

Instances become objects of their own; ids follow names, not Blender's order, so that they are the same in every
version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from blendset.placement.scene import SceneObject, Snapshot
from blendset.records import Vector

from .cameras import SceneCameras, get_picture_size, list_camera_objects, read_cameras
from .externals.files import NOTHING_LOST, Externals
from .gathering import MASS, Gathering, Item, Mesh, Piece
from .geometry import JoinedGeometry
from .lights import Lamp, list_lamps
from .materials import Surface
from .render_depsgraph import call_with_render_depsgraph

CLUTTER_LIMIT = 100_000
"""So many triangles stand for the copies that items have in masses; what is rendered stays whole."""
TRIANGLE_LIMIT = 8_000_000
"""Above this many triangles in all, heavily instanced meshes are thinned for the rays; what is rendered stays whole."""
MAX_PASS_INDEX = 32_767


@dataclass(frozen=True, eq=False)
class OpenScene:
    """A snapshot and its geometry for rays, with what ties it to Blender.

    `pass_indices` (N + 1,) are the values that objects render with in the index pass, by id; `pass_index_by_name` holds
    them by the full names of Blender's objects. `externals` are the files that the scene lacks, `lacking` the textures
    of objects among them, by id. `unseen` are the names of what renders and no camera sees; `notes` are for a person;
    `emissive` is true where any surface emits light; `cameras` are the artist's own, `lamps` all that give light.
    `world_offset` is as SceneRecord has it.
    """

    snapshot: Snapshot
    geometry: JoinedGeometry
    pass_indices: NDArray[np.int32]
    pass_index_by_name: dict[str, int]
    externals: Externals
    lacking: dict[int, tuple[str, ...]]
    unseen: frozenset[str]
    notes: tuple[str, ...]
    emissive: bool
    cameras: SceneCameras
    lamps: tuple[Lamp, ...]
    world_offset: Vector = (0.0, 0.0, 0.0)


def open_scene(
    scene: bpy.types.Scene, layer: str, externals: Externals = NOTHING_LOST, neutral: bool = False
) -> OpenScene:
    """Take the snapshot of one view layer as it renders now; with `neutral` something stands in for lost textures, and
    they are no reason against an object."""
    excluded = _find_excluded(scene, scene.view_layers[layer])
    holders, size = list_camera_objects(scene), get_picture_size(scene)
    gathering = Gathering(scene, scene.view_layers[layer], excluded, externals.list_paths())
    items, cameras, lamps = call_with_render_depsgraph(
        scene,
        layer,
        lambda depsgraph: (
            gathering.gather(depsgraph),
            read_cameras(depsgraph, holders, size),
            list_lamps(depsgraph),
        ),
    )
    _thin_clutter(items)
    notes = _thin_meshes(items)
    originals = sorted({item.origin.original for item in items})
    pass_index_by_name = {name: 1 + number % MAX_PASS_INDEX for number, name in enumerate(originals)}
    lacking = {number: files for number, item in enumerate(items, 1) if (files := _list_missing_files(item))}
    snapshot = _join_items(items, get_metres_per_unit(scene), {} if neutral else lacking)
    return OpenScene(
        snapshot=snapshot,
        geometry=JoinedGeometry(snapshot),
        pass_indices=np.array([0] + [pass_index_by_name[item.origin.original] for item in items], dtype=np.int32),
        pass_index_by_name=pass_index_by_name,
        externals=externals,
        lacking=lacking,
        unseen=frozenset(gathering.unseen),
        notes=tuple(notes),
        emissive=gathering.emissive,
        cameras=cameras,
        lamps=lamps,
    )


def get_metres_per_unit(scene: bpy.types.Scene) -> float:
    """Metres in one Blender unit. Without a unit system Blender itself ignores the scale, which may hold anything."""
    units = scene.unit_settings
    return float(units.scale_length) if units.system != "NONE" else 1.0


def _find_excluded(scene: bpy.types.Scene, layer: bpy.types.ViewLayer) -> dict[str, str]:
    """Objects that may stand in a picture but are never what it is about, and why, by full names."""
    excluded: dict[str, str] = {}
    for thing in scene.objects:
        for modifier in thing.modifiers:
            cutter = modifier.object if modifier.type == "BOOLEAN" else None
            if cutter is not None and cutter.display_type in {"WIRE", "BOUNDS"}:
                excluded[cutter.name_full] = "boolean cutter"
    for thing in scene.objects:
        if thing.is_holdout or thing.holdout_get(view_layer=layer):
            excluded[thing.name_full] = "holdout"
    return excluded


# ---- joining ---------------------------------------------------------------------------------------------------------


def _thin_meshes(items: list[Item]) -> list[str]:
    """Keep the joined geometry within memory; returns a note when it had to."""
    pieces = [piece for item in items for piece in item.pieces if piece.mesh is not None]
    total = sum(_count_triangles(piece) for piece in pieces)
    if total <= TRIANGLE_LIMIT:
        return []
    _cluster([piece for piece in pieces if piece.mesh and len(piece.mesh.triangles) > 64], TRIANGLE_LIMIT / total)
    return [f"{total:,} triangles are more than rays can hold; screening uses a coarser shape of them"]


def _thin_clutter(items: list[Item]) -> None:
    """Put coarse shapes in the place of the small copies that an item has in masses, for rays: leaves and blades."""
    masses = [piece for item in items for piece in item.pieces if piece.mesh is not None and len(piece.matrices) > MASS]
    total = sum(map(_count_triangles, masses))
    if total <= CLUTTER_LIMIT:
        return
    _cluster(masses, CLUTTER_LIMIT / total)
    total = sum(map(_count_triangles, masses))
    if total > CLUTTER_LIMIT:
        for piece in masses:
            piece.matrices = _enlarge_some(piece, -(-total // CLUTTER_LIMIT))


def _count_triangles(piece: Piece) -> int:
    return len(piece.mesh.triangles) * len(piece.matrices) if piece.mesh else 0


def _cluster(pieces: list[Piece], share: float) -> None:
    """Make the meshes of pieces coarser, but for those of which nothing would be left."""
    coarser: dict[int, Mesh] = {}
    for piece in pieces:
        if piece.mesh is not None and len(piece.mesh.triangles):
            mesh = coarser.setdefault(id(piece.mesh), cluster_vertices(piece.mesh, share))
            piece.mesh = mesh if len(mesh.triangles) else piece.mesh


def _enlarge_some(piece: Piece, step: int) -> NDArray[np.float64]:
    """Matrices (N, 4, 4) of one in `step` copies, chosen by chance beside the outermost ones, so much larger that they
    cover as much as all."""
    middles = piece.boxes.mean(axis=1)
    outermost = [middles.argmin(axis=0), middles.argmax(axis=0)]
    kept = np.unique(np.concatenate([*outermost, np.random.default_rng(0).permutation(len(middles))[::step]]))
    matrices: NDArray[np.float64] = piece.matrices[kept].copy()
    scale = (len(middles) / len(kept)) ** 0.5
    matrices[:, :3, 3] += matrices[:, :3, :3] @ piece.source.corners.mean(axis=0) * (1 - scale)
    matrices[:, :3, :3] *= scale
    return matrices


def cluster_vertices(mesh: Mesh, share: float) -> Mesh:
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
    return Mesh(mesh.vertices[first], merged[valid][unique].astype(np.int32), mesh.material_indices[valid][unique])


def _list_missing_files(item: Item) -> tuple[str, ...]:
    """The textures that an item lacks; slots without a triangle do not show."""
    paths: set[str] = set()
    for source in {piece.source for piece in item.pieces}:
        if not any(surface.missing_files for surface in source.surfaces):
            continue
        slots = source.mesh.material_indices if source.mesh else np.zeros(0, dtype=np.int32)
        used = np.unique(np.clip(slots, 0, len(source.surfaces) - 1)) if len(slots) else range(len(source.surfaces))
        paths.update(path for slot in used for path in source.surfaces[slot].missing_files)
    return tuple(sorted(paths))


def _join_items(items: list[Item], metres_per_unit: float, missing_files: Mapping[int, tuple[str, ...]]) -> Snapshot:
    vertices: list[NDArray[np.float64]] = [np.zeros((0, 3))]
    triangles: list[NDArray[np.int32]] = [np.zeros((0, 3), dtype=np.int32)]
    albedo: list[NDArray[np.float32]] = [np.zeros(0, dtype=np.float32)]
    objects: list[SceneObject] = []
    corner = start = 0
    for number, item in enumerate(items, 1):
        end = start
        for piece in item.pieces:
            if piece.mesh is not None:
                visible, greys = _read_triangles(piece.mesh, piece.source.surfaces)
                vertices.append(_transform_vertices(piece.mesh, piece.matrices))
                triangles.append(_repeat_triangles(piece, piece.mesh.triangles[visible]) + corner)
                albedo.append(np.tile(greys[visible], len(piece.matrices)))
                corner, end = corner + len(vertices[-1]), end + len(triangles[-1])
        objects.append(_build_object(number, item, (start, end), missing_files.get(number, ())))
        start = end
    fringes = ((number, [piece.fringe for piece in item.pieces]) for number, item in enumerate(items, 1))
    return Snapshot(
        tuple(objects),
        np.concatenate(vertices),
        np.concatenate(triangles),
        np.concatenate(albedo),
        metres_per_unit,
        {number: np.concatenate(points) for number, points in fringes if any(map(len, points))},
    )


def _read_triangles(mesh: Mesh, surfaces: list[Surface]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which triangles (T,) have a surface that a camera can see, and the greys of all (T,)."""
    slots = np.clip(mesh.material_indices, 0, len(surfaces) - 1)
    visible = np.array([surface.visible for surface in surfaces])
    return visible[slots], np.array([surface.albedo for surface in surfaces], dtype=np.float32)[slots]


def _transform_vertices(mesh: Mesh, matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Vertices of all copies, (N V, 3)."""
    moved = mesh.vertices @ matrices[:, :3, :3].transpose(0, 2, 1) + matrices[:, None, :3, 3]
    return np.asarray(moved.reshape(-1, 3))


def _repeat_triangles(piece: Piece, triangles: NDArray[np.int32]) -> NDArray[np.int32]:
    """Triangles of all copies, (N T, 3); those of mirrored ones are turned, since their faces would be inside out."""
    assert piece.mesh is not None
    mirrored = np.linalg.det(piece.matrices[:, :3, :3]) < 0
    first = np.arange(len(piece.matrices), dtype=np.int32) * len(piece.mesh.vertices)
    turned = np.where(mirrored[:, None, None], triangles[:, ::-1], triangles) if mirrored.any() else triangles[None]
    return np.asarray((turned + first[:, None, None]).reshape(-1, 3), dtype=np.int32)


def _build_object(number: int, item: Item, triangles: tuple[int, int], missing_files: tuple[str, ...]) -> SceneObject:
    surfaces, origin = item.surfaces, item.origin
    return SceneObject(
        id=number,
        name=origin.original,
        label=origin.label,
        collection=origin.collection,
        materials=tuple(dict.fromkeys(surface.name for surface in surfaces if surface.name)),
        unit=item.unit,
        triangles=triangles,
        instance_of=origin.instance_of,
        parents=origin.parents,
        objection=item.objection,
        textured=any(surface.textured for surface in surfaces),
        missing_files=missing_files,
        bounds=None if triangles[1] > triangles[0] else _compute_box(item),
    )


def _compute_box(item: Item) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Lower and upper corner of what has no triangles."""
    boxes = np.concatenate([piece.boxes for piece in item.pieces])
    low, high = boxes[:, 0].min(axis=0).tolist(), boxes[:, 1].max(axis=0).tolist()
    return tuple(low), tuple(high)

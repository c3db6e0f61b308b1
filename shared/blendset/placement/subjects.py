# SPDX-License-Identifier: Apache-2.0
"""What a view may be about: objects grouped into asset units, without walls, parts and clutter.

Names are useless in most files and metres are wrong in many, so the rules are about shape, contact and size relative
to the scene.
"""

from __future__ import annotations

import fnmatch
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.config import SubjectSettings
from blendset.naming import slugify
from blendset.placement.labels import label_from_name
from blendset.placement.scene import SceneObject, Snapshot, fibonacci_sphere
from blendset.randomness import make_rng

STRUCTURAL_NAME = re.compile(r"(?:^|[^a-z])(wall|floor|ceil|roof|terrain|ground|room|shell|backdrop)", re.IGNORECASE)
"""Names of walls, floors and the like; they count for large objects only."""
STRUCTURAL_THINNESS = 0.05
"""An object is flat like a wall when its least side is so much of its longest."""
STRUCTURAL_SPREAD = 0.2
"""A flat object is structural when it covers so much of the scene's footprint."""
STRUCTURAL_SIZE = 0.35
"""An object is large when its diagonal is so much of the scene's."""
ROOM_SHARE = 0.5
"""A large object with more of the scene's objects inside its box than this is a room's shell."""
TABLE_TOP_SHARE = 0.5
"""A level surface with more of the other objects below it than this is a table top, if there is no floor beneath."""
FOLDER_SIZE = 0.5
"""A group whose diagonal is more than this share of the scene's is a folder of assets, and no asset."""
HOST_SIZE = 0.45
"""A unit whose diagonal is more than this share of the scene's takes no parts."""
HOST_RATIO = 1.15
"""A unit is part of another only where that one's diagonal is at least so many times its own."""
TOUCHING = 0.02
"""Gap between two boxes, in diagonals of the smaller one, up to which they touch."""
MERGE_ROUNDS = 4
"""Parts of parts are merged so often."""
PART_INSIDE, PART_INSIDE_SIZE = 0.7, 0.8
"""A unit with more of its box inside another's than this is part of it, if its diagonal is less than this share."""
SUPPORT_FOOTPRINT, SUPPORT_SLENDERNESS = 0.6, 0.35
"""A support has this share of its footprint under the other unit, and a second side of at most this share of its
longest."""
SUNK, SUNK_REPEATED, SUNK_SIZE = 0.1, 0.03, 0.5
"""Least depth, in sizes of a unit, by which it must sink into another to be its part, and the same for a unit that is
there REPEATED times; its diagonal is less than the last share of the other's."""
REPEATED = 3
LINE = 0.02
"""A unit whose second longest side is less than this share of its longest is a line."""
PANEL = 0.03
"""A unit whose shortest side is less than this share of its longest is a panel."""
PANEL_TRIANGLES = 64
"""A panel of more triangles than this may have something to show."""
ASTRAY = 0.5
"""Distance outside the scene's extent, in diagonals of the scene, from which a unit is astray."""
PLAIN_CONTRAST = 0.1
"""Difference of grey from which a thing has something to show."""
SURFACE_POINTS = 48
"""Points on the surface of each subject that gates cast rays at."""
SMALL_MESH, HULL_DIRECTIONS = 256, 512
"""Up to so many vertices a mesh frames itself; of a larger one the extremes in so many directions do."""
FEW_UNITS = 8
"""With fewer units than this, grouping has hidden the scene's subjects and is undone; with as many, plain boxes, bars
and boards are none."""
BOX_OR_TWO = 24
"""Triangles of what is hardly more than a box."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An asset unit to photograph.

    `hull` (K, 3) spans it for framing; `points` (48, 3) are spread over its surface by area; `copy` counts the
    subjects of the same shape before it.
    """

    id: str
    label: str
    objects: frozenset[int]
    copy: int
    hull: Array
    points: Array
    area: float
    missing_files: tuple[str, ...]

    @property
    def bounds(self) -> Array:
        """Lower and upper corner, (2, 3)."""
        return np.stack([self.hull.min(axis=0), self.hull.max(axis=0)])

    @property
    def centre(self) -> Array:
        """Centre of the bounding box, (3,): view angles are measured around it."""
        return np.asarray(self.bounds.mean(axis=0))

    @property
    def size(self) -> float:
        """Diagonal of the bounding box."""
        return float(np.linalg.norm(self.bounds[1] - self.bounds[0]))


@dataclass(frozen=True)
class SubjectSearch:
    """The subjects, the ids of structural objects, and why every other unit is none (a count by reason)."""

    subjects: tuple[Subject, ...]
    structural: frozenset[int]
    left_out: dict[str, int]


def find_subjects(scene: Snapshot, settings: SubjectSettings, seed: int) -> SubjectSearch:
    """Group objects into units, choose the subjects among them, and sample points on their surfaces.

    Order and ids depend on the scene alone; the surface points depend on the seed as well.
    """
    structural = find_structural_objects(scene)
    units = _merge_parts(scene, _group_into_units(scene, structural))
    any_size = replace(settings, smallest=0.0, largest=np.inf)
    chosen: list[_Unit] = []
    for attempt, limits in (
        (units, settings),
        (
            _merge_parts(scene, _split_too_large(scene, units, settings)),
            settings,
        ),  # grouping may have swallowed the scene
        (units, any_size),
        (
            _group_into_units(scene, frozenset()),
            any_size,
        ),  # one mesh that is the whole scene: better a view of all than no view
    ):
        left_out: dict[str, int] = defaultdict(int)
        chosen = _select_units(scene, attempt, limits, left_out)
        if len(chosen) >= FEW_UNITS or (chosen and attempt is not units) or (chosen and limits is any_size):
            break
    telling = [unit for unit in chosen if settings.include or not _is_plain(scene, unit, BOX_OR_TWO)]
    if FEW_UNITS <= len(telling) < len(chosen):
        left_out["plain"] += len(chosen) - len(telling)
        chosen = telling
    names: set[str] = set()
    copies: Counter[tuple[int, ...]] = Counter()
    subjects = []
    for unit in chosen:
        subjects.append(_make_subject(scene, unit, seed, names, copies[unit.shape]))
        copies[unit.shape] += 1
    return SubjectSearch(tuple(subjects), structural, dict(left_out))


def find_structural_objects(scene: Snapshot) -> frozenset[int]:
    """Return the ids of walls, floors, ceilings, terrain and room shells."""
    boxes, diagonal = scene.bounds, scene.diagonal
    sizes = boxes[:, 1] - boxes[:, 0]
    footprint = float(np.prod((scene.extent[1] - scene.extent[0])[:2])) or 1.0
    centres = np.nan_to_num(boxes.mean(axis=1), nan=np.inf)
    found = set()
    for thing, box, size in zip(scene.objects, boxes, sizes, strict=True):
        if np.isnan(size[0]) or thing.label:
            continue
        thin = size.min() < STRUCTURAL_THINNESS * max(size.max(), 1e-12)
        spread = float(np.partition(size, 1)[1] * size.max())
        large = np.linalg.norm(size) > STRUCTURAL_SIZE * diagonal
        wide = thin and spread > STRUCTURAL_SPREAD * footprint
        if wide or (large and (STRUCTURAL_NAME.search(thing.name) or _compute_share_inside(box, centres) > ROOM_SHARE)):
            found.add(thing.id)
    return frozenset(found - _find_table_tops(scene, found))


def _find_table_tops(scene: Snapshot, structural: set[int]) -> set[int]:
    """Level surfaces with most other things below and no floor beneath: the top of a table that is the whole file."""
    boxes = scene.bounds
    middles = boxes.mean(axis=1)[:, 2]
    tops = set()
    for id_ in structural:
        size = boxes[id_ - 1, 1] - boxes[id_ - 1, 0]
        below = np.delete(middles, id_ - 1) < middles[id_ - 1]
        floors = [other for other in structural if other != id_ and middles[other - 1] < middles[id_ - 1]]
        if size[2] < STRUCTURAL_THINNESS * size.max() and below.any() and below.mean() > TABLE_TOP_SHARE and not floors:
            tops.add(id_)
    return tops


def _compute_share_inside(box: Array, points: Array) -> float:
    """Share of points (N, 3) inside a box (2, 3)."""
    return float(np.mean(((points > box[0]) & (points < box[1])).all(axis=1)))


# ---- units -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Unit:
    """Objects that belong together: the name they go by, the box around them, and what their shape can be told by."""

    key: str
    objects: tuple[SceneObject, ...]
    box: Array
    shape: tuple[int, ...]

    @property
    def size(self) -> Array:
        return np.asarray(self.box[1] - self.box[0])

    @property
    def diagonal(self) -> float:
        return float(np.linalg.norm(self.size))


def _make_unit(scene: Snapshot, objects: Iterable[SceneObject], root: str = "") -> _Unit:
    members = tuple(sorted(objects, key=lambda thing: thing.id))
    boxes = scene.bounds[[thing.id - 1 for thing in members]]
    box = np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])
    return _Unit(root or members[0].unit, members, box, _compute_shape_key(scene, members))


def _compute_shape_key(scene: Snapshot, members: tuple[SceneObject, ...]) -> tuple[int, ...]:
    """What copies have in common wherever they stand and however they are turned: triangle counts and area, to about
    5 %."""
    triangles = scene.find_triangles(thing.id for thing in members)
    area = float(scene.areas[triangles].sum())
    return (*sorted(thing.triangles[1] - thing.triangles[0] for thing in members), round(20 * np.log(max(area, 1e-12))))


def _group_into_units(scene: Snapshot, structural: frozenset[int]) -> list[_Unit]:
    """Objects by the asset that they belong to. A group wider than half the scene is a folder, not an asset."""
    groups: dict[str, list[SceneObject]] = defaultdict(list)
    for thing in scene.objects:
        if thing.id not in structural and not thing.objection and thing.triangles[1] > thing.triangles[0]:
            groups[thing.unit].append(thing)
    units: list[_Unit] = []
    for members in groups.values():
        group = _make_unit(scene, members)
        folder = len(members) > 1 and group.diagonal > FOLDER_SIZE * scene.diagonal
        units += [_make_unit(scene, [thing]) for thing in members] if folder else [group]
    return units


def _split_too_large(scene: Snapshot, units: list[_Unit], settings: SubjectSettings) -> list[_Unit]:
    """Units with those that are too large replaced by their objects."""
    large = {unit.key for unit in units if _find_objection(scene, unit, settings) == "too large"}
    return [
        part
        for unit in units
        for part in (
            [_make_unit(scene, [thing], thing.name) for thing in unit.objects] if unit.key in large else [unit]
        )
    ]


def _merge_parts(scene: Snapshot, units: list[_Unit]) -> list[_Unit]:
    """Give legs, posts, handles and boards back to the furniture they are part of; repeated until nothing moves."""
    for _ in range(MERGE_ROUNDS):
        host = _find_hosts(scene, units)
        if not host:
            return units
        groups: dict[int, list[SceneObject]] = defaultdict(list)
        for index, unit in enumerate(units):
            while index in host:  # ends: a host is always bigger
                index = host[index]
            groups[index] += unit.objects
        units = [_make_unit(scene, groups[index], root=units[index].key) for index in sorted(groups)]
    return units


def _find_hosts(scene: Snapshot, units: list[_Unit]) -> dict[int, int]:
    """For every unit that is a part, the index of what it is a part of."""
    if len(units) < 2:
        return {}
    low, high = np.array([unit.box[0] for unit in units]), np.array([unit.box[1] for unit in units])
    diagonals = np.linalg.norm(high - low, axis=1)
    by_size = np.argsort(diagonals, kind="stable")
    sizes = diagonals[by_size]
    largest = np.searchsorted(sizes, HOST_SIZE * scene.diagonal)
    copies = Counter(unit.shape for unit in units)
    found: dict[int, int] = {}
    for part, unit in enumerate(units):
        if any(thing.label for thing in unit.objects):
            continue
        slack = TOUCHING * diagonals[part] + 1e-9
        bigger = by_size[np.searchsorted(sizes, HOST_RATIO * diagonals[part], side="right") : largest]
        touching = ((low[bigger] <= high[part] + slack) & (high[bigger] >= low[part] - slack)).all(axis=1)
        hosts = (index for index in bigger[touching] if _is_part(unit, units[index], copies[unit.shape]))
        if (smallest := next(hosts, None)) is not None:
            found[part] = int(smallest)
    return found


def _is_part(part: _Unit, host: _Unit, copies: int) -> bool:
    """Whether a unit that touches a bigger one belongs to it: inside its box, a support under it, or sunk into it.

    Things that merely stand on others do not sink into them; knobs, posts and handles do.
    """
    overlap = np.minimum(part.box[1], host.box[1]) - np.maximum(part.box[0], host.box[0])
    inside = np.clip(overlap / np.maximum(part.size, 1e-9), 0, 1)
    if inside.prod() > PART_INSIDE and part.diagonal < PART_INSIDE_SIZE * host.diagonal:
        return True
    within_footprint = inside[0] > SUPPORT_FOOTPRINT and inside[1] > SUPPORT_FOOTPRINT
    slender = np.partition(part.size, 1)[1] < SUPPORT_SLENDERNESS * part.size.max()
    under = part.box[0][2] < host.box[0][2] and part.box[1][2] <= host.box[1][2]
    supports = within_footprint and slender and under
    sunk = inside.min() > (SUNK_REPEATED if copies >= REPEATED else SUNK) and part.diagonal < SUNK_SIZE * host.diagonal
    return bool(supports or sunk)


# ---- judging ---------------------------------------------------------------------------------------------------------


def _select_units(
    scene: Snapshot, units: list[_Unit], settings: SubjectSettings, left_out: dict[str, int]
) -> list[_Unit]:
    """Units that pass, in the scene's order; the others are counted by reason."""
    chosen: list[_Unit] = []
    copies: Counter[tuple[int, ...]] = Counter()
    for unit in units:
        reason = _find_objection(scene, unit, settings)
        if not reason and copies[unit.shape] >= settings.copies:
            reason = "copy"
        if reason:
            left_out[reason] += 1
            continue
        copies[unit.shape] += 1
        chosen.append(unit)
    return chosen


def _find_objection(scene: Snapshot, unit: _Unit, settings: SubjectSettings) -> str:
    """Why a unit is no subject; empty when it is one."""
    names = [name for thing in unit.objects for name in (thing.label, thing.name, thing.unit) if name]
    if settings.include and not _matches(names, settings.include):
        return "not included"
    if _matches(names, settings.exclude):
        return "excluded"
    if unit.diagonal < settings.smallest * scene.diagonal:
        return "too small"
    if unit.diagonal > settings.largest * scene.diagonal:
        return "too large"
    if np.sort(unit.size)[1] < LINE * unit.size.max():
        return "a line"
    if _compute_distance_outside(unit.box, scene.extent) > ASTRAY * scene.diagonal:
        return "astray"
    thin = unit.size.min() < PANEL * unit.size.max()
    if thin and not settings.include and _is_plain(scene, unit, PANEL_TRIANGLES):
        return "plain panel"
    return ""


def _compute_distance_outside(box: Array, extent: Array) -> float:
    """How far the middle of a box lies outside the scene's extent."""
    middle = box.mean(axis=0)
    return float(np.linalg.norm(np.maximum(extent[0] - middle, 0) + np.maximum(middle - extent[1], 0)))


def _is_plain(scene: Snapshot, unit: _Unit, most: int) -> bool:
    """Whether there is next to nothing to see on it: at most so many triangles of one brightness, and no label."""
    triangles = scene.find_triangles(thing.id for thing in unit.objects)
    bare = not any(thing.textured or thing.label for thing in unit.objects)
    return bare and len(triangles) <= most and float(np.ptp(scene.albedo[triangles])) < PLAIN_CONTRAST


def _matches(names: list[str], patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)


def _make_subject(scene: Snapshot, unit: _Unit, seed: int, taken: set[str], copy: int) -> Subject:
    label = next((thing.label for thing in unit.objects if thing.label and thing.unit == thing.name), "")
    label = label or next((thing.label for thing in unit.objects if thing.label), "")
    if unit.objects[0].instance_of and "#" in unit.key:  # scattered: what it is says more than what scatters it
        label = label or label_from_name(unit.objects[0].name)
    label = label or label_from_name(unit.key)
    identity = _make_unique(slugify(label or unit.key), taken)
    triangles = scene.find_triangles(thing.id for thing in unit.objects)
    return Subject(
        id=identity,
        label=label,
        objects=frozenset(thing.id for thing in unit.objects),
        copy=copy,
        hull=find_spanning_points(scene.vertices[np.unique(scene.triangles[triangles])]),
        points=sample_surface_points(scene, triangles, SURFACE_POINTS, make_rng(seed, identity)),
        area=float(scene.areas[triangles].sum()),
        missing_files=tuple(sorted({path for thing in unit.objects for path in thing.missing_files})),
    )


def _make_unique(name: str, taken: set[str]) -> str:
    identity, number = name, 1
    while identity in taken:
        number += 1
        identity = f"{name}-{number}"
    taken.add(identity)
    return identity


def find_spanning_points(vertices: Array) -> Array:
    """Return those of the vertices (V, 3) that span their hull, (K, 3): all of a small mesh, the extremes in
    HULL_DIRECTIONS directions of a large one."""
    if len(vertices) <= SMALL_MESH:
        return vertices
    extremes = {int(np.argmax(vertices @ axis)) for axis in fibonacci_sphere(HULL_DIRECTIONS)}
    return vertices[sorted(extremes)]


def sample_surface_points(scene: Snapshot, triangles: NDArray[np.intp], count: int, rng: np.random.Generator) -> Array:
    """Sample points (count, 3) on these triangles (T,), stratified by area; for one generator they depend on the shape
    alone, and not on how its triangles are numbered."""
    corners = _sort_triangles(scene.vertices[scene.triangles[triangles]])
    edges = corners[:, 1:] - corners[:, :1]
    total = np.cumsum(np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1))
    if not len(total) or total[-1] <= 0:
        return np.repeat(corners[:1, 0], count, axis=0)
    steps = (np.arange(count) + rng.random(count)) / count * total[-1]
    chosen = np.minimum(np.searchsorted(total, steps), len(total) - 1)
    u, v = rng.random((2, count, 1))
    u, v = np.where(u + v > 1, 1 - u, u), np.where(u + v > 1, 1 - v, v)
    points: Array = corners[chosen, 0] + u * edges[chosen, 0] + v * edges[chosen, 1]
    return points[rng.permutation(count)]


def _sort_triangles(corners: Array) -> Array:
    """Return triangles (T, 3, 3) sorted by position, and their corners within them: modifiers number them differently
    from one Blender to the next."""
    if not len(corners):
        return corners
    low = corners.min(axis=(0, 1))
    step = 1e-5 * float((corners.max(axis=(0, 1)) - low).max()) or 1.0
    cells = np.floor((corners - low) / step + 0.37).astype(np.int64)  # not a half: shapes like to lie on round numbers
    within = np.lexsort(np.moveaxis(cells, 2, 0)[::-1], axis=1)
    cells, corners = (np.take_along_axis(thing, within[..., None], axis=1) for thing in (cells, corners))
    return np.asarray(corners[np.lexsort(cells.reshape(len(cells), 9).T[::-1])])

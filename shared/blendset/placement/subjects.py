# SPDX-License-Identifier: Apache-2.0
"""What a view may be about: objects grouped into asset units, without walls, parts and clutter.

Names are useless in most files and metres are wrong in many, so the rules are about shape, contact and size relative
to the scene.
"""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from blendset.cameras import Array
from blendset.config import SubjectSettings
from blendset.naming import slugify
from blendset.placement.reasons import Reason
from blendset.placement.sampling import find_spanning_points, sample_surface_points
from blendset.placement.scene import Snapshot
from blendset.placement.structure import drop_roofs, find_structural_objects, is_enclosed
from blendset.placement.things import Thing, compute_kind, find_whole, group_objects
from blendset.randomness import make_rng

LINE = 0.02
"""A thing whose second longest side is less than this share of its longest is a line."""
PANEL = 0.03
"""A thing whose shortest side is less than this share of its longest is a panel."""
PANEL_TRIANGLES = 64
"""A panel of more triangles than this may have something to show."""
ASTRAY = 0.5
"""Distance outside the scene's extent, in diagonals of the scene, from which a thing is astray."""
PLAIN_CONTRAST = 0.1
"""Difference of grey from which a thing has something to show."""
SURFACE_POINTS = 48
"""Points on the surface of each subject that gates cast rays at."""
FEW = 8
"""With fewer subjects than this, no thing is too large where no walls stand around; with as many, plain boxes, bars and
boards are no subjects."""
BOX_OR_TWO = 24
"""Triangles of what is hardly more than a box."""
STRUCTURE = "structure"
"""Why walls, floors and the like are no subjects."""


@dataclass(frozen=True, eq=False)
class Subject:
    """An asset unit to photograph.

    `hull` (K, 3) spans it for framing; `points` (48, 3) are spread over its surface by area. `copy` counts the subjects
    of the same label before it, or without one of the same name but for its number. With a `fringe`, such as hair,
    rays see less of it than a picture shows.
    """

    id: str
    label: str
    objects: frozenset[int]
    copy: int
    hull: Array
    points: Array
    area: float
    fringe: bool = False

    @cached_property
    def bounds(self) -> Array:
        """Lower and upper corner, (2, 3)."""
        return np.stack([self.hull.min(axis=0), self.hull.max(axis=0)])

    @cached_property
    def centre(self) -> Array:
        """Centre of the bounding box, (3,): view angles are measured around it."""
        return np.asarray(self.bounds.mean(axis=0))

    @cached_property
    def size(self) -> float:
        """Diagonal of the bounding box."""
        return float(np.linalg.norm(self.bounds[1] - self.bounds[0]))


@dataclass(frozen=True)
class SubjectSearch:
    """The subjects, the ids of structural objects, and why everything else is no subject (a count by reason).

    `things` are all groups of several objects that belong together, subjects or not. With `enclosed`, walls stand
    around the scene.
    """

    subjects: tuple[Subject, ...]
    structural: frozenset[int]
    left_out: dict[str, int]
    things: tuple[Thing, ...] = ()
    enclosed: bool = False


def find_subjects(scene: Snapshot, settings: SubjectSettings, seed: int) -> SubjectSearch:
    """Group objects into things, choose the subjects among them, and sample points on their surfaces.

    Order and ids depend on the scene alone; the surface points depend on the seed as well.
    """
    structural = find_structural_objects(scene)
    enclosed = is_enclosed(scene, structural)
    structural = structural if enclosed else drop_roofs(scene, structural)
    things = group_objects(scene, structural, enclosed)
    if not enclosed and (whole := find_whole(scene, things, structural)):
        things = [whole, *(thing for thing in things if not thing.ids <= whole.ids)]
    chosen, left_out = _choose_things(scene, things, settings)
    if len(chosen) < FEW and not enclosed:
        chosen, left_out = _choose_things(scene, things, replace(settings, largest=np.inf))
    any_size = replace(settings, smallest=0.0, largest=np.inf)
    if not chosen:
        chosen, left_out = _choose_things(scene, things, any_size)
    if not chosen:  # better a view of walls than no view
        things = group_objects(scene, frozenset(), enclosed)
        chosen, left_out = _choose_things(scene, things, any_size)
    telling = [thing for thing in chosen if settings.include or not _is_plain(scene, thing, BOX_OR_TWO)]
    if _count_scattered_once(scene, telling) >= FEW and len(telling) < len(chosen):
        left_out["plain"] += len(chosen) - len(telling)
        chosen = telling
    left_out += _count_no_things(scene, things)
    names: set[str] = set()
    copies: Counter[str] = Counter()
    subjects = []
    for thing in chosen:
        kind = thing.label or thing.key.rstrip("0123456789.")
        subjects.append(_make_subject(scene, thing, seed, names, copies[kind]))
        copies[kind] += 1
    groups = tuple(thing for thing in things if len(thing.objects) > 1)
    return SubjectSearch(tuple(subjects), structural, dict(left_out), groups, enclosed)


def _count_scattered_once(scene: Snapshot, things: Sequence[Thing]) -> int:
    """Count things; of those that are scattered, each kind once."""
    scattered = [thing for thing in things if thing.is_scattered]
    return len(things) - len(scattered) + len({compute_kind(scene, thing) for thing in scattered})


def _count_no_things(scene: Snapshot, things: Sequence[Thing]) -> Counter[str]:
    """Count the objects that are part of no thing, by the reason."""
    parts = frozenset().union(*(thing.ids for thing in things))
    rest = (entry for entry in scene.objects if entry.id not in parts)
    return Counter(
        entry.objection or (STRUCTURE if entry.triangles[1] > entry.triangles[0] else "no surface") for entry in rest
    )


# ---- judging ---------------------------------------------------------------------------------------------------------


def _choose_things(
    scene: Snapshot, things: Sequence[Thing], settings: SubjectSettings
) -> tuple[list[Thing], Counter[str]]:
    """Things that pass, in the scene's order, and a count of the others by reason."""
    chosen: list[Thing] = []
    left_out: Counter[str] = Counter()
    copies: Counter[tuple[int, ...]] = Counter()
    for thing in things:
        reason = _find_objection(scene, thing, settings)
        kind = () if reason else compute_kind(scene, thing)
        if not reason and copies[kind] >= settings.copies:
            reason = "copy"
        if reason:
            left_out[reason] += 1
            continue
        copies[kind] += 1
        chosen.append(thing)
    return chosen, left_out


def _find_objection(scene: Snapshot, thing: Thing, settings: SubjectSettings) -> str:
    """Why a thing is no subject; empty when it is one."""
    if settings.include and not _matches(thing, settings.include):
        return "not included"
    if settings.exclude and _matches(thing, settings.exclude):
        return "excluded"
    if not any(entry.triangles[1] > entry.triangles[0] for entry in thing.objects):
        return "no surface"
    if all(entry.objection for entry in thing.objects):
        return thing.objects[0].objection
    if any(entry.missing_files for entry in thing.objects):
        return Reason.TEXTURE_MISSING.value
    return _find_shape_objection(scene, thing, settings)


def _find_shape_objection(scene: Snapshot, thing: Thing, settings: SubjectSettings) -> str:
    if thing.diagonal < settings.smallest * scene.diagonal:
        return "too small"
    if thing.diagonal > settings.largest * scene.diagonal and not thing.is_whole:
        return "too large"
    if np.sort(thing.size)[1] < LINE * thing.size.max():
        return "a line"
    if _compute_distance_outside(thing.box, scene.extent) > ASTRAY * scene.diagonal:
        return "astray"
    thin = thing.size.min() < PANEL * thing.size.max()
    if thin and not settings.include and _is_plain(scene, thing, PANEL_TRIANGLES):
        return "plain panel"
    return ""


def _compute_distance_outside(box: Array, extent: Array) -> float:
    """How far the middle of a box lies outside the scene's extent."""
    middle = box.mean(axis=0)
    return float(np.linalg.norm(np.maximum(extent[0] - middle, 0) + np.maximum(middle - extent[1], 0)))


def _is_plain(scene: Snapshot, thing: Thing, most: int) -> bool:
    """Whether there is next to nothing to see on it: at most so many triangles of one brightness, and no label."""
    triangles = scene.find_triangles(thing.ids)
    bare = not any(entry.textured or entry.label for entry in thing.objects)
    return bare and len(triangles) <= most and float(np.ptp(scene.albedo[triangles])) < PLAIN_CONTRAST


def _matches(thing: Thing, patterns: tuple[str, ...]) -> bool:
    names = [name for entry in thing.objects for name in (entry.label, entry.name, entry.unit) if name]
    names += [thing.label, thing.key]
    return any(fnmatch.fnmatchcase(name.lower(), pattern.lower()) for name in names for pattern in patterns)


def _make_subject(scene: Snapshot, thing: Thing, seed: int, taken: set[str], copy: int) -> Subject:
    identity = _make_unique(slugify(thing.label or thing.key), taken)
    triangles = scene.find_triangles(thing.ids)
    fringe = [scene.fringe[id_] for id_ in sorted(thing.ids) if id_ in scene.fringe]
    vertices = scene.vertices[np.unique(scene.triangles[triangles])]
    return Subject(
        id=identity,
        label=thing.label,
        objects=thing.ids,
        copy=copy,
        hull=find_spanning_points(np.concatenate([vertices, *fringe])),
        points=sample_surface_points(scene, triangles, SURFACE_POINTS, make_rng(seed, identity)),
        area=float(scene.areas[triangles].sum()),
        fringe=bool(fringe),
    )


def _make_unique(name: str, taken: set[str]) -> str:
    identity, number = name, 1
    while identity in taken:
        number += 1
        identity = f"{name}-{number}"
    taken.add(identity)
    return identity

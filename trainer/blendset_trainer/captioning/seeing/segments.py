# SPDX-License-Identifier: Apache-2.0
"""What a view shows as a person would count it: objects joined into things, and floor, walls and ceiling apart.

Everything comes from the view's own pixels: a thing is what the index pass shows of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.exr import Passes
from blendset.records import SceneObjectRecord, SceneRecord, ViewRecord
from blendset_trainer.captioning.seeing.gbuffer import Mask, Picture, bounding, picture_of
from blendset_trainer.captioning.seeing.materials import material_of, painted_colour
from blendset_trainer.captioning.seeing.shapes import SLABS, Shape, shape_of
from blendset_trainer.captioning.seeing.surfaces import Surface, is_surface, surfaces_of
from blendset_trainer.language.lexicon import noun_of

BODY = 0.6
"""The share of a thing's pixels that makes one of its objects its body."""
SIZES = frozenset("large small tall low".split())
"""What one of several alike may be that the others are not, as seen."""
MOST_PARTS = 400
"""More visible objects of one label than this are a scatter, not to be counted."""


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing in sight: `noun` is what its label calls it; where there is none, `shape` says what it looks like.

    `box` (2, 3) is its extent in the world, `depth` and `lightness` (CIELAB) are medians of its pixels; what
    `is_of_parts` consists of objects of different materials.
    """

    noun: str
    shape: Shape
    ids: frozenset[int]
    mask: Mask
    box: Array
    colour: str
    material: str
    depth: float
    lightness: float
    is_of_parts: bool

    @cached_property
    def share(self) -> float:
        return float(self.mask.mean())

    @cached_property
    def frame(self) -> tuple[float, float, float, float]:
        """Its left, top, right and bottom in the picture, 0 to 1."""
        rows, columns = bounding(self.mask)
        height, width = self.mask.shape
        return columns.start / width, rows.start / height, columns.stop / width, rows.stop / height

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Where its pixels are on average, from the left and from the top, 0 to 1."""
        rows, columns = np.nonzero(self.mask)
        return float((columns.mean() + 0.5) / self.mask.shape[1]), float((rows.mean() + 0.5) / self.mask.shape[0])

    @cached_property
    def size(self) -> float:
        """Diagonal of its box in world units."""
        return float(np.linalg.norm(self.box[1] - self.box[0]))


@dataclass(frozen=True, eq=False)
class Seen:
    """Everything in sight: the subject (None in a view of the scene), other things by share, and surfaces by share."""

    picture: Picture
    subject: Thing | None
    things: tuple[Thing, ...]
    surfaces: tuple[Surface, ...]


def see(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> Seen:
    """Join the visible objects into things and surfaces. `rgb` is (height, width, 3)."""
    picture = picture_of(view, rgb, passes)
    objects = {each.id: each for each in scene.objects}
    visible = [objects[each.id] for each in view.visible_objects if each.id in objects]
    own = frozenset(view.subject_objects)
    if own and not noun_of(view.subject_label):
        own = _without_load(picture, own, objects)
    others = [each for each in visible if each.id not in own]
    walls = [each for each in others if is_surface(each, scene)]
    rest = [each for each in others if each not in walls]
    mine = [each for each in visible if each.id in own]
    subject = _thing(picture, noun_of(view.subject_label), mine, visible) if own else None
    found = (_thing(picture, noun_of(parts[0].label), parts, visible) for parts in _joined(rest))
    things = sorted((each for each in found if each), key=lambda each: -each.share)
    everything = [*things, *([subject] if subject else [])]
    return Seen(
        picture,
        _agreed(subject, everything) if subject else None,
        tuple(_agreed(each, everything) for each in things),
        tuple(sorted(surfaces_of(picture, walls), key=lambda each: -each.share)),
    )


def _thing(
    picture: Picture, noun: str, parts: Sequence[SceneObjectRecord], visible: Iterable[SceneObjectRecord]
) -> Thing | None:
    """The thing that these objects make, None where no pixel shows it."""
    mask = np.isin(picture.ids, [each.id for each in parts])
    if not mask.any():
        return None
    low, high = [each.bounds_min for each in parts], [each.bounds_max for each in parts]
    box = np.stack([np.min(low, axis=0), np.max(high, axis=0)])
    return Thing(
        noun=noun,
        shape=Shape() if noun else shape_of(picture, mask, box),
        ids=frozenset(each.id for each in parts),
        mask=mask,
        box=box,
        colour=painted_colour(picture, mask, parts, visible),
        material=material_of(picture, mask, parts),
        depth=float(np.median(picture.depths[mask])),
        lightness=float(np.median(picture.lab[mask][:, 0])),
        is_of_parts=len({each.materials for each in parts}) > 1,
    )


def are_alike(one: Thing, other: Thing) -> bool:
    """Whether two have no name and one size, turned about the upright axis or not."""
    if one.noun or other.noun or len({one.colour, other.colour} - {"", "grey", "light grey", "white"}) > 1:
        return False
    sizes = [(each.box[1] - each.box[0]) for each in (one, other)]
    flat = [np.array([*np.sort(each[:2]), each[2]]) for each in sizes]
    return bool(np.abs(flat[0] - flat[1]).max() < 0.1 * min(one.size, other.size))


def _agreed(each: Thing, things: Sequence[Thing]) -> Thing:
    """A thing with the shape that most pixels of all that are like it show: one of them may be seen badly."""
    shares: dict[Shape, float] = defaultdict(float)
    for other in [other for other in things if are_alike(each, other)]:
        shares[replace(other.shape, manner="")] += other.share
    if len(shares) < 2:
        return each
    best = max(shares, key=lambda shape: shares[shape])
    return replace(
        each,
        shape=replace(
            best, manner=each.shape.manner if best.noun == each.shape.noun or each.shape.manner in SIZES else ""
        ),
    )


def _without_load(picture: Picture, own: frozenset[int], objects: Mapping[int, SceneObjectRecord]) -> frozenset[int]:
    """Of a slab with what lies on it only the slab: the rest is told by itself."""
    counts = {each: int(np.count_nonzero(picture.ids == each)) for each in sorted(own)}
    largest = max(counts, key=lambda each: counts[each])
    if counts[largest] <= BODY * sum(counts.values()) or largest not in objects:
        return own
    box = np.array([objects[largest].bounds_min, objects[largest].bounds_max])
    return frozenset((largest,)) if shape_of(picture, picture.ids == largest, box).noun in SLABS else own


# ---- joining objects -------------------------------------------------------------------------------------------------


def _joined(objects: Iterable[SceneObjectRecord]) -> Iterator[list[SceneObjectRecord]]:
    """Objects by the thing that they are part of: of one label and collection, one instance, and touching."""
    groups: dict[tuple[str, str, str], list[SceneObjectRecord]] = defaultdict(list)
    for each in objects:
        groups[each.label or f"\0{each.id}", each.collection, "" if _is_asset(each) else each.instance_of].append(each)
    for members in groups.values():
        yield from [members] if len(members) > MOST_PARTS else _touching(members)


def _is_asset(each: SceneObjectRecord) -> bool:
    """Whether its collection is called what it is: then that collection holds one thing's parts."""
    return bool(each.label) and noun_of(each.label) == noun_of(each.collection)


def _touching(objects: Sequence[SceneObjectRecord]) -> Iterator[list[SceneObjectRecord]]:
    """Connected groups of objects whose boxes touch."""
    low = np.array([each.bounds_min for each in objects])
    high = np.array([each.bounds_max for each in objects])
    diagonals = np.linalg.norm(high - low, axis=1)
    slack = (
        0.3 * diagonals.max() if _is_asset(objects[0]) else 0.02 * diagonals.min()
    ) + 1e-6  # a lamp's shade need not touch its foot
    touch = ((low[:, None] <= high[None] + slack) & (high[:, None] >= low[None] - slack)).all(axis=2)
    left = set(range(len(objects)))
    while left:
        reached, front = set(), {min(left)}
        while front:
            reached |= front
            front = set(np.flatnonzero(touch[sorted(front)].any(axis=0)).tolist()) - reached
        left -= reached
        yield [objects[at] for at in sorted(reached)]

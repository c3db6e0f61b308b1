# SPDX-License-Identifier: Apache-2.0
"""What a view shows as a person would count it: objects joined into things, and floor, walls and ceiling apart.

Everything comes from the view's own pixels: a thing is what the index pass shows of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from skimage.morphology import convex_hull_image

from blendset.cameras import Array, Camera
from blendset.exr import Passes
from blendset.records import SceneObjectRecord, SceneRecord, ViewRecord
from blendset_trainer.captioning.colours import Lab, colour_of, fair_lab
from blendset_trainer.captioning.words import MATERIAL_OF, noun_of

Mask = NDArray[np.bool_]

SURFACES = frozenset("floor wall ceiling ground roof terrain".split())
MOST_PARTS = 400
"""More visible objects of one label than this are a scatter, not to be counted."""
LEVEL, UPRIGHT = 0.7, 0.4
"""How much of a normal points up (or down) on a floor (a ceiling), and how little on a wall."""


@dataclass(frozen=True, eq=False)
class Picture:
    """A view as planes of numbers, all (height, width, ...): ids, CIELAB colours, world positions and normals."""

    camera: Camera
    ids: NDArray[np.uint32]
    lab: Lab
    positions: Array
    normals: Array

    @cached_property
    def reach(self) -> float:
        """How far what is in sight extends, in world units."""
        seen = self.positions[self.ids > 0]
        return float(np.linalg.norm(np.ptp(np.percentile(seen, (5, 95), axis=0), axis=0))) if len(seen) else 0.0


@dataclass(frozen=True, eq=False)
class Thing:
    """One thing in sight. Without a name its noun is "" and `shape` says what it looks like; `proportion` is the first
    word of that where it tells of size ("tall").

    `box` (2, 3) is its extent in the world, `frame` its left, top, right and bottom in the picture (0 to 1).
    """

    noun: str
    shape: str
    proportion: str
    ids: frozenset[int]
    mask: Mask
    box: Array
    colour: str
    material: str
    depth: float

    @property
    def share(self) -> float:
        return float(self.mask.mean())

    @cached_property
    def frame(self) -> tuple[float, float, float, float]:
        rows, columns = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        height, width = self.mask.shape
        return columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height

    @cached_property
    def centre(self) -> tuple[float, float]:
        """Where its pixels are on average, from the left and from the top, 0 to 1."""
        rows, columns = np.nonzero(self.mask)
        return float((columns.mean() + 0.5) / self.mask.shape[1]), float((rows.mean() + 0.5) / self.mask.shape[0])

    @property
    def size(self) -> float:
        """Diagonal of its box in world units."""
        return float(np.linalg.norm(self.box[1] - self.box[0]))


@dataclass(frozen=True, eq=False)
class Surface:
    """All that is seen of the floor, the walls, the ceiling, ..."""

    noun: str
    mask: Mask
    colour: str
    material: str

    @property
    def share(self) -> float:
        return float(self.mask.mean())


@dataclass(frozen=True, eq=False)
class Seen:
    """Everything in sight: the subject (None in a view of the scene), other things by share, and surfaces by share."""

    picture: Picture
    subject: Thing | None
    things: tuple[Thing, ...]
    surfaces: tuple[Surface, ...]


def see(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> Seen:
    """Join the visible objects into things and surfaces. `rgb` is (height, width, 3)."""
    picture = _picture(view, rgb, passes)
    objects = {each.id: each for each in scene.objects}
    visible = [objects[each.id] for each in view.visible_objects if each.id in objects]
    own = frozenset(view.subject_objects)
    others = [each for each in visible if each.id not in own]
    walls = [each for each in others if _is_surface(each, scene)]
    rest = [each for each in others if each not in walls]
    subject = (
        _thing(picture, noun_of(view.subject_label), [each for each in visible if each.id in own]) if own else None
    )
    things = [_thing(picture, noun_of(parts[0].label), parts) for parts in _joined(rest)]
    return Seen(
        picture,
        subject,
        tuple(sorted((each for each in things if each), key=lambda each: -each.share)),
        tuple(sorted(_surfaces(picture, walls), key=lambda each: -each.share)),
    )


def _picture(view: ViewRecord, rgb: NDArray[np.uint8], passes: Passes) -> Picture:
    record = view.camera
    camera = Camera.from_intrinsics(
        np.array(record.world_from_camera), record.width, record.height, record.fx, (record.cx, record.cy)
    )
    positions = camera.unproject(np.where(np.isfinite(passes.depth), passes.depth, 0.0))
    towards = np.sign(((camera.position - positions) * passes.normal).sum(axis=2))[..., None]
    return Picture(camera, passes.id, fair_lab(rgb), positions, passes.normal * towards)


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


def _thing(picture: Picture, noun: str, parts: Sequence[SceneObjectRecord]) -> Thing | None:
    """The thing that these objects make, None where no pixel shows it."""
    mask = np.isin(picture.ids, [each.id for each in parts])
    if not mask.any():
        return None
    low, high = [each.bounds_min for each in parts], [each.bounds_max for each in parts]
    box = np.stack([np.min(low, axis=0), np.max(high, axis=0)])
    proportion, kind = ("", "") if noun else shape_of(picture.normals[mask], box, picture.reach, _fill(mask))
    depths = (picture.camera.position - picture.positions[mask]) @ picture.camera.rotation[:, 2]
    return Thing(
        noun=noun,
        shape=f"{proportion} {kind}".strip(),
        proportion=proportion,
        ids=frozenset(each.id for each in parts),
        mask=mask,
        box=box,
        colour=colour_of(picture.lab[mask]),
        material=_material(picture, mask, parts),
        depth=float(np.median(depths)),
    )


def _material(picture: Picture, mask: Mask, parts: Iterable[SceneObjectRecord]) -> str:
    """The adjective of the material that most of the pixels have, by what materials are called; "" if none is told."""
    pixels: dict[str, int] = defaultdict(int)
    for each in parts:
        told = {MATERIAL_OF[word] for name in each.materials for word in _words(name) if word in MATERIAL_OF}
        if len(told) == 1 and len(each.materials) == 1:
            pixels[told.pop()] += int(np.count_nonzero(picture.ids[mask] == each.id))
    best = max(pixels, key=lambda name: pixels[name], default="")
    return best if best and pixels[best] > 0.6 * np.count_nonzero(mask) else ""


def _words(name: str) -> list[str]:
    """The words of a name, lower case, without numbers."""
    return "".join(letter if letter.isalpha() else " " for letter in name).lower().split()


# ---- surfaces --------------------------------------------------------------------------------------------------------


def _is_surface(each: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Walls, floors and the like: by the scene's own word, by name, or nameless but placed and shaped as they are."""
    if each.structural or noun_of(each.label).split(" ")[-1] in SURFACES:
        return True
    return not each.label and _is_nameless_surface(each, scene)


def _is_nameless_surface(each: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Boards that lie at the very bottom, and panels that stand as long as much of the floor."""
    floors = [other for other in scene.objects if other.structural]
    if not floors:
        return False
    size = np.subtract(each.bounds_max, each.bounds_min)
    widest = max(max(np.subtract(other.bounds_max, other.bounds_min)[:2]) for other in floors)
    lies = size[2] < 0.03 * size.max() and each.bounds_max[2] < min(f.bounds_min[2] for f in floors) + 0.05 * size.max()
    stands = size[:2].min() < 0.03 * size.max() and size[2] > 0.1 * size.max() and size[:2].max() > 0.5 * widest
    return bool(lies or stands)


def _surfaces(picture: Picture, objects: Sequence[SceneObjectRecord]) -> Iterator[Surface]:
    """Surfaces by noun, colour and material: by their label where it says so, else by where each pixel faces."""
    bottom = min((each.bounds_min[2] for each in objects), default=0.0)
    top = max((each.bounds_max[2] for each in objects), default=0.0)
    found: dict[tuple[str, str, str], Mask] = {}
    for each in objects:
        for noun, mask in _faces(picture, each, bottom + 0.15 * (top - bottom)):
            if mask.any():
                key = noun, colour_of(picture.lab[mask]), _material(picture, mask, [each])
                found[key] = found.get(key, False) | mask
    yield from (Surface(noun, mask, colour, material) for (noun, colour, material), mask in found.items())


def _faces(picture: Picture, each: SceneObjectRecord, low: float) -> Iterator[tuple[str, Mask]]:
    mask = picture.ids == each.id
    noun = noun_of(each.label).split(" ")[-1]
    if noun in SURFACES:
        yield noun, mask
        return
    up = picture.normals[..., 2]
    yield "floor", mask & (up > LEVEL) & (picture.positions[..., 2] <= low)
    yield "wall", mask & (np.abs(up) < UPRIGHT)
    yield "ceiling", mask & (up < -LEVEL)


# ---- the shape of what has no name -----------------------------------------------------------------------------------

BOXY, SOLID = 0.65, 0.55
"""The share of a box's normals that keep to its directions, and how much of its outline's hull it covers at least."""


def _fill(mask: Mask) -> float:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    part = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if min(part.shape) < 3:
        return 1.0  # a line has no hull
    hull = int(np.count_nonzero(convex_hull_image(part)))
    return float(np.count_nonzero(part)) / max(hull, 1)


def shape_of(normals: Array, box: Array, reach: float, fill: float) -> tuple[str, str]:
    """What a nameless thing looks like, from the normals of its pixels (N, 3) and its box: "tall", "box-shaped object".

    `reach` is how far all in sight extends, by which sizes are told; `fill` is the share of the hull of its
    outline that it covers: a box with holes, such as a table, is none.
    """
    size = box[1] - box[0]
    wide, deep, high = float(size[:2].max()), float(size[:2].min()), float(size[2])
    longest = max(wide, high, 1e-9)
    middle = float(np.sort(size)[1])
    flat = _flatness(normals)
    if middle < 0.2 * longest:
        kind = "object" if flat < BOXY else "post" if high == longest else "bar"
        return "tall" if high == longest else "long", kind
    if min(deep, high) < 0.06 * longest:
        return "", "flat board" if high < deep else "flat panel"
    round_footprint = deep > 0.8 * wide
    sides = normals[np.abs(normals[:, 2]) < 0.3]
    if fill < SOLID:
        kind = "irregularly shaped object"
    elif flat > BOXY:
        kind = "box-shaped object"
    elif round_footprint and len(sides) > 0.35 * len(normals) and _go_round(sides):
        kind = "cylindrical object"
    elif np.mean((np.abs(normals[:, 2]) > 0.3) & (np.abs(normals[:, 2]) < 0.92)) > 0.35:
        kind = "rounded object"
    else:
        kind = "irregularly shaped object"
    return _proportion(wide, high, float(np.linalg.norm(size)), reach), kind


def _go_round(sides: Array) -> bool:
    """Whether upright surfaces (N, 3) turn evenly, as a cylinder's do: no direction has much more than another."""
    turns = np.degrees(np.arctan2(sides[:, 1], sides[:, 0])) % 360
    shares = np.bincount((turns / 20).astype(int), minlength=18) / len(sides)
    return bool(shares.max() < 0.3 and np.count_nonzero(shares > 0.05) >= 5)


def _proportion(wide: float, high: float, diagonal: float, reach: float) -> str:
    if diagonal < 0.06 * reach:
        return "small"
    if high > 1.6 * wide:
        return "tall"
    if diagonal > 0.5 * reach:
        return "large"
    return "low" if high < 0.35 * wide else ""


def _flatness(normals: Array) -> float:
    """Share of normals that keep to at most three directions at right angles, as a box's do."""
    left, found = normals, np.zeros((0, 3))
    for _ in range(3):
        free = left[(np.abs(left @ found.T) < 0.35).all(axis=1)]
        if not len(free):
            break
        cells, counts = np.unique(np.round(free / 0.2).astype(int), axis=0, return_counts=True)
        direction = cells[counts.argmax()] / max(float(np.linalg.norm(cells[counts.argmax()])), 1e-9)
        found = np.vstack([found, direction])
        left = left[left @ direction < 0.96]
    return 1 - len(left) / max(len(normals), 1)

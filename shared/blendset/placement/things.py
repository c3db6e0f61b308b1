# SPDX-License-Identifier: Apache-2.0
"""Things: objects that belong together, as a person would group them.

A car is one thing, of however many parts; a parent that only keeps things together is none. What parents, instances
and contact say is checked against how the objects hang together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.placement.labels import get_label, label_from_name
from blendset.placement.scene import GROUND_RATIO, SceneObject, Snapshot
from blendset.placement.structure import is_lying

FOLDER_SIZE = 0.7
"""A group whose diagonal is more than this share of the scene's keeps things together, unless it is all there is."""
LONE_SHARE = 0.9
"""A group with more than this share of the summed sizes of all things is all there is."""
APART, APART_ABOVE = 0.05, 0.5
"""Gaps beside and above each other, in diagonals of the smaller one, from which two objects stand apart."""
CONNECTED_SHARE = 0.9
"""The objects of a thing hang together, but for parts of less than the rest of their summed sizes."""
SUNK_SHARE = 0.5
"""Structure is part of a thing when so many of its objects have their middle at the height of that structure."""
WHOLE_PARTS, FEW_PARTS, BODY_SIZE = 500, 8, 0.6
"""More things than the first are never parts of one that no parent holds; no fewer than the second are only where the
largest of them is so large a share of the whole, as the body of a car."""
RESTING = 0.03
"""A thing rests on another when it sinks into it by no more than this share of its height."""
HOST_SIZE = 0.45
"""A thing whose diagonal is more than this share of the scene's takes no parts where walls stand around."""
HOST_RATIO = 1.15
"""A thing is part of another only where that one's diagonal is at least so many times its own."""
TOUCHING, CLOSE, TOUCH_TRIANGLES = 0.02, 0.1, 512
"""Gaps, in diagonals of the smaller thing, up to which two things touch, and up to which they are close; of so many
triangles of each at most that is asked."""
FOOTPRINT_MARGIN, FOOTPRINT_SHARE = 0.05, 0.7
"""A thing is attached to another that it touches when so large a share of its footprint lies within that of the other,
widened by the first share of the other's diagonal."""
ATTACHED_SIZE, ATTACHED_THINNESS = 0.5, 0.1
"""It is smaller than this share of the other's diagonal, or flat: its least side is so much of its longest."""
MERGE_ROUNDS = 4
"""Parts of parts are merged so often."""
PAIRS_AT_ONCE = 500_000
"""Pairs of things that are compared in one go, so that memory stays small."""
PART_INSIDE, PART_INSIDE_SIZE = 0.7, 0.8
"""A thing with more of its box inside another's than this is part of it, if its diagonal is less than this share."""
SUPPORT_FOOTPRINT, SUPPORT_SLENDERNESS = 0.6, 0.35
"""A support has this share of its footprint under the other thing, and a second side of at most this share of its
longest."""
SUNK, SUNK_REPEATED, SUNK_SIZE = 0.1, 0.03, 0.5
"""Least depth, in sizes of a thing, by which it must sink into another to be its part, and the same for a thing that is
there REPEATED times; its diagonal is less than the last share of the other's."""
REPEATED = 3
ONLY_SHINES = "only shines"
"""The objection to an object that is light and no lamp."""
LAWN_FLATNESS, LAWN_HEIGHT = 0.15, 0.8
"""Of what is no higher than this share of its width, nothing is part that is nearly as high."""
PART_WORDS = frozenset(
    """
    back base body bottom cover frame front geo high housing hull left low main part plane right roof shell side slab
    top wall
    """.split()
)
"""What the largest part of a thing is often called, and the thing never is."""
SCATTERED = "#"
"""Stands between instancer and instance in the `unit` of what is scattered."""

SelectNear = Callable[[int, NDArray[np.intp]], NDArray[np.intp]]


@dataclass(frozen=True, eq=False)
class Thing:
    """Objects that belong together: the name and label they go by, the box around them (2, 3), and the shape that
    copies of it share. `is_whole` marks one that is all there is: no size is too large for it."""

    key: str
    label: str
    objects: tuple[SceneObject, ...]
    box: Array
    shape: tuple[int, ...]
    is_whole: bool = False

    @cached_property
    def size(self) -> Array:
        """Sides of the box, (3,)."""
        return np.asarray(self.box[1] - self.box[0])

    @cached_property
    def diagonal(self) -> float:
        """Diagonal of the box."""
        return float(np.linalg.norm(self.size))

    @property
    def is_scattered(self) -> bool:
        """Whether it is one of many that are scattered over another thing."""
        return SCATTERED in self.objects[0].unit

    @cached_property
    def ids(self) -> frozenset[int]:
        """Ids of the objects."""
        return frozenset(entry.id for entry in self.objects)


def make_thing(
    scene: Snapshot, objects: Iterable[SceneObject], key: str = "", label: str = "", is_whole: bool = False
) -> Thing:
    """Make a thing of these objects; without a key it goes by its largest object."""
    members = tuple(sorted(objects, key=lambda entry: entry.id))
    boxes = _get_boxes(scene, members)
    box, largest = boxes[0], members[0]
    if len(members) > 1:
        box = np.stack([boxes[:, 0].min(axis=0), boxes[:, 1].max(axis=0)])
        largest = members[int(np.argmax(np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)))]
    if labels := [entry.label for entry in members if entry.label]:
        label = Counter(labels).most_common(1)[0][0]
    elif not label:
        name = get_label(largest)
        label = name if len(members) == 1 or not set(name.split()) <= PART_WORDS else ""
    return Thing(key or largest.name, label, members, box, _compute_shape_key(scene, members), is_whole)


def _compute_shape_key(scene: Snapshot, members: tuple[SceneObject, ...]) -> tuple[int, ...]:
    """What copies have in common wherever they stand and however they are turned: triangle counts and area, to about
    5 %."""
    triangles = scene.find_triangles(entry.id for entry in members)
    area = float(scene.areas[triangles].sum())
    return (*sorted(entry.triangles[1] - entry.triangles[0] for entry in members), round(20 * np.log(max(area, 1e-12))))


def compute_kind(scene: Snapshot, thing: Thing) -> tuple[int, ...]:
    """Return what trees of one sort have in common, of whatever size: triangle counts and proportions, to about 1 %."""
    corners = scene.vertices[scene.triangles[scene.find_triangles(thing.ids)]].reshape(-1, 3)
    spread = np.linalg.eigvalsh(np.cov(corners.T))
    ratios = np.log(np.maximum(spread[:2], 1e-12 * spread[2]) / max(spread[2], 1e-12)) / 2
    return (*thing.shape[:-1], *np.rint(100 * ratios).astype(int).tolist())


# ---- parents and instances -------------------------------------------------------------------------------------------


def group_objects(scene: Snapshot, structural: frozenset[int], enclosed: bool) -> list[Thing]:
    """Group the objects that can be seen and are no structure: by instance and parent where they hang together, then
    by contact.

    In a scene that is not `enclosed`, what is all there is takes its structure back: the door of a car is no wall.
    """
    candidates = [entry for entry in scene.objects if entry.id not in structural and _can_be_part(scene, entry)]
    things = _merge_parts(scene, _split_groups(scene, candidates, _sum_sizes(scene, candidates), 0), enclosed)
    return [_take_structure_back(scene, thing, structural, enclosed) for thing in things]


def _can_be_part(scene: Snapshot, entry: SceneObject) -> bool:
    """Whether an object can be part of a thing, as the bulb of a lamp can that is no subject by itself."""
    return entry.objection in ("", ONLY_SHINES) and (
        entry.triangles[1] > entry.triangles[0] or entry.id in scene.fringe
    )


def _list_groups(entry: SceneObject) -> list[str]:
    """What an object may be part of, the widest first: the roots of its parents, its instance, and itself.

    What is scattered over a thing is no part of that thing.
    """
    instance = [entry.unit] if entry.unit != entry.name else []
    outer = dict.fromkeys([*([] if SCATTERED in entry.unit else reversed(entry.parents)), *instance])
    return [*outer, *([entry.name] if entry.name not in outer else []), f"#{entry.id}"]


def _split_groups(scene: Snapshot, objects: Sequence[SceneObject], total: float, depth: int) -> list[Thing]:
    """Things among objects that have the first `depth` groups in common; `total` is the summed size of all objects."""
    groups: dict[str, list[SceneObject]] = defaultdict(list)
    for entry in objects:
        groups[_list_groups(entry)[depth]].append(entry)
    things: list[Thing] = []
    for key, members in groups.items():
        is_whole = len(members) > 1 and _sum_sizes(scene, members) > LONE_SHARE * total
        if len(members) == 1:
            things.append(make_thing(scene, members))
        elif _is_one_thing(scene, members, is_whole):
            things.append(make_thing(scene, members, key, _name_group(key), is_whole))
        else:
            things += _split_groups(scene, members, total, depth + 1)
    return sorted(things, key=lambda thing: thing.objects[0].id)


def _name_group(key: str) -> str:
    """The label of a group; scattered instances are named by what they are, not by what scatters them."""
    return "" if SCATTERED in key else label_from_name(key)


def _is_one_thing(scene: Snapshot, members: Sequence[SceneObject], is_whole: bool) -> bool:
    """Whether objects with a parent in common are one thing, rather than things that it keeps together."""
    boxes = _get_boxes(scene, members)
    solid = sum(entry.triangles[1] > entry.triangles[0] for entry in members)
    wide = np.linalg.norm(boxes[:, 1].max(axis=0) - boxes[:, 0].min(axis=0)) > FOLDER_SIZE * scene.diagonal
    return solid < 2 or ((is_whole or not wide) and hang_together(boxes))


def _sum_sizes(scene: Snapshot, objects: Iterable[SceneObject]) -> float:
    boxes = _get_boxes(scene, objects)
    return float(np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1).sum())


def hang_together(boxes: Array) -> bool:
    """Return whether boxes (N, 2, 3) touch, or nearly so, or stand close above one another, all in one cluster."""
    sizes = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)
    reached = _find_cluster(sizes, lambda index, left: left[_are_near(boxes[left], sizes[left], boxes[index])])
    return float(sizes[reached].sum()) >= CONNECTED_SHARE * float(sizes.sum())


def _find_cluster(sizes: Array, select_near: SelectNear) -> NDArray[np.bool_]:
    """Which of some boxes of these diagonals (N,) are reached from the largest, from one to the next, (N,).

    `select_near(index, left)` returns those of the numbers `left` that are near to the box of that number.
    """
    pending, reached = [int(sizes.argmax())], np.zeros(len(sizes), dtype=bool)
    reached[pending] = True
    while pending:
        near = select_near(pending.pop(), np.flatnonzero(~reached))
        reached[near] = True
        pending += near.tolist()
    return reached


def _are_near(boxes: Array, sizes: Array, box: Array) -> NDArray[np.bool_]:
    """Whether each of some boxes (N, 2, 3) of these diagonals (N,) touches another one (2, 3), or nearly so, (N,)."""
    gaps = np.maximum(np.maximum(boxes[:, 0] - box[1], box[0] - boxes[:, 1]), 0)
    smaller = np.minimum(sizes, np.linalg.norm(box[1] - box[0]))
    beside, above = np.linalg.norm(gaps[:, :2], axis=1), gaps[:, 2]
    return np.asarray((beside <= APART * smaller) & (above <= APART_ABOVE * smaller))


def _rest_on_each_other(boxes: Array, sizes: Array, box: Array) -> NDArray[np.bool_]:
    """Whether the smaller of two things stands on the other without being sunk into it, (N,).

    Boxes (N, 2, 3) have these diagonals (N,); the other box is (2, 3).
    """
    low, high, larger = boxes[:, 0, 2], boxes[:, 1, 2], np.linalg.norm(box[1] - box[0]) > sizes
    above = larger & (low > box[0, 2]) & (box[1, 2] - low <= RESTING * (high - low))
    below = ~larger & (box[0, 2] > low) & (high - box[0, 2] <= RESTING * (box[1, 2] - box[0, 2]))
    return np.asarray(above | below)


def _take_structure_back(scene: Snapshot, thing: Thing, structural: frozenset[int], enclosed: bool) -> Thing:
    if not thing.is_whole or enclosed:
        return thing
    own = [entry for entry in scene.objects if entry.id in structural and thing.key in _list_groups(entry)]
    return make_thing(scene, [*thing.objects, *own], thing.key, thing.label, True) if own else thing


def find_whole(scene: Snapshot, things: Sequence[Thing], structural: frozenset[int]) -> Thing | None:
    """Return all things as one, if they are attached to each other: an asset of parts that no parent holds.

    It goes by the largest of them. What passes for structure is part of it too where most things are sunk into it, as
    the buttons into a phone. None where one of the things is all of it already, where they stand apart or on each
    other, and where many are parts of nothing that is nearly as large as the whole.
    """
    members = [entry for thing in things for entry in thing.objects]
    if not 0 < len(things) <= WHOLE_PARTS or any(thing.is_whole for thing in things):
        return None
    floors = _list_floors(scene, members, structural)
    is_sunk = _are_sunk(_get_boxes(scene, members), _get_boxes(scene, floors))
    added = [make_thing(scene, [entry]) for entry in floors] if is_sunk else []
    parts = _find_attached(scene, [*things, *added], resting=is_sunk)
    if len(parts) < 2:
        return None
    whole = make_thing(scene, [entry for part in parts for entry in part.objects], is_whole=True)
    largest = max(thing.diagonal for thing in things)
    return whole if len(things) < FEW_PARTS or largest > BODY_SIZE * whole.diagonal else None


def _find_attached(scene: Snapshot, things: Sequence[Thing], resting: bool) -> list[Thing]:
    """The things that are attached to the largest, directly or not, and those within their box; none if those are not
    nearly all. Without `resting`, what stands on another is not attached to it."""
    boxes, surfaces = np.array([thing.box for thing in things]), _Surfaces(scene)
    sizes = np.array([thing.diagonal for thing in things])

    def select_attached(index: int, left: NDArray[np.intp]) -> NDArray[np.intp]:
        near = _are_near(boxes[left], sizes[left], boxes[index])
        if not resting:
            near &= ~_rest_on_each_other(boxes[left], sizes[left], boxes[index])
        found = [other for other in left[near] if surfaces.are_near(things[index], things[other], APART)]
        return np.array(found, dtype=np.intp)

    reached = _find_cluster(sizes, select_attached)
    if float(sizes[reached].sum()) < CONNECTED_SHARE * float(sizes.sum()):
        return []
    low, high = boxes[reached, 0].min(axis=0), boxes[reached, 1].max(axis=0)
    within = ((boxes[:, 0] <= high) & (boxes[:, 1] >= low)).all(axis=1)
    return [thing for thing, is_part in zip(things, within, strict=True) if is_part]


def _are_sunk(boxes: Array, floors: Array) -> bool:
    """Whether most of these boxes (N, 2, 3) have their middle at the height of these floors (M, 2, 3)."""
    if not len(floors):
        return False
    middles = boxes.mean(axis=1)[:, 2]
    return float(np.mean((middles >= floors[:, 0, 2].min()) & (middles <= floors[:, 1, 2].max()))) > SUNK_SHARE


def _list_floors(scene: Snapshot, members: Sequence[SceneObject], structural: frozenset[int]) -> list[SceneObject]:
    """Level structure that is not much wider than all else, and so no ground."""
    floors = [entry for entry in scene.objects if entry.id in structural and is_lying(scene.bounds[entry.id - 1])]
    floors.sort(key=lambda entry: _compute_footprint(scene, [entry]))
    while floors:
        rest = _compute_footprint(scene, [*members, *floors[:-1]])
        if _compute_footprint(scene, floors[-1:]) <= GROUND_RATIO * rest:
            break
        floors.pop()
    return floors


def _get_boxes(scene: Snapshot, objects: Iterable[SceneObject]) -> Array:
    return scene.bounds[[entry.id - 1 for entry in objects]]


def _compute_footprint(scene: Snapshot, objects: Iterable[SceneObject]) -> float:
    """Diagonal of the area that objects stand on."""
    boxes = _get_boxes(scene, objects)
    return float(np.linalg.norm((boxes[:, 1].max(axis=0) - boxes[:, 0].min(axis=0))[:2]))


# ---- contact ---------------------------------------------------------------------------------------------------------


def _merge_parts(scene: Snapshot, things: list[Thing], enclosed: bool) -> list[Thing]:
    """Give legs, posts, handles and boards back to what they are part of; repeated until nothing moves.

    What is scattered is no part of anything, and has none.
    """
    scattered = [thing for thing in things if thing.is_scattered]
    things = [thing for thing in things if not thing.is_scattered]
    surfaces = _Surfaces(scene)
    for _ in range(MERGE_ROUNDS):
        host = _find_hosts(scene, things, surfaces, enclosed)
        if not host:
            break
        groups: dict[int, list[SceneObject]] = defaultdict(list)
        for index, thing in enumerate(things):
            while index in host:  # ends: a host is always bigger
                index = host[index]
            groups[index] += thing.objects
        things = [_replace_objects(scene, things[index], groups[index]) for index in sorted(groups)]
    return [*things, *scattered]


def _replace_objects(scene: Snapshot, thing: Thing, objects: Sequence[SceneObject]) -> Thing:
    if len(objects) == len(thing.objects):
        return thing
    label = thing.label if len(thing.objects) > 1 else ""
    return make_thing(scene, objects, thing.key, label, thing.is_whole)


def _find_hosts(scene: Snapshot, things: list[Thing], surfaces: _Surfaces, enclosed: bool) -> dict[int, int]:
    """For every thing that is a part, the index of what it is a part of.

    Where no walls stand around, large things take parts too, and surfaces decide.
    """
    if len(things) < 2:
        return {}
    boxes = np.array([thing.box for thing in things])
    sizes = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)
    is_host = sizes < (HOST_SIZE * scene.diagonal if enclosed else np.inf)
    is_part = np.array([not any(entry.label for entry in thing.objects) for thing in things])
    copies = Counter(thing.shape for thing in things)
    belongs = _is_part if enclosed else surfaces.is_part
    found: dict[int, int] = {}
    for part, host in _list_touching_pairs(boxes, sizes):
        if part not in found and is_part[part] and is_host[host]:
            thing = things[part]
            if belongs(thing, things[host], copies[thing.shape]):
                found[part] = host
    return found


def _list_touching_pairs(boxes: Array, sizes: Array) -> list[tuple[int, int]]:
    """The numbers of each thing and of every bigger one that it touches, the smallest of these first.

    Boxes (N, 2, 3) have these diagonals (N,). Sorted along one axis, only neighbours have to be compared.
    """
    slack = TOUCHING * sizes[:, None] + 1e-9
    low, high = boxes[:, 0] - slack, boxes[:, 1] + slack
    axis = int(np.ptp(boxes.mean(axis=1), axis=0).argmax())
    order = np.argsort(low[:, axis], kind="stable")
    rows = np.arange(len(order))
    counts = np.searchsorted(low[order, axis], high[order, axis], side="right") - rows - 1
    found = [np.zeros((0, 2), dtype=np.intp)]
    for some in np.array_split(rows, 1 + int(counts.sum()) // PAIRS_AT_ONCE):
        first = np.repeat(some, counts[some])
        second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
        pairs = order[np.stack([first, second], axis=1)]
        part, host = np.take_along_axis(pairs, np.argsort(sizes[pairs], axis=1, kind="stable"), axis=1).T
        near = sizes[host] > HOST_RATIO * sizes[part]
        for column in range(3):
            near &= (boxes[host, 0, column] <= high[part, column]) & (boxes[host, 1, column] >= low[part, column])
        found.append(np.stack([part[near], host[near]], axis=1))
    pairs = np.concatenate(found)
    return [(part, host) for part, host in pairs[np.lexsort((pairs[:, 1], sizes[pairs[:, 1]], pairs[:, 0]))].tolist()]


def _is_part(part: Thing, host: Thing, copies: int) -> bool:
    """Whether a thing that touches a bigger one belongs to it: inside its box, a support under it, or sunk into it.

    Things that merely stand on others do not sink into them; knobs, posts and handles do.
    """
    inside = _compute_overlap(part, host)
    if inside.prod() > PART_INSIDE and part.diagonal < PART_INSIDE_SIZE * host.diagonal:
        return True
    within_footprint = inside[0] > SUPPORT_FOOTPRINT and inside[1] > SUPPORT_FOOTPRINT
    slender = np.partition(part.size, 1)[1] < SUPPORT_SLENDERNESS * part.size.max()
    under = part.box[0][2] < host.box[0][2] and part.box[1][2] <= host.box[1][2]
    supports = within_footprint and slender and under
    sunk = inside.min() > (SUNK_REPEATED if copies >= REPEATED else SUNK) and part.diagonal < SUNK_SIZE * host.diagonal
    return bool(supports or sunk)


def _is_on(part: Thing, host: Thing) -> bool:
    """Whether a thing lies, or nearly so, within the footprint of a bigger one, and does not merely stand on it."""
    within = _compute_overlap(part, host, FOOTPRINT_MARGIN * host.diagonal)[:2]
    rests = _rest_on_each_other(part.box[None], np.array([part.diagonal]), host.box)[0]
    is_minor = part.diagonal < ATTACHED_SIZE * host.diagonal or part.size.min() < ATTACHED_THINNESS * part.size.max()
    return bool(within.prod() > FOOTPRINT_SHARE and is_minor and not rests)


def _compute_overlap(part: Thing, host: Thing, margin: float = 0.0) -> Array:
    """Share of a part's sides (3,) that lies within the box of its host, widened by a margin."""
    overlap = np.minimum(part.box[1], host.box[1] + margin) - np.maximum(part.box[0], host.box[0] - margin)
    return np.asarray(np.clip(overlap / np.maximum(part.size, 1e-9), 0, 1))


class _Surfaces:
    """Whether things are parts of others by their surfaces too, for boxes say little of trees and of houses.

    Surfaces are the boxes around triangles, which are computed once per thing.
    """

    def __init__(self, scene: Snapshot) -> None:
        self._scene = scene
        self._known: dict[frozenset[int], Array] = {}

    def is_part(self, part: Thing, host: Thing, copies: int) -> bool:
        """Whether a thing is part of a bigger one that its surface is close to, or attached to it.

        A lawn takes nothing that stands in its grass, nor a road what stands on it.
        """
        is_flat = host.size[2] < LAWN_FLATNESS * host.size.max()
        if is_flat and part.box[0, 2] >= host.box[0, 2] and part.size[2] > LAWN_HEIGHT * host.size[2]:
            return False
        if _is_part(part, host, copies):
            return self.are_near(part, host, CLOSE)
        return _is_on(part, host) and self.are_near(part, host, TOUCHING)

    def are_near(self, one: Thing, other: Thing, gap: float) -> bool:
        """Whether triangles of two things are as near as a gap in diagonals of the smaller thing."""
        slack = gap * min(one.diagonal, other.diagonal) + 1e-9
        first = self._select_near(one, other.box, slack)
        second = self._select_near(other, one.box, slack)
        low, high = first[:, None, 0] - slack, first[:, None, 1] + slack
        return bool(((low <= second[:, 1]) & (high >= second[:, 0])).all(axis=2).any())

    def _select_near(self, thing: Thing, box: Array, slack: float) -> Array:
        """Boxes (N, 2, 3) of at most TOUCH_TRIANGLES of a thing's triangles that reach into another box (2, 3)."""
        boxes = self._compute_boxes(thing)
        near = ((boxes[:, 0] <= box[1] + slack) & (boxes[:, 1] >= box[0] - slack)).all(axis=1)
        return np.asarray(boxes[near][:: -(-int(near.sum()) // TOUCH_TRIANGLES) or 1])

    def _compute_boxes(self, thing: Thing) -> Array:
        if thing.ids not in self._known:
            corners = self._scene.vertices[self._scene.triangles[self._scene.find_triangles(thing.ids)]]
            self._known[thing.ids] = np.stack([corners.min(axis=1), corners.max(axis=1)], axis=1)
        return self._known[thing.ids]

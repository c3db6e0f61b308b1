# SPDX-License-Identifier: Apache-2.0
"""Where things are to each other: what bears what, what hangs, and left, right, behind, ... as seen by the camera.

Boxes in the world tell what touches; the pixels tell what a viewer sees. What is not clear has no relation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.captioning.seeing.gbuffer import LEVEL, Mask, Picture
from blendset_trainer.captioning.seeing.segments import Thing
from blendset_trainer.captioning.seeing.surfaces import Surface
from blendset_trainer.language.lexicon import CONTAINERS


def gap(one: Thing, other: Thing) -> float:
    """Distance of two boxes in world units, 0 where they touch."""
    apart = np.maximum(np.maximum(one.box[0] - other.box[1], other.box[0] - one.box[1]), 0)
    return float(np.linalg.norm(apart))


# ---- what bears what -------------------------------------------------------------------------------------------------


def bearers(picture: Picture, things: Sequence[Thing], surfaces: Sequence[Surface]) -> dict[Thing, Thing | Surface]:
    """What each thing stands on: level pixels at the height of its foot, right below its lowest pixels.

    Where the camera cannot see the surface: the container that it is in, or the thing whose top its foot is at.
    """
    areas: list[Thing | Surface] = [*things, *surfaces]
    owner = np.full(picture.ids.shape, -1)
    for number, area in enumerate(areas):
        owner[area.mask] = number
    level = picture.normals[..., 2] > LEVEL
    found = {}
    for number, thing in enumerate(things):
        bearer = _seen_below(thing, owner, level, picture.positions[..., 2], number)
        other = next((each for each in things if each is not thing and _is_borne(thing, each, picture)), None)
        if bearer >= 0:
            found[thing] = areas[bearer]
        elif other:
            found[thing] = other
    return found


def _seen_below(thing: Thing, owner: NDArray[np.int_], level: Mask, height: NDArray[np.float64], number: int) -> int:
    columns = np.flatnonzero(thing.mask.any(axis=0))
    rows = len(thing.mask) - 1 - np.argmax(thing.mask[::-1, columns], axis=0)
    slack = 0.03 * (thing.box[1, 2] - thing.box[0, 2]) + 0.005 * thing.size
    votes: list[int] = []
    for step in (1, 2, 3):
        inside = rows + step < len(thing.mask)
        at = rows[inside] + step, columns[inside]
        close = level[at] & (np.abs(height[at] - thing.box[0, 2]) < slack) & (owner[at] >= 0) & (owner[at] != number)
        votes += owner[at][close].tolist()
    if len(votes) < max(3, 0.15 * len(columns)):
        return -1
    return int(np.bincount(votes).argmax())


def _is_borne(one: Thing, other: Thing, picture: Picture) -> bool:
    if other.noun.split(" ")[-1] in CONTAINERS and lies_in(one, other):
        return True
    foot, slack = one.box[0, 2], 0.03 * max(one.size, other.size)
    top = float(
        np.percentile(picture.positions[other.mask][:, 2], 90)
    )  # of what is seen: a box ends at its highest knob
    level = max(abs(foot - top), abs(foot - other.box[1, 2])) < slack or _is_put_over(one, other)
    return bool(level and _footprint_shared(one, other) > 0.6 and other.size > 0.5 * one.size)


def _is_put_over(one: Thing, other: Thing) -> bool:
    """As a shade over a lamp's foot: right above it, and down over its upper half."""
    aside = np.linalg.norm((one.box.mean(axis=0) - other.box.mean(axis=0))[:2]) > 0.1 * one.size
    return bool(not aside and other.box[:, 2].mean() < one.box[0, 2] < other.box[1, 2] < one.box[:, 2].mean())


def hangs_on_wall(picture: Picture, thing: Thing, surfaces: Sequence[Surface]) -> bool:
    """Whether a thing, not deep, touches a wall that goes on below it."""
    size = thing.box[1] - thing.box[0]
    if size[:2].min() > 0.4 * size.max():
        return False
    columns = np.flatnonzero(thing.mask.any(axis=0))
    rows = len(thing.mask) - 1 - np.argmax(thing.mask[::-1, columns], axis=0) + 2
    inside = rows < len(thing.mask)
    at = rows[inside], columns[inside]
    wall = np.zeros(len(at[0]), dtype=bool)
    for each in surfaces:
        if each.noun == "wall":
            wall |= each.mask[at]
    if np.count_nonzero(wall) < 0.6 * len(columns):
        return False
    places = picture.positions[at][wall]
    apart = np.maximum(thing.box[0] - places, 0) - np.maximum(places - thing.box[1], 0)
    off_the_wall = np.abs((apart * picture.normals[at][wall]).sum(axis=1))
    return bool(np.median(off_the_wall) < 0.2 * thing.size)


def _footprint_shared(one: Thing, other: Thing) -> float:
    """The share of one thing's footprint that lies within the other's."""
    overlap = np.minimum(one.box[1], other.box[1])[:2] - np.maximum(one.box[0], other.box[0])[:2]
    return float(np.prod(np.clip(overlap, 0, None)) / max(np.prod((one.box[1] - one.box[0])[:2]), 1e-9))


# ---- seen from the subject -------------------------------------------------------------------------------------------


def relation(each: Thing, subject: Thing, borne: Mapping[Thing, Thing | Surface]) -> str:
    """Where a thing is, seen from the subject; what stands on something else is where that is."""
    bearer = borne.get(each)
    if borne.get(subject) is each:
        return "under"
    if isinstance(bearer, Thing) and bearer is not subject and bearer is not borne.get(subject):
        return _seen_relation(bearer, subject)
    stands_on = bearer is subject and (each.noun or _overlap(each, subject, 0) > 0.3)
    if stands_on or (each.noun and lies_in(each, subject)):
        return "in" if subject.noun.split(" ")[-1] in CONTAINERS and lies_in(each, subject) else "on"
    if is_draped(subject, each):
        return "over"
    shared = max(_footprint_shared(each, subject), _footprint_shared(subject, each))
    if shared > 0.3 and each.box[0, 2] > subject.box[1, 2] + 0.1 * subject.size:
        return "above"
    if shared > 0.3 and each.box[1, 2] < subject.box[0, 2] - 0.1 * subject.size:
        return "below"
    return _seen_relation(each, subject)


def is_draped(thing: Thing, rod: Thing) -> bool:
    """Whether something without a name hangs down from a level rod: the rod is within its top, along it and beyond."""
    if rod.shape.noun not in ("bar", "rod") or thing.noun or gap(thing, rod) > 0:
        return False
    size = thing.box[1] - thing.box[0]
    along = int(size[:2].argmax())
    holds = rod.box[0, along] < thing.box[0, along] and rod.box[1, along] > thing.box[1, along]
    return bool(holds and rod.box[:, 2].mean() > thing.box[1, 2] - 0.3 * size[2])


def lies_in(each: Thing, subject: Thing) -> bool:
    slack = 0.02 * subject.size
    inside = (each.box[0] > subject.box[0] - slack).all() and (each.box[1] < subject.box[1] + slack).all()
    return bool(inside and each.size < 0.7 * subject.size)


def _seen_relation(each: Thing, subject: Thing) -> str:
    """Left, right, in front, behind: by the picture and by depth."""
    scale = (each.size + subject.size) / 2
    nearer = subject.depth - each.depth
    off = not subject.frame[0] < each.centre[0] < subject.frame[2]
    beside = _overlap(each, subject, 0) < (0.5 if nearer < 0 else 0.3) or (nearer < 0 and off and bool(each.noun))
    if nearer < -2.5 * scale:
        return "background"
    if beside and abs(nearer) < scale:
        return "left" if each.centre[0] < subject.centre[0] else "right"
    if not beside and nearer < -0.35 * scale:
        lower = each.box[1, 2] < subject.box[0, 2] or each.centre[1] > subject.frame[3] - 0.02
        around = _footprint_shared(subject, each) > 0.6  # a board that it lies on begins in front of it
        return "" if lower or around else "behind"
    if not beside and nearer > 0.35 * scale:
        return "front" if each.centre[1] > subject.centre[1] else ""
    if gap(each, subject) < 0.2 * scale and (beside or (each.noun and not _is_flat(each))):
        return "beside"
    return "foreground" if nearer > scale else "background" if nearer < -scale else ""


def _overlap(one: Thing, other: Thing, axis: int) -> float:
    """How much of the shorter one's extent in the picture, across (0) or down (1), both have."""
    (low, high), (other_low, other_high) = one.frame[axis::2], other.frame[axis::2]
    return (min(high, other_high) - max(low, other_low)) / min(high - low, other_high - other_low)


def _is_flat(each: Thing) -> bool:
    return bool((each.box[1] - each.box[0])[2] < 0.05 * each.size)

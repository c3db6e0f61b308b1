# SPDX-License-Identifier: Apache-2.0
"""What there is to say about a view, as plain data: its subject, what is around it and where, surfaces, camera, light.

Nothing is said that the pixels, the index pass and the geometry do not show; what is unclear is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from blendset.exr import Passes
from blendset.records import SceneRecord, ViewRecord
from blendset_trainer.captioning.things import LEVEL, Mask, Picture, Seen, Surface, Thing, see
from blendset_trainer.captioning.words import CONTAINERS, SEE_THROUGH, UNREMARKABLE, noun_of, singular

WORTH_NAMING, WORTH_DESCRIBING = 0.004, 0.015
"""The share of the picture that a thing with a name needs to be mentioned, and one without."""
WORTH_COUNTING, MANY_ALIKE = 0.0003, 5
"""Smaller things are mentioned where there are so many, each with this share."""
IN_SIGHT = 0.2
"""How much of its box in the picture a thing must fill to be recognised by what is seen of it."""
CLEARLY_THERE = 0.03
"""A thing with this share of the picture is recognised even where the frame cuts it."""
MOST_THINGS = 16
LINE = 0.05
"""Things slenderer than this (skirting, cables) are no news."""


@dataclass(frozen=True)
class Mention:
    """A thing, or several of a kind that stand in one relation to the subject.

    `relation` to the subject: "under" it (bearing it), "on", "in", "above", "below", "left", "right", "front",
    "behind", "beside", "background", or "" where it is not clear. `on` is the noun of what bears it.
    `place` is its centre in the picture, from the left and from the top, 0 to 1; `upright` tells of a thin panel (door,
    painting), that is not said to stand on the floor.
    """

    noun: str
    named: bool
    count: int
    colour: str
    material: str
    share: float
    place: tuple[float, float]
    upright: bool = False
    relation: str = ""
    on: str = ""


@dataclass(frozen=True)
class SurfaceFact:
    noun: str
    colour: str
    material: str
    share: float


@dataclass(frozen=True)
class Facts:
    """`angle` is where the camera looks from ("directly above", "above", "slightly above", "level", "below").

    `distance` is "close", "wide" or ""; `light` holds what is clear of "bright", "dim", "warm" and "cool"; `palette` is
    "grey" where nothing has a colour; `backdrop` is the surface around the subject; `nothing` is the share of the
    picture without any object; `nouns` are all that may be named, singular.
    """

    subject: Mention | None
    others: tuple[Mention, ...]
    surfaces: tuple[SurfaceFact, ...]
    angle: str
    distance: str
    light: tuple[str, ...]
    palette: str
    backdrop: SurfaceFact | None
    nothing: float
    nouns: frozenset[str]


def facts_of(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> Facts:
    """Find what there is to say. `rgb` (height, width, 3) is 8-bit sRGB of the same size as the passes."""
    seen = see(view, scene, rgb, passes)
    subject = seen.subject
    things = [each for each in _worth_saying(seen) if not _is_part_of(each, subject)]
    borne = _bearers(seen.picture, [*things, *([subject] if subject else [])], seen.surfaces)
    palette = "grey" if _is_colourless(rgb) else ""
    return Facts(
        subject=_mention([subject], "", borne) if subject else None,
        others=tuple(_mentions(things, subject, borne)),
        surfaces=tuple(_surface_fact(each) for each in seen.surfaces if each.share > 0.02),
        angle=_angle(seen.picture),
        distance=_distance(subject),
        light=_light(rgb, seen.picture.ids > 0),
        palette=palette,
        backdrop=_backdrop(seen),
        nothing=float(np.mean(seen.picture.ids == 0)),
        nouns=visible_nouns(view, seen.surfaces),
    )


def visible_nouns(view: ViewRecord, surfaces: Iterable[Surface] = ()) -> frozenset[str]:
    """The nouns (singular) of everything that the index pass shows, whatever its size, and of the surfaces."""
    labels = [view.subject_label, *(each.label for each in view.visible_objects)]
    return frozenset({singular(noun_of(label)) for label in labels} | {each.noun for each in surfaces}) - {""}


# ---- what is worth saying --------------------------------------------------------------------------------------------


def _worth_saying(seen: Seen) -> list[Thing]:
    """Things large enough to be recognised, and small ones of which there are many (the books of a shelf)."""
    remarkable = [each for each in seen.things if each.noun.split(" ")[-1] not in UNREMARKABLE and not _is_line(each)]
    large = [each for each in remarkable if _is_recognised(each, seen.picture)][:MOST_THINGS]
    small = [each for each in remarkable if each.noun and WORTH_COUNTING < each.share <= WORTH_NAMING]
    for noun in dict.fromkeys(each.noun for each in small):
        alike = [each for each in small if each.noun == noun]
        if len(alike) >= MANY_ALIKE and sum(each.share for each in alike) > WORTH_NAMING:
            large += alike
    return large


def _is_line(each: Thing) -> bool:
    size = np.sort(each.box[1] - each.box[0])
    return bool(size[1] < LINE * size[2])


def _is_recognised(each: Thing, picture: Picture) -> bool:
    enough = each.share > (WORTH_NAMING if each.noun else WORTH_DESCRIBING)
    return enough and _share_in_sight(each, picture) > IN_SIGHT


def _share_in_sight(each: Thing, picture: Picture) -> float:
    """How much of the place that its box takes in the picture and beyond is filled by the box of what is seen of it."""
    if each.share > CLEARLY_THERE:
        return 1.0
    corners = np.array(
        [[each.box[i, 0], each.box[j, 1], each.box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    )
    pixels, depth = picture.camera.project(corners)
    if (depth <= 0).any():  # it runs past the camera
        return 0.0
    size = np.array([picture.camera.width, picture.camera.height])
    whole = np.prod(np.ptp(pixels / size, axis=0))
    left, top, right, bottom = each.frame
    return float((right - left) * (bottom - top) / max(whole, 1e-9))


def _is_part_of(each: Thing, subject: Thing | None) -> bool:
    """Whether it is a piece of the subject that was not grouped with it: of its name, small and near."""
    if subject is None or each.noun != subject.noun or not each.noun:
        return False
    return bool(each.share < 0.3 * subject.share and _gap(each, subject) < 0.01 * subject.size)


def _gap(one: Thing, other: Thing) -> float:
    """Distance of two boxes in world units, 0 where they touch."""
    apart = np.maximum(np.maximum(one.box[0] - other.box[1], other.box[0] - one.box[1]), 0)
    return float(np.linalg.norm(apart))


def _surface_fact(each: Surface) -> SurfaceFact:
    return SurfaceFact(each.noun, each.colour, each.material, each.share)


def _backdrop(seen: Seen) -> SurfaceFact | None:
    """The wall (or other upright surface) that most of the subject is seen against: beside and above its pixels."""
    if seen.subject is None:
        return None
    mask = seen.subject.mask
    reach = max(2, mask.shape[1] // 40)
    around = np.zeros_like(mask)
    around[:, reach:] |= mask[:, :-reach]
    around[:, :-reach] |= mask[:, reach:]
    around[:-reach] |= mask[reach:]
    around &= ~mask
    behind = next(
        (each for each in seen.surfaces if each.noun == "wall" and (each.mask & around).sum() > 0.4 * around.sum()),
        None,
    )
    return _surface_fact(behind) if behind else None


# ---- what bears what -------------------------------------------------------------------------------------------------


def _bearers(picture: Picture, things: Sequence[Thing], surfaces: Sequence[Surface]) -> dict[Thing, Thing | Surface]:
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
        other = next((each for each in things if each is not thing and _is_borne(thing, each)), None)
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


def _is_borne(one: Thing, other: Thing) -> bool:
    if other.noun.split(" ")[-1] in CONTAINERS and _lies_in(one, other):
        return True
    level = abs(one.box[0, 2] - other.box[1, 2]) < 0.03 * max(one.size, other.size)
    return level and _footprint_shared(one, other) > 0.6 and other.size > 0.5 * one.size


def _footprint_shared(one: Thing, other: Thing) -> float:
    """The share of one thing's footprint that lies within the other's."""
    overlap = np.minimum(one.box[1], other.box[1])[:2] - np.maximum(one.box[0], other.box[0])[:2]
    return float(np.prod(np.clip(overlap, 0, None)) / max(np.prod((one.box[1] - one.box[0])[:2]), 1e-9))


# ---- relations to the subject ----------------------------------------------------------------------------------------


def _mentions(things: Sequence[Thing], subject: Thing | None, borne: dict[Thing, Thing | Surface]) -> Iterator[Mention]:
    """Things of one kind in one relation are said together; the most visible come first."""

    def kind(each: Thing) -> tuple[str, str, str]:
        relation = _relation(each, subject, borne) if subject else ""
        noun = each.noun or (each.shape if subject else each.shape.removeprefix(each.proportion).strip())
        return noun, relation, "" if subject or not each.noun else _noun(borne.get(each))

    groups = [(key, list(members)) for key, members in groupby(sorted(things, key=kind), key=kind)]
    mentions = [replace(_mention(members, key[1], borne), noun=key[0]) for key, members in groups]
    yield from sorted(mentions, key=lambda each: -each.share)


def _mention(things: Sequence[Thing], relation: str, borne: dict[Thing, Thing | Surface]) -> Mention:
    first = things[0]
    colours, materials = {each.colour for each in things}, {each.material for each in things}
    bearers = {_noun(borne.get(each)) for each in things}
    return Mention(
        noun=first.noun or first.shape,
        named=bool(first.noun),
        count=len(things),
        colour="" if SEE_THROUGH & {*first.noun.split(), *materials} or len(colours) > 1 else colours.pop(),
        material=materials.pop() if len(materials) == 1 else "",
        share=sum(each.share for each in things),
        place=(
            float(np.mean([each.centre[0] for each in things])),
            float(np.mean([each.centre[1] for each in things])),
        ),
        upright=all(_is_upright_panel(each) for each in things),
        relation=relation,
        on=bearers.pop() if len(bearers) == 1 else "",
    )


def _is_upright_panel(each: Thing) -> bool:
    wide, deep, high = *sorted((each.box[1] - each.box[0])[:2], reverse=True), (each.box[1] - each.box[0])[2]
    return bool(deep < 0.15 * high and deep < 0.25 * wide)


def _noun(bearer: Thing | Surface | None) -> str:
    return bearer.noun if bearer else ""


def _relation(each: Thing, subject: Thing, borne: dict[Thing, Thing | Surface]) -> str:
    """Where a thing is, seen from the subject; what stands on something else is where that is."""
    bearer = borne.get(each)
    if borne.get(subject) is each:
        return "under"
    if isinstance(bearer, Thing) and bearer is not subject and bearer is not borne.get(subject):
        return _seen_relation(bearer, subject)
    if borne.get(each) is subject or _lies_in(each, subject):
        return "in" if subject.noun.split(" ")[-1] in CONTAINERS and _lies_in(each, subject) else "on"
    shared = max(_footprint_shared(each, subject), _footprint_shared(subject, each))
    if shared > 0.3 and each.box[0, 2] > subject.box[1, 2] + 0.1 * subject.size:
        return "above"
    if shared > 0.3 and each.box[1, 2] < subject.box[0, 2] - 0.1 * subject.size:
        return "below"
    return _seen_relation(each, subject)


def _lies_in(each: Thing, subject: Thing) -> bool:
    slack = 0.02 * subject.size
    inside = (each.box[0] > subject.box[0] - slack).all() and (each.box[1] < subject.box[1] + slack).all()
    return bool(inside and each.size < 0.7 * subject.size)


def _seen_relation(each: Thing, subject: Thing) -> str:
    """Left, right, in front, behind: by the picture and by depth."""
    scale = (each.size + subject.size) / 2
    nearer = subject.depth - each.depth
    left, _, right, _ = each.frame
    subject_left, _, subject_right, _ = subject.frame
    overlap = min(right, subject_right) - max(left, subject_left)
    beside = overlap < 0.3 * min(right - left, subject_right - subject_left)
    if nearer < -2.5 * scale:
        return "background"
    if beside and abs(nearer) < scale:
        return "left" if each.centre[0] < subject.centre[0] else "right"
    if not beside and nearer < -0.35 * scale:
        return "behind"
    if not beside and nearer > 0.35 * scale:
        return "front"
    if _gap(each, subject) < 0.2 * scale:
        return "beside"
    return "foreground" if nearer > scale else "background" if nearer < -scale else ""


# ---- camera and light ------------------------------------------------------------------------------------------------


def _angle(picture: Picture) -> str:
    pitch = float(np.degrees(np.arcsin(np.clip(-picture.camera.rotation[2, 2], -1, 1))))  # above the horizon
    steps = ((-65, "directly above"), (-30, "above"), (-10, "slightly above"), (12, "level"))
    return next((name for limit, name in steps if pitch < limit), "below")


def _distance(subject: Thing | None) -> str:
    if subject is None:
        return "wide"
    return "close" if subject.share > 0.25 else ""


def _light(rgb: NDArray[np.uint8], shown: Mask) -> tuple[str, ...]:
    """What is clear about the light: how bright the picture is, and the cast of its brightest nearly neutral pixels."""
    if not shown.any():
        return ()
    lab = rgb2lab(rgb)[shown]
    mean = float(lab[:, 0].mean())
    white = lab[(lab[:, 0] > np.percentile(lab[:, 0], 70)) & (np.hypot(lab[:, 1], lab[:, 2]) < 16)]
    cast = float(np.median(white[:, 2])) if len(white) > 0.1 * len(lab) else 0.0
    words = ["dim"] if mean < 33 else ["bright"] if mean > 64 else []
    return (*words, *(["warm"] if cast > 8 else ["cool"] if cast < -6 else []))


def _is_colourless(rgb: NDArray[np.uint8]) -> bool:
    """Whether the whole picture is in shades of grey, as clay renders are."""
    span = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return float(np.mean(span > 12)) < 0.02

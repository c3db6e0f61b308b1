# SPDX-License-Identifier: Apache-2.0
"""What there is to say about a view, as plain data: its subject, what is around it and where, surfaces, camera, light.

Nothing is said that the pixels, the index pass and the geometry do not show; what is unclear is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from blendset.exr import Passes
from blendset.records import SceneRecord, ViewRecord
from blendset_trainer.captioning.picture import Picture
from blendset_trainer.captioning.relations import bearers, gap, hangs_on_wall, relation
from blendset_trainer.captioning.surfaces import Surface
from blendset_trainer.captioning.things import Seen, Thing, see
from blendset_trainer.captioning.viewing import angle, distance, emptiness, is_colourless, light, light_side
from blendset_trainer.captioning.words import SEE_THROUGH, UNREMARKABLE, noun_of, singular

WORTH_NAMING, WORTH_DESCRIBING = 0.004, 0.015
"""The share of the picture that a thing with a name needs to be mentioned, and one without."""
WORTH_COUNTING, MANY_ALIKE = 0.0003, 5
"""Smaller things are mentioned where there are so many, each with this share."""
IN_SIGHT = 0.2
"""How much of its box in the picture a thing must fill to be recognised by what is seen of it."""
CLEARLY_THERE = 0.03
"""A thing with this share of the picture is recognised even where the frame cuts it."""
MOST_THINGS = 16
VAGUE = frozenset(("shape", "structure"))
"""Two that are called so have nothing else in common."""
LINE = 0.05
"""Things slenderer than this (skirting, cables) are no news."""


@dataclass(frozen=True)
class Mention:
    """A thing, or several of a kind that stand in one relation to the subject.

    Without a name, `noun` is a word for its shape, with `manner` before its colour ("tall") and `tail` behind ("on
    legs"); `several` is "row" or "stack" where it is one of such; it is `alike`
    in shape and size to the subject, or to many others in a view of the scene.
    `relation` to the subject: "under" it (bearing it), "on", "in", "above", "below", "left", "right", "front",
    "behind", "beside", "background", "foreground", or "" where it is not clear. `on` is the noun of what bears it,
    `on_wall` tells that it hangs. `place` is its centre in the picture, from the left and from the top, 0 to 1, and
    `frame` the left, top, right and bottom of the largest;
    `upright` tells of a thin panel (door, painting), that is not said to stand on the floor.
    """

    noun: str
    named: bool
    count: int
    colour: str
    material: str
    share: float
    place: tuple[float, float]
    manner: str = ""
    tail: str = ""
    several: str = ""
    alike: bool = False
    upright: bool = False
    on_wall: bool = False
    frame: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
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

    `distance` is "close", "wide" or ""; `light` holds what is clear of "bright", "dim", "warm" and "cool"; `light_side`
    is "left", "right" or ""; `palette` is "grey" where nothing has a colour; `backdrop` is the surface around the
    subject; `emptiness` is what the background without any object is like ("" where there is little); `nouns` are all
    that may be named, singular.
    """

    subject: Mention | None
    others: tuple[Mention, ...]
    surfaces: tuple[SurfaceFact, ...]
    angle: str
    distance: str
    light: tuple[str, ...]
    light_side: str
    palette: str
    backdrop: SurfaceFact | None
    emptiness: str
    nouns: frozenset[str]


def facts_of(view: ViewRecord, scene: SceneRecord, rgb: NDArray[np.uint8], passes: Passes) -> Facts:
    """Find what there is to say. `rgb` (height, width, 3) is 8-bit sRGB of the same size as the passes."""
    seen = see(view, scene, rgb, passes)
    subject = seen.subject
    things = [each for each in _worth_saying(seen) if not _is_part_of(each, subject)]
    said = [*things, *([subject] if subject else [])]
    kind = _Kinds(seen, bearers(seen.picture, said, seen.surfaces))
    shown, colourless = seen.picture.ids > 0, is_colourless(rgb)
    return Facts(
        subject=kind.mention([subject], "") if subject else None,
        others=tuple(_mentions(things, kind)),
        surfaces=tuple(_surface_fact(each) for each in seen.surfaces if each.share > 0.02),
        angle=angle(seen.picture),
        distance=distance(subject),
        light=light(rgb, shown),
        light_side=light_side(seen.picture) if colourless else "",
        palette="grey" if colourless else "",
        backdrop=_backdrop(seen),
        emptiness=emptiness(rgb, shown),
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
    return bool(each.share < 0.3 * subject.share and gap(each, subject) < 0.01 * subject.size)


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


# ---- mentions ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kinds:
    """Makes mentions of things in one view, where it is known what bears each."""

    seen: Seen
    borne: Mapping[Thing, Thing | Surface]

    def relation(self, each: Thing) -> str:
        if not self.seen.subject:
            return ""
        found = relation(each, self.seen.subject, self.borne)
        return "behind" if found == "background" and self.alike(each) else found

    def bearer(self, each: Thing) -> str:
        bearer = self.borne.get(each)
        return (bearer.noun or bearer.shape.noun) if isinstance(bearer, Thing) else bearer.noun if bearer else ""

    def alike(self, each: Thing) -> bool:
        """Without a name, and of the size and shape of the subject; in a view of the scene, of several others."""
        if each.noun:
            return False
        if self.seen.subject:
            return each is not self.seen.subject and _same(each, self.seen.subject)
        return sum(_same(each, other) for other in self.seen.things) > MANY_ALIKE

    def count(self, things: Sequence[Thing]) -> int:
        """Of many alike in a view of the scene, also those that are too small to be told by themselves."""
        if self.seen.subject or not self.alike(things[0]):
            return len(things)
        return sum(_same(things[0], each) for each in self.seen.things)

    def mention(self, things: Sequence[Thing], relation: str) -> Mention:
        first = max(things, key=lambda each: each.share)
        material = _one({each.material for each in things})
        see_through = SEE_THROUGH & {*first.noun.split(), material}
        return Mention(
            noun=first.noun or _one({each.shape.noun for each in things}) or "structure",
            named=bool(first.noun),
            count=self.count(things),
            colour="" if see_through else _one({each.colour for each in things}),
            material=material,
            share=sum(each.share for each in things),
            place=(
                float(np.mean([each.centre[0] for each in things])),
                float(np.mean([each.centre[1] for each in things])),
            ),
            manner=_one({each.shape.manner for each in things}),
            tail=_one({each.shape.tail for each in things}),
            several=_one({each.shape.several for each in things}),
            alike=all(self.alike(each) for each in things),
            upright=all(_is_upright_panel(each) for each in things),
            on_wall=all(
                each not in self.borne and hangs_on_wall(self.seen.picture, each, self.seen.surfaces) for each in things
            ),
            frame=first.frame,
            relation=relation,
            on=_one({self.bearer(each) for each in things}),
        )


def _mentions(things: Sequence[Thing], kinds: _Kinds) -> Iterator[Mention]:
    """Things of one kind in one relation are said together; the most visible come first."""

    def kind(each: Thing) -> tuple[str, str, str, bool]:
        bearer = "" if kinds.seen.subject or not each.noun else kinds.bearer(each)
        alike = kinds.alike(each)
        plain = not kinds.seen.subject and each.shape.noun not in VAGUE
        manner = "" if plain else each.shape.manner
        shape = "" if alike else f"{manner} {each.shape.noun} {each.shape.several}"
        return each.noun or shape, kinds.relation(each), bearer, alike

    groups = [(key, list(members)) for key, members in groupby(sorted(things, key=kind), key=kind)]
    yield from sorted((kinds.mention(members, key[1]) for key, members in groups), key=lambda each: -each.share)


def _same(one: Thing, other: Thing) -> bool:
    """Whether two have no name and one size, turned about the upright axis or not."""
    if one.noun or other.noun or len({one.colour, other.colour} - {"", "grey", "light grey", "white"}) > 1:
        return False
    sizes = [(each.box[1] - each.box[0]) for each in (one, other)]
    flat = [np.array([*np.sort(each[:2]), each[2]]) for each in sizes]
    return bool(np.abs(flat[0] - flat[1]).max() < 0.1 * min(one.size, other.size))


def _one(words: set[str]) -> str:
    """The word that all share, "" where they do not."""
    return words.pop() if len(words) == 1 else ""


def _is_upright_panel(each: Thing) -> bool:
    wide, deep, high = *sorted((each.box[1] - each.box[0])[:2], reverse=True), (each.box[1] - each.box[0])[2]
    return bool(deep < 0.15 * high and deep < 0.25 * wide)

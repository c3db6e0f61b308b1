# SPDX-License-Identifier: Apache-2.0
"""How the things in a view are told: several of a kind together, each with its words and its place.

A thing without a name is told by its shape; one that is told by no plain word is left to other captioners.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from blendset_trainer.captioning.seeing.relations import hangs_on_wall, relation
from blendset_trainer.captioning.seeing.segments import Seen, Thing, are_alike
from blendset_trainer.captioning.seeing.shapes import SLABS
from blendset_trainer.captioning.seeing.surfaces import Surface
from blendset_trainer.language.lexicon import SEE_THROUGH

MANY_ALIKE = 5
"""So many that are alike are told as such in a view of the scene."""
VAGUE = frozenset(("form", "shape", "structure"))
"""Two that are called so have nothing else in common."""
FAINT, DARK = 0.03, 22
"""A thing with less of the picture and of such lightness is too dark for its colour to be seen."""
PALE = frozenset(("white", "cream", "beige", "grey", "light grey"))
"""Colours that light makes of each other."""


@dataclass(frozen=True)
class Mention:
    """A thing, or several of a kind that stand in one relation to the subject.

    Without a name, `noun` is a word for its shape, with `manner` before its colour ("tall") and `tail` behind ("on
    legs"); `several` is "row" or "stack" where it is one of such; it is `alike`
    in shape and size to the subject, or to many others in a view of the scene.
    `relation` to the subject: "under" it (bearing it), "on", "in", "above", "below", "left", "right", "front",
    "behind", "beside", "background", "foreground", "over" (the subject hangs over it), or "" where it is not clear.
    `on` is the noun of what bears it, `on_wall` tells that it hangs. `place` is its centre in the picture, from the
    left and from the top, 0 to 1, and
    `frame` the left, top, right and bottom of the largest;
    `upright` tells of a thin panel (door, painting), that is not said to stand on the floor.
    `lightness` is CIELAB's.
    """

    noun: str
    named: bool
    count: int
    colour: str
    material: str
    share: float
    lightness: float
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

    @property
    def is_cut(self) -> bool:
        """Whether the edge of the picture cuts it off."""
        return min(self.frame[:2]) <= 0 or max(self.frame[2:]) >= 1

    @property
    def plain(self) -> bool:
        """Whether its noun says what it looks like."""
        return self.named or self.alike or self.noun not in VAGUE or self.manner.endswith("-like")


@dataclass(frozen=True)
class Telling:
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
        return self.noun([bearer]) if isinstance(bearer, Thing) else bearer.noun if bearer else ""

    def noun(self, things: Sequence[Thing]) -> str:
        """What they are called, or the word for their shape; a slab that is fixed to a wall is a ledge."""
        noun = things[0].noun or _one({each.shape.noun for each in things}) or "structure"
        return "ledge" if noun in SLABS and self.hang(things) else noun

    def hang(self, things: Sequence[Thing]) -> bool:
        picture, surfaces = self.seen.picture, self.seen.surfaces
        return all(each not in self.borne and hangs_on_wall(picture, each, surfaces) for each in things)

    def alike(self, each: Thing) -> bool:
        """Without a name, and of the size and shape of the subject; in a view of the scene, of several others."""
        if self.seen.subject:
            return each is not self.seen.subject and are_alike(each, self.seen.subject)
        return sum(are_alike(each, other) for other in self.seen.things) > MANY_ALIKE

    def count(self, things: Sequence[Thing]) -> int:
        """Of many alike in a view of the scene, also those that are too small to be told by themselves."""
        if self.seen.subject or not self.alike(things[0]):
            return len(things)
        return sum(are_alike(things[0], each) for each in self.seen.things)

    def colour(self, things: Sequence[Thing]) -> str:
        """The colour that all have; "" where it is not sure: of something dark and small, or in pale parts."""
        colour = _one({each.colour for each in things})
        dark = colour == "black" and all(each.share < FAINT and each.lightness < DARK for each in things)
        return "" if dark or (colour in PALE and any(each.is_of_parts for each in things)) else colour

    def mention(self, things: Sequence[Thing], relation: str) -> Mention:
        first = max(things, key=lambda each: each.share)
        material = _one({each.material for each in things})
        see_through = SEE_THROUGH & {*first.noun.split(), material}
        return Mention(
            noun=self.noun(things),
            named=bool(first.noun),
            count=self.count(things),
            colour="" if see_through else self.colour(things),
            material=material,
            share=sum(each.share for each in things),
            lightness=first.lightness,
            place=(
                float(np.mean([each.centre[0] for each in things])),
                float(np.mean([each.centre[1] for each in things])),
            ),
            manner=_one({each.shape.manner for each in things}),
            tail=_one({each.shape.tail for each in things}),
            several=_one({each.shape.several for each in things}),
            alike=all(self.alike(each) for each in things),
            upright=all(_is_upright_panel(each) for each in things),
            on_wall=self.hang(things),
            frame=first.frame,
            relation=relation,
            on=_one({self.bearer(each) for each in things}),
        )


def mentions(things: Sequence[Thing], telling: Telling) -> Iterator[Mention]:
    """Things of one kind in one relation are said together; the most visible come first."""

    def kind(each: Thing) -> tuple[str, str, str, bool]:
        bearer = "" if telling.seen.subject or not each.noun else telling.bearer(each)
        alike = telling.alike(each)
        plain = not telling.seen.subject and each.shape.noun not in VAGUE
        manner = "" if plain else each.shape.manner
        colour = "" if each.colour in PALE else each.colour
        shape = "" if alike else f"{manner} {telling.noun([each])} {each.shape.several} {colour}"
        return each.noun or shape, telling.relation(each), bearer, alike

    groups = [(key, list(members)) for key, members in groupby(sorted(things, key=kind), key=kind)]
    yield from sorted((telling.mention(members, key[1]) for key, members in groups), key=lambda each: -each.share)


def _one(words: set[str]) -> str:
    """The word that all share, "" where they do not."""
    return words.pop() if len(words) == 1 else ""


def _is_upright_panel(each: Thing) -> bool:
    wide, deep, high = *sorted((each.box[1] - each.box[0])[:2], reverse=True), (each.box[1] - each.box[0])[2]
    return bool(deep < 0.15 * high and deep < 0.25 * wide)

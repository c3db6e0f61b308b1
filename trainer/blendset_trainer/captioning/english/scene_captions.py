# SPDX-License-Identifier: Apache-2.0
"""Captions of a view of the scene: what room or place it is, what is in it, and on which side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from blendset_trainer.captioning.english.phrases import be, coloured_surfaces, paired, seen, thing, things, together
from blendset_trainer.captioning.seeing.facts import Facts
from blendset_trainer.captioning.seeing.entities import Mention
from blendset_trainer.language.grammar import listed, plural, with_article

MOST_NAMELESS = 5
_SIDES = {"on the left": (0.0, 0.36), "near the middle": (0.36, 0.64), "on the right": (0.64, 1.01)}


def opening(facts: Facts, random: Random, most_words: int) -> str:
    """ "a room with a sofa, a rug and a lamp", for a short caption; where nothing has a name, only of the colours."""
    if coloured := _colours(facts):
        return f"{_place(facts, random)} with {listed(coloured)}, {seen(facts, random)}"
    for count in (3, 2, 1):
        text = _shown(_best(facts)[:count], facts, random)
        if len(text.split()) <= most_words:
            break
    return text


def paragraph(facts: Facts, random: Random) -> Iterator[str]:
    """The sentences that a dense caption begins with."""
    shared, mentions = together(_best(facts), facts)
    coloured = _colours(facts)
    first, rest = mentions[:3], [each for each in mentions[3:9] if each.named or coloured]
    if coloured:
        yield f"{_place(facts, random)} with {listed(coloured)}, {seen(facts, random)}"
        yield f"in it {be(first)} {things(first, facts, ())}" if first else ""
    else:
        yield f"{_shown(first, facts, random)}, {seen(facts, random)}"
        if first and first[0].alike and first[0].is_cut:
            yield "they stand near and far, the nearest cut off by the edge of the picture"
    known = {each.noun for each in first}
    clauses = []
    for where, (low, high) in _SIDES.items():
        if chosen := [each for each in rest if low <= each.place[0] < high][:3]:
            clauses.append(f"{where} {be(chosen)} {things(chosen, facts, known)}")
            known |= {each.noun for each in chosen}
    yield from paired([*shared, *clauses])


def _colours(facts: Facts) -> list[str]:
    """Of walls and floor, in a room where nothing has a name: what a person sees first there."""
    return coloured_surfaces(facts) if _is_room(facts) and not any(each.named for each in facts.others) else []


def tells_surfaces(facts: Facts) -> bool:
    """Whether the paragraph tells the colours of walls and floor."""
    return bool(_colours(facts))


def _shown(mentions: Sequence[Mention], facts: Facts, random: Random) -> str:
    """What place it is and what is in it."""
    if not mentions:
        return f"a view of {listed(_bare(facts))}"
    shown = listed([thing(each, facts) for each in mentions])
    if not _is_room(facts):
        return f"an all-grey view of {shown}" if facts.palette else f"a view of {shown}"
    if len(mentions) == 1 and mentions[0].alike:
        return f"{_place(facts, random)} filled with {shown.removeprefix('many ')}"
    return f"{_place(facts, random)} with {shown}"


def _place(facts: Facts, random: Random) -> str:
    room = random.choice(("room", "interior"))
    return f"a plain grey {room}" if facts.palette else with_article(room, room)


def _best(facts: Facts) -> list[Mention]:
    """What has a name comes first, what is larger in the picture before what is smaller; little of what has none."""
    ordered = sorted(facts.others, key=lambda each: (not each.named, not each.alike, -each.share))
    plain = [each for each in ordered if not each.named and each.plain and each.noun != "panel"]
    nameless = [each for each in plain if each.colour or each.alike or facts.palette][:MOST_NAMELESS]
    return [each for each in ordered if each.named or each in nameless]


def _is_room(facts: Facts) -> bool:
    return {"wall", "floor"} <= {each.noun for each in facts.surfaces}


def _bare(facts: Facts) -> list[str]:
    nouns = dict.fromkeys(each.noun for each in facts.surfaces)
    return [plural(each) if each == "wall" else f"a {each}" for each in nouns] or ["an empty background"]

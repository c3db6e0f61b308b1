# SPDX-License-Identifier: Apache-2.0
"""Captions of a view of the scene: what room or place it is, what is in it, and on which side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from blendset_trainer.captioning.facts import Facts, Mention
from blendset_trainer.captioning.phrases import be, paired, thing, things, together
from blendset_trainer.captioning.words import listed, plural

MOST_NAMELESS = 4
_SIDES = {"on the left": (0.0, 0.36), "near the middle": (0.36, 0.64), "on the right": (0.64, 1.01)}


def opening(facts: Facts, random: Random, most_words: int) -> str:
    """ "a room with a sofa, a rug and a lamp", for a short caption."""
    room = random.choice(("a room with", "an interior with")) if _is_room(facts) else "a view of"
    best = _best(facts)
    for count in (3, 2, 1):
        shown = [thing(each, facts) for each in best[:count]]
        text = f"{room} {listed(shown)}" if shown else _bare(facts)
        if len(text.split()) <= most_words:
            break
    return text


def paragraph(facts: Facts, random: Random) -> Iterator[str]:
    """The sentences that a dense caption begins with."""
    shared, mentions = together(_best(facts), facts)
    first, rest = mentions[:3], mentions[3:9]
    yield _introduction(first, facts, random)
    known = {each.noun for each in first}
    clauses = []
    for where, (low, high) in _SIDES.items():
        if chosen := [each for each in rest if low <= each.place[0] < high][:3]:
            clauses.append(f"{where} {be(chosen)} {things(chosen, facts, known)}")
            known |= {each.noun for each in chosen}
    yield from paired([*shared, *clauses])


def _introduction(mentions: Sequence[Mention], facts: Facts, random: Random) -> str:
    if not mentions:
        return f"{random.choice(('this is ', ''))}{_bare(facts)}"
    shown = listed([thing(each, facts) for each in mentions])
    if not _is_room(facts):
        return f"a view of {shown}"
    return f"{random.choice(('a wide view of', 'a view into'))} {random.choice(('a room', 'an interior'))} with {shown}"


def _best(facts: Facts) -> list[Mention]:
    """What has a name comes first, what is larger in the picture before what is smaller; little of what has none."""
    ordered = sorted(facts.others, key=lambda each: (not each.named, not each.alike, -each.share))
    nameless = [each for each in ordered if not each.named][:MOST_NAMELESS]
    return [each for each in ordered if each.named or each in nameless]


def _is_room(facts: Facts) -> bool:
    return {"wall", "floor"} <= {each.noun for each in facts.surfaces}


def _bare(facts: Facts) -> str:
    nouns = dict.fromkeys(each.noun for each in facts.surfaces)
    shown = [plural(each) if each == "wall" else f"a {each}" for each in nouns]
    return f"a view of {listed(shown or ['an empty background'])}"

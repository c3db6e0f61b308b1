# SPDX-License-Identifier: Apache-2.0
"""Captions of a view of one thing: what it is and stands on, then what is around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from random import Random

from blendset_trainer.captioning.english.phrases import (
    backdrop,
    be,
    paired,
    place,
    seen,
    support,
    surface,
    thing,
    things,
    together,
)
from blendset_trainer.captioning.seeing.facts import Facts
from blendset_trainer.captioning.seeing.entities import Mention
from blendset_trainer.language.grammar import is_plural

MOST_NAMELESS = 2
"""More things without a name than this are no help to a reader."""
MANY_AROUND = 3
"""So many of a name on several sides are around something."""
_FIRST = {"on": 0, "in": 0, "above": 1, "below": 2}
"""What stands on something is told before what is over and under it, and that before the rest."""
_SIDES = frozenset("left right front behind beside".split())
DOMINANT = 0.2
"""A subject with this share of the picture fills its middle."""
_WHERE = {
    "left": ("to its left", "on its left"),
    "right": ("to its right", "on its right"),
    "behind": ("behind it",),
    "front": ("in front of it",),
    "beside": ("next to it", "beside it"),
    "on": ("on it", "on top of it"),
    "in": ("in it",),
    "above": ("above it",),
    "below": ("below it",),
    "background": ("in the background", "farther back"),
    "around": ("around it",),
    "foreground": ("in the foreground", "closer to the camera"),
}


def opening(facts: Facts, random: Random) -> str:
    """ "a globe stands on a wooden sideboard", for a short caption."""
    assert facts.subject
    base = support(facts)
    verb = random.choice((_verb(facts, random), "")) if base and facts.subject.noun != "ledge" else ""
    if base and facts.subject.noun == "ledge":
        verb = random.choice(("juts out", "jutting out"))
    alone = not base and not backdrop(facts) and not _related(facts.others, facts)
    return " ".join(
        part for part in (thing(facts.subject, facts), verb, base or (place(facts.subject) if alone else "")) if part
    )


def tails(facts: Facts, random: Random) -> list[str]:
    """What a short caption may add: the backdrop, and the thing around it that tells most."""
    assert facts.subject
    if flanks := _flanks(facts):
        return [f" between {_pair(flanks, facts)}"]
    around = sorted(_related(facts.others, facts), key=lambda each: not each.named)
    found = [f", with {thing(each, facts)} {random.choice(_WHERE[each.relation])}" for each in around[:1]]
    if around and facts.subject.tail and not support(facts) and around[0].relation in ("left", "right", "beside"):
        found = [f" next to {thing(around[0], facts)}"]
    wall = backdrop(facts)
    return [f" {wall}", *found] if wall and (not found or random.random() < 0.5) else found


def paragraph(facts: Facts, random: Random) -> Iterator[str]:
    """The sentences that a dense caption begins with."""
    subject = facts.subject
    assert subject
    known = {subject.noun, *(each.noun for each in facts.others if each.relation == "under")}
    shared, apart = together(facts.others, facts)
    around = [(where, mentions, be(mentions)) for where, mentions in _around(apart, facts, random)]
    clauses: list[str] = []
    for where, mentions, verb in around:
        told = things(mentions, facts, known)
        again = told.startswith("another ") and any(f" {told}" in clause for clause in clauses)
        told = told.replace("another", "one more").removesuffix(" like it") if again else told
        clauses.append(f"{where} {verb} {told}" if len(around) > 1 or shared else f"with {told} {where}")
        known |= {each.noun for each in mentions}
    introduction = _introduction(facts, random)
    if len(around) == 1 and not shared:
        yield f"{introduction}, {clauses[0]}"
        return
    yield introduction
    yield from paired([*clauses[:3], *shared, *clauses[3:]][:4])


def _introduction(facts: Facts, random: Random) -> str:
    """What it is, what it does where, and how it is seen."""
    assert facts.subject
    base, wall = support(facts), backdrop(facts)
    verb, where = (_verb(facts, random), f"{base} {wall}".strip()) if base else _shown(facts, random)
    told = f"{thing(facts.subject, facts)} {verb} {where}"
    return f"{seen(facts, random)}, {told}"


def _shown(facts: Facts, random: Random) -> tuple[str, str]:
    """What something does of which it is not clear what bears it: it stands out against a wall, or is somewhere."""
    assert facts.subject
    many = is_plural(facts.subject.noun) and facts.subject.named
    if backdrop(facts) and facts.backdrop:
        coloured = facts.backdrop.colour and facts.subject.colour and not facts.palette
        verb = random.choice(("stands out", "is set")) if coloured else "is set"
        return _agreeing(verb, many), f"against {surface(facts.backdrop, facts)}"
    if _fills_the_middle(facts.subject):
        return _agreeing(random.choice(("fills", "takes up")), many), "the middle of the picture"
    return _agreeing("is", many), place(facts.subject)


def _fills_the_middle(subject: Mention) -> bool:
    return subject.share > DOMINANT and 0.36 < subject.place[0] < 0.64 and 0.3 < subject.place[1] < 0.7


def tells_place(facts: Facts) -> bool:
    """Whether the introduction tells where in the picture it is."""
    assert facts.subject
    return not support(facts) and not backdrop(facts)


def _verb(facts: Facts, random: Random) -> str:
    """What the subject does where it is: hang, lie, stand, ..."""
    subject = facts.subject
    assert subject
    if subject.noun == "ledge" and subject.on_wall:
        verbs: tuple[str, ...] = ("juts out",)
    elif any(each.relation == "over" for each in facts.others):
        verbs = ("hangs",)
    elif subject.on_wall:
        verbs = ("hangs",) if subject.named else ("is mounted",)
    elif subject.noun in ("slab", "board", "bar", "rod", "ledge") or subject.tail == "on its side":
        verbs = ("lies", "rests")
    else:
        verbs = ("stands", "sits") if subject.named else ("stands",) if subject.noun != "ball" else ("rests",)
    return _agreeing(random.choice(verbs), is_plural(subject.noun) and subject.named)


def _agreeing(verb: str, many: bool) -> str:
    """A verb of one or of many: "stands out" or "stand out"."""
    first, _, rest = verb.partition(" ")
    return f"{'are' if first == 'is' else first.removesuffix('s')} {rest}".strip() if many else verb


def _around(mentions: Sequence[Mention], facts: Facts, random: Random) -> Iterator[tuple[str, list[Mention]]]:
    """Where, and what is there; what is the same on both sides is said once."""
    related = _related(mentions, facts)
    nameless = [each for each in related if not each.named][:MOST_NAMELESS]
    chosen: dict[str, list[Mention]] = {}
    for each in [each for each in related if each.named or each in nameless][:6]:
        chosen.setdefault(each.relation, []).append(each)
    if flanks := _flanks(facts):
        yield "on either side of it", flanks[:1]
        chosen = {relation: told for relation, told in chosen.items() if relation not in ("left", "right")}
    for relation, told in sorted(chosen.items(), key=lambda item: _FIRST.get(item[0], len(_FIRST))):
        yield random.choice(_WHERE[relation]), told[:3]


def _flanks(facts: Facts) -> list[Mention]:
    """The two that are the same to its left and to its right, where nothing else is there."""
    sides = [each for each in _related(facts.others, facts) if each.relation in ("left", "right")]
    same = len(sides) == 2 and len({thing(each, facts) for each in sides}) == 1 and sides[0].count == 1
    return sides if same and {each.relation for each in sides} == {"left", "right"} else []


def _pair(flanks: Sequence[Mention], facts: Facts) -> str:
    told = thing(flanks[0], facts)
    return "two others" if told.startswith("another") else thing(replace(flanks[0], count=2), facts)


def _related(mentions: Sequence[Mention], facts: Facts) -> list[Mention]:
    """Those whose place is clear; of what has no name only plain shapes, and nothing that is merely below."""
    clear = [each for each in mentions if each.relation in _WHERE and (each.named or each.alike or _is_clear(each))]
    return sorted(_gathered(clear), key=lambda each: -each.share)


def _gathered(mentions: Sequence[Mention]) -> Iterator[Mention]:
    """Many of a name on several sides are told as being around the subject."""
    for noun, group in groupby(sorted(mentions, key=lambda each: each.noun), key=lambda each: each.noun):
        same = [each for each in group if each.named and each.relation in _SIDES]
        yield from (each for each in mentions if each.noun == noun and each not in same)
        if sum(each.count for each in same) < MANY_AROUND or len(same) < 2:
            yield from same
        else:
            yield replace(same[0], count=sum(each.count for each in same), relation="around", colour="", on="")


def _is_clear(each: Mention) -> bool:
    """Of what has no name: whether a reader would find it by its shape and place."""
    cut = each.is_cut and each.relation in ("front", "foreground")
    return (
        each.plain and each.noun not in ("panel", "board") and each.relation not in ("below", "background") and not cut
    )

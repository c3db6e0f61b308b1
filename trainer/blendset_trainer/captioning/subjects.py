# SPDX-License-Identifier: Apache-2.0
"""Captions of a view of one thing: what it is and stands on, then what is around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from blendset_trainer.captioning.facts import Facts, Mention
from blendset_trainer.captioning.phrases import backdrop, be, paired, place, support, thing, things, together
from blendset_trainer.captioning.words import is_plural

MOST_NAMELESS = 2
"""More things without a name than this are no help to a reader."""
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
    "foreground": ("in the foreground", "closer to the camera"),
}


def opening(facts: Facts, random: Random) -> str:
    """ "a globe stands on a wooden sideboard", for a short caption."""
    assert facts.subject
    base = support(facts)
    verb = random.choice((_verb(facts, random), "")) if base else ""
    return " ".join(part for part in (thing(facts.subject, facts), verb, base) if part)


def tails(facts: Facts, random: Random) -> list[str]:
    """What a short caption may add: the backdrop, and the thing around it that tells most."""
    assert facts.subject
    around = sorted(_related(facts.others, facts), key=lambda each: not each.named)
    joint = " and" if facts.subject.tail.startswith("with") and not support(facts) else ", with"
    found = [f"{joint} {thing(each, facts)} {random.choice(_WHERE[each.relation])}" for each in around[:1]]
    wall = backdrop(facts, random)
    return [f" {wall}", *found] if wall and (not found or random.random() < 0.5) else found


def paragraph(facts: Facts, random: Random) -> Iterator[str]:
    """The sentences that a dense caption begins with."""
    subject = facts.subject
    assert subject
    yield _introduction(facts, random)
    known = {subject.noun, *(each.noun for each in facts.others if each.relation == "under")}
    shared, apart = together(facts.others, facts)
    clauses: list[str] = []
    for where, mentions in _around(apart, facts, random):
        told = things(mentions, facts, known)
        again = told.startswith("another ") and any(f" {told}" in clause for clause in clauses)
        clauses.append(
            f"{where} {be(mentions)} {told.replace('another', 'one more').removesuffix(' like it') if again else told}"
        )
        known |= {each.noun for each in mentions}
    yield from paired([*clauses[:3], *shared, *clauses[3:]][:4])


def _introduction(facts: Facts, random: Random) -> str:
    assert facts.subject
    base, wall = support(facts), backdrop(facts, random)
    if base:
        return " ".join(part for part in (thing(facts.subject, facts), _verb(facts, random), base, wall) if part)
    verb = random.choice(("is seen", "appears", "is shown"))
    many = is_plural(facts.subject.noun)
    return f"{thing(facts.subject, facts)} {verb.replace('is', 'are') if many else verb} {wall or place(facts.subject)}"


def _verb(facts: Facts, random: Random) -> str:
    """What the subject does where it is: hang, lie, stand, ..."""
    subject = facts.subject
    assert subject
    if subject.on_wall:
        verbs: tuple[str, ...] = ("hangs",)
    elif subject.noun in ("slab", "board", "bar", "rod") and not subject.tail:
        verbs = ("lies", "rests")
    else:
        verbs = ("stands", "sits", "rests") if subject.named else ("stands",) if subject.noun != "ball" else ("rests",)
    verb = random.choice(verbs)
    return verb.removesuffix("s") if is_plural(subject.noun) and subject.named else verb


def _around(mentions: Sequence[Mention], facts: Facts, random: Random) -> Iterator[tuple[str, list[Mention]]]:
    """Where, and what is there; what is the same on both sides is said once."""
    related = _related(mentions, facts)
    nameless = [each for each in related if not each.named][:MOST_NAMELESS]
    chosen: dict[str, list[Mention]] = {}
    for each in [each for each in related if each.named or each in nameless][:6]:
        chosen.setdefault(each.relation, []).append(each)
    left, right = chosen.get("left", []), chosen.get("right", [])
    if len(left) == len(right) == 1 and thing(left[0], facts) == thing(right[0], facts):
        yield "on either side of it", left
        chosen = {relation: told for relation, told in chosen.items() if relation not in ("left", "right")}
    for relation, told in chosen.items():
        yield random.choice(_WHERE[relation]), told[:3]


def _related(mentions: Sequence[Mention], facts: Facts) -> list[Mention]:
    """Those whose place is clear; of what lies below without a name, only what bears the subject is told."""
    borne = any(each.relation == "under" for each in facts.others)
    return [
        each for each in mentions if each.relation in _WHERE and (each.named or not borne or each.relation != "below")
    ]

# SPDX-License-Identifier: Apache-2.0
"""Captions of a view of one subject: what it is and stands on, then what is around it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from random import Random

from blendset_trainer.captioning.english.phrases import (
    conjugate_be,
    describe_backdrop,
    describe_entities,
    describe_entity,
    describe_position,
    describe_shared_supports,
    describe_support,
    describe_surface,
    describe_viewpoint,
    join_pairs,
)
from blendset_trainer.captioning.seeing.entities import Entity
from blendset_trainer.captioning.seeing.facts import Facts
from blendset_trainer.language.grammar import is_plural

MAX_NAMELESS = 2
"""More entities without a name than this are no help to a reader."""
MIN_AROUND = 3
"""So many of a name on several sides are "around" the subject."""
_ORDER = {"on": 0, "in": 0, "above": 1, "below": 2}
"""What stands on the subject comes before what is above and below it, and that before the rest."""
_SIDES = frozenset("left right front behind beside".split())
MIN_DOMINANT_SHARE = 0.2
"""A subject with a greater share of the picture may fill its middle."""
_POSITION_PHRASES = {
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


def compose_opening(facts: Facts, random: Random) -> str:
    """ "a globe stands on a wooden sideboard", for a short caption."""
    assert facts.subject
    support = describe_support(facts)
    verb = random.choice((_choose_verb(facts, random), "")) if support and facts.subject.noun != "ledge" else ""
    if support and facts.subject.noun == "ledge":
        verb = random.choice(("juts out", "jutting out"))
    alone = not support and not describe_backdrop(facts) and not _select_related(facts.others, facts)
    where = support or (describe_position(facts.subject) if alone else "")
    return " ".join(part for part in (describe_entity(facts.subject, facts), verb, where) if part)


def compose_additions(facts: Facts, random: Random) -> list[str]:
    """What a short caption may add: the backdrop, and the most telling entity around the subject."""
    assert facts.subject
    if flanks := _find_flanks(facts):
        return [f" between {_describe_pair(flanks, facts)}"]
    around = sorted(_select_related(facts.others, facts), key=lambda entity: not entity.is_named)
    additions = [
        f", with {describe_entity(entity, facts)} {random.choice(_POSITION_PHRASES[entity.relation])}"
        for entity in around[:1]
    ]
    is_beside = bool(around) and around[0].relation in ("left", "right", "beside")
    if is_beside and facts.subject.postmodifier and not describe_support(facts):
        additions = [f" next to {describe_entity(around[0], facts)}"]
    backdrop = describe_backdrop(facts)
    return [f" {backdrop}", *additions] if backdrop and (not additions or random.random() < 0.5) else additions


def compose_paragraph(facts: Facts, random: Random) -> Iterator[str]:
    """The sentences that a dense caption begins with, without capital letters and full stops."""
    subject = facts.subject
    assert subject
    known = {subject.noun, *(entity.noun for entity in facts.others if entity.relation == "under")}
    shared, apart = describe_shared_supports(facts.others, facts)
    around = [
        (where, entities, conjugate_be(entities)) for where, entities in _group_surroundings(apart, facts, random)
    ]
    clauses: list[str] = []
    for where, entities, verb in around:
        phrase = describe_entities(entities, facts, known)
        is_repeated = phrase.startswith("another ") and any(f" {phrase}" in clause for clause in clauses)
        phrase = phrase.replace("another", "one more").removesuffix(" like it") if is_repeated else phrase
        clauses.append(f"{where} {verb} {phrase}" if len(around) > 1 or shared else f"with {phrase} {where}")
        known |= {entity.noun for entity in entities}
    introduction = _compose_introduction(facts, random)
    if len(around) == 1 and not shared:
        yield f"{introduction}, {clauses[0]}"
        return
    yield introduction
    yield from join_pairs([*clauses[:3], *shared, *clauses[3:]][:4])


def _compose_introduction(facts: Facts, random: Random) -> str:
    """Viewpoint, subject, verb and where it is, in one clause."""
    assert facts.subject
    support, backdrop = describe_support(facts), describe_backdrop(facts)
    verb, where = (
        (_choose_verb(facts, random), f"{support} {backdrop}".strip()) if support else _choose_predicate(facts, random)
    )
    clause = f"{describe_entity(facts.subject, facts)} {verb} {where}"
    return f"{describe_viewpoint(facts, random)}, {clause}"


def _choose_predicate(facts: Facts, random: Random) -> tuple[str, str]:
    """Verb and place of a subject whose support is not clear: it stands out against a wall, or is somewhere."""
    assert facts.subject
    is_many = is_plural(facts.subject.noun) and facts.subject.is_named
    if describe_backdrop(facts) and facts.backdrop:
        coloured = facts.backdrop.colour and facts.subject.colour and not facts.palette
        verb = random.choice(("stands out", "is set")) if coloured else "is set"
        return _conjugate(verb, is_many), f"against {describe_surface(facts.backdrop, facts)}"
    if _fills_the_middle(facts.subject):
        return _conjugate(random.choice(("fills", "takes up")), is_many), "the middle of the picture"
    return _conjugate("is", is_many), describe_position(facts.subject)


def _fills_the_middle(subject: Entity) -> bool:
    return subject.share > MIN_DOMINANT_SHARE and 0.36 < subject.centre[0] < 0.64 and 0.3 < subject.centre[1] < 0.7


def describes_position(facts: Facts) -> bool:
    """Whether the introduction says where in the picture the subject is."""
    assert facts.subject
    return not describe_support(facts) and not describe_backdrop(facts)


def _choose_verb(facts: Facts, random: Random) -> str:
    """The verb for what the subject does where it is: hang, lie, stand, ..."""
    subject = facts.subject
    assert subject
    if subject.noun == "ledge" and subject.is_on_wall:
        verbs: tuple[str, ...] = ("juts out",)
    elif any(entity.relation == "over" for entity in facts.others):
        verbs = ("hangs",)
    elif subject.is_on_wall:
        verbs = ("hangs",) if subject.is_named else ("is mounted",)
    elif subject.noun in ("slab", "board", "bar", "rod", "ledge") or subject.postmodifier == "on its side":
        verbs = ("lies", "rests")
    else:
        verbs = ("stands", "sits") if subject.is_named else ("stands",) if subject.noun != "ball" else ("rests",)
    return _conjugate(random.choice(verbs), is_plural(subject.noun) and subject.is_named)


def _conjugate(verb: str, is_many: bool) -> str:
    """A verb in the third person, singular or plural: "stands out" or "stand out"."""
    first, _, rest = verb.partition(" ")
    return f"{'are' if first == 'is' else first.removesuffix('s')} {rest}".strip() if is_many else verb


def _group_surroundings(entities: Sequence[Entity], facts: Facts, random: Random) -> Iterator[tuple[str, list[Entity]]]:
    """A phrase for each relation to the subject, and its entities; what is the same on both sides comes once."""
    related = _select_related(entities, facts)
    nameless = [entity for entity in related if not entity.is_named][:MAX_NAMELESS]
    groups: dict[str, list[Entity]] = {}
    for entity in [entity for entity in related if entity.is_named or entity in nameless][:6]:
        groups.setdefault(entity.relation, []).append(entity)
    if flanks := _find_flanks(facts):
        yield "on either side of it", flanks[:1]
        groups = {relation: group for relation, group in groups.items() if relation not in ("left", "right")}
    for relation, group in sorted(groups.items(), key=lambda item: _ORDER.get(item[0], len(_ORDER))):
        yield random.choice(_POSITION_PHRASES[relation]), group[:3]


def _find_flanks(facts: Facts) -> list[Entity]:
    """Two entities that are the same to the subject's left and right, where nothing else is there."""
    sides = [entity for entity in _select_related(facts.others, facts) if entity.relation in ("left", "right")]
    are_same = (
        len(sides) == 2 and len({describe_entity(entity, facts) for entity in sides}) == 1 and sides[0].count == 1
    )
    return sides if are_same and {entity.relation for entity in sides} == {"left", "right"} else []


def _describe_pair(flanks: Sequence[Entity], facts: Facts) -> str:
    """Both flanks in one phrase: "two lamps", "two others"."""
    phrase = describe_entity(flanks[0], facts)
    return "two others" if phrase.startswith("another") else describe_entity(replace(flanks[0], count=2), facts)


def _select_related(entities: Sequence[Entity], facts: Facts) -> list[Entity]:
    """Select entities with a clear relation, largest first; without a name only those that are easily found."""
    clear = [
        entity
        for entity in entities
        if entity.relation in _POSITION_PHRASES and (entity.is_named or entity.is_alike or _is_clear(entity))
    ]
    return sorted(_gather_around(clear), key=lambda entity: -entity.share)


def _gather_around(entities: Sequence[Entity]) -> Iterator[Entity]:
    """Merge many entities of a name on several sides into one that is "around" the subject."""
    for noun, group in groupby(sorted(entities, key=lambda entity: entity.noun), key=lambda entity: entity.noun):
        same = [entity for entity in group if entity.is_named and entity.relation in _SIDES]
        yield from (entity for entity in entities if entity.noun == noun and entity not in same)
        if sum(entity.count for entity in same) < MIN_AROUND or len(same) < 2:
            yield from same
        else:
            yield replace(same[0], count=sum(entity.count for entity in same), relation="around", colour="", support="")


def _is_clear(entity: Entity) -> bool:
    """Whether a reader would find an entity without a name by its shape and relation."""
    is_cut = entity.is_cut and entity.relation in ("front", "foreground")
    is_hidden = entity.noun in ("panel", "board") or entity.relation in ("below", "background")
    return entity.is_descriptive and not is_hidden and not is_cut

# SPDX-License-Identifier: Apache-2.0
"""Captions of a view of the scene: which kind of room it is, what is in it, and on which side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from blendset_trainer.captioning.english.phrases import (
    conjugate_be,
    describe_coloured_surfaces,
    describe_entities,
    describe_entity,
    describe_shared_supports,
    describe_viewpoint,
    join_pairs,
)
from blendset_trainer.captioning.seeing.entities import Entity
from blendset_trainer.captioning.seeing.facts import Facts
from blendset_trainer.language.grammar import add_article, join_phrases, pluralize

MAX_NAMELESS = 5
"""The most entities without a name that a caption mentions."""
_SIDES = {"on the left": (0.0, 0.36), "near the middle": (0.36, 0.64), "on the right": (0.64, 1.01)}
"""Ranges of centres, from the left, 0 to 1."""


def compose_opening(facts: Facts, random: Random, max_words: int) -> str:
    """ "a room with a sofa, a rug and a lamp", for a short caption; where nothing has a name, its colours only."""
    if coloured := _describe_colours(facts):
        return f"{_describe_room(facts, random)} with {join_phrases(coloured)}, {describe_viewpoint(facts, random)}"
    for count in (3, 2, 1):
        text = _describe_contents(_rank_entities(facts)[:count], facts, random)
        if len(text.split()) <= max_words:
            break
    return text


def compose_paragraph(facts: Facts, random: Random) -> Iterator[str]:
    """The sentences that a dense caption begins with, without capital letters and full stops."""
    shared, apart = describe_shared_supports(_rank_entities(facts), facts)
    coloured = _describe_colours(facts)
    first, rest = apart[:3], [entity for entity in apart[3:9] if entity.is_named or coloured]
    if coloured:
        yield f"{_describe_room(facts, random)} with {join_phrases(coloured)}, {describe_viewpoint(facts, random)}"
        yield f"in it {conjugate_be(first)} {describe_entities(first, facts, ())}" if first else ""
    else:
        yield f"{_describe_contents(first, facts, random)}, {describe_viewpoint(facts, random)}"
        if first and first[0].is_alike and first[0].is_cut:
            yield "they stand near and far, the nearest cut off by the edge of the picture"
    known = {entity.noun for entity in first}
    clauses = []
    for where, (low, high) in _SIDES.items():
        if chosen := [entity for entity in rest if low <= entity.centre[0] < high][:3]:
            clauses.append(f"{where} {conjugate_be(chosen)} {describe_entities(chosen, facts, known)}")
            known |= {entity.noun for entity in chosen}
    yield from join_pairs([*shared, *clauses])


def _describe_colours(facts: Facts) -> list[str]:
    """Coloured walls and floor of a room where nothing has a name: what a person sees first there."""
    has_names = any(entity.is_named for entity in facts.others)
    return describe_coloured_surfaces(facts) if _is_room(facts) and not has_names else []


def describes_surfaces(facts: Facts) -> bool:
    """Whether the paragraph describes the colours of walls and floor."""
    return bool(_describe_colours(facts))


def _describe_contents(entities: Sequence[Entity], facts: Facts, random: Random) -> str:
    """Which kind of room it is and what is in it."""
    if not entities:
        return f"a view of {join_phrases(_list_surfaces(facts))}"
    contents = join_phrases([describe_entity(entity, facts) for entity in entities])
    if not _is_room(facts):
        return f"an all-grey view of {contents}" if facts.palette else f"a view of {contents}"
    if len(entities) == 1 and entities[0].is_alike:
        return f"{_describe_room(facts, random)} filled with {contents.removeprefix('many ')}"
    return f"{_describe_room(facts, random)} with {contents}"


def _describe_room(facts: Facts, random: Random) -> str:
    """ "a room" or "an interior"; "a plain grey room" where nothing has a colour."""
    room = random.choice(("room", "interior"))
    return f"a plain grey {room}" if facts.palette else add_article(room, room)


def _rank_entities(facts: Facts) -> list[Entity]:
    """Entities in the order to mention them: named ones first, then by share; at most MAX_NAMELESS without a name."""
    ordered = sorted(facts.others, key=lambda entity: (not entity.is_named, not entity.is_alike, -entity.share))
    plain = [entity for entity in ordered if not entity.is_named and entity.is_descriptive and entity.noun != "panel"]
    nameless = [entity for entity in plain if entity.colour or entity.is_alike or facts.palette][:MAX_NAMELESS]
    return [entity for entity in ordered if entity.is_named or entity in nameless]


def _is_room(facts: Facts) -> bool:
    return {"wall", "floor"} <= {surface.noun for surface in facts.surfaces}


def _list_surfaces(facts: Facts) -> list[str]:
    """The surfaces as phrases, for a view without any entity."""
    nouns = dict.fromkeys(surface.noun for surface in facts.surfaces)
    return [pluralize(noun) if noun == "wall" else f"a {noun}" for noun in nouns] or ["an empty background"]

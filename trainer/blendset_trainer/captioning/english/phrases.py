# SPDX-License-Identifier: Apache-2.0
"""The phrases that captions consist of: noun phrases with adjectives, support, backdrop, position, lists.

Each function returns a phrase, or "" where the facts have nothing for it; `Random` chooses between equal wordings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random

from blendset_trainer.captioning.seeing.entities import PALE_COLOURS, VAGUE_NOUNS, Entity
from blendset_trainer.captioning.seeing.facts import Facts, SurfaceFact
from blendset_trainer.language.grammar import (
    MIN_SEVERAL,
    add_article,
    format_count,
    is_mass_noun,
    is_plural,
    join_phrases,
    pluralize,
)
from blendset_trainer.language.lexicon import COLOURS, MATERIAL_OF

_SHADES_OF_WOOD = {"brown": "", "orange": "", "dark brown": "dark", "beige": "light", "cream": "light"}
"""The shade of wood by its colour: a reader takes wood for brown."""
_PLURAL_POSTMODIFIERS = {"with a rounded top": "with rounded tops", "on its side": "on their sides"}
"""The plural of each postmodifier."""
_OBVIOUS_SUPPORTS = ("floor", "ground", "rug")
"""A reader expects things to stand on these."""
_ANGLES = {
    "directly above": ("seen from straight above",),
    "above": ("seen from above", "viewed from above", "seen from a high angle"),
    "slightly above": ("seen from slightly above", "viewed from a little above"),
    "level": ("seen straight on", "viewed straight on"),
    "below": ("seen from below", "seen from a low angle"),
}


def format_sentence(text: str) -> str:
    """A clause as a sentence, with a capital letter and a full stop; "" for ""."""
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def format_adjectives(entity: Entity | SurfaceFact, facts: Facts) -> str:
    """Colour and material, unless the noun says them already; of a grey picture only the subject's grey."""
    noun_words = set(entity.noun.split())
    colour = "" if noun_words & COLOURS else entity.colour.replace(" and ", "-and-")
    if facts.palette:
        colour = facts.palette if entity is facts.subject else ""
    material = "" if noun_words & MATERIAL_OF.keys() else entity.material
    if material == "wooden":
        colour = _SHADES_OF_WOOD.get(colour, colour)
    return f"{colour} {material}".strip()


def describe_entity(entity: Entity, facts: Facts, known: Collection[str] = ()) -> str:
    """ "a yellow armchair", "three dining chairs", "another chair", "two more like it".

    `known` are nouns that the caption has used before, besides the subject's.
    """
    subject = facts.subject
    if subject and entity.is_alike and entity is not subject and subject.noun in VAGUE_NOUNS:
        return "another like it" if entity.count == 1 else f"{format_count('x', entity.count).split()[0]} more like it"
    phrase = _format_noun_phrase(entity, facts)
    if not subject or entity is subject or not _is_one_more(entity, facts, known):
        return phrase
    return f"another {entity.noun}" if entity.count == 1 else f"{phrase.split()[0]} more {pluralize(entity.noun)}"


def _is_one_more(entity: Entity, facts: Facts, known: Collection[str]) -> bool:
    """Whether the caption has mentioned one of its kind; without a name, whether the subject looks like it."""
    assert facts.subject
    if entity.arrangement or is_mass_noun(entity.noun) or is_plural(entity.noun):
        return False
    if entity.is_named:
        return entity.noun in {facts.subject.noun, *known}
    looks_alike = format_adjectives(entity, facts) == format_adjectives(facts.subject, facts) or bool(facts.palette)
    return looks_alike and entity.noun == facts.subject.noun and entity.postmodifier == facts.subject.postmodifier


def _format_noun_phrase(entity: Entity, facts: Facts) -> str:
    """ "a tall blue post", "three dining chairs", "a row of cylinders", "many grey blocks, all alike"."""
    words = f"{entity.premodifier} {format_adjectives(entity, facts)}".strip()
    if entity.arrangement:
        group = f"a {entity.arrangement}" if entity.count == 1 else pluralize(entity.arrangement)
        return " ".join(part for part in (group, "of", words, pluralize(entity.noun)) if part)
    # of nameless shapes more may be there, too small to count
    count = entity.count if entity.is_named or entity.count < 3 or entity.is_alike else MIN_SEVERAL
    postmodifier = (
        entity.postmodifier if count == 1 else _PLURAL_POSTMODIFIERS.get(entity.postmodifier, entity.postmodifier)
    )
    whole = f"of {add_article(entity.whole, entity.whole)}" if entity.whole else ""
    phrase = " ".join(part for part in (format_count(entity.noun, count, words), whole, postmodifier) if part)
    return f"{phrase}, all alike" if entity.is_alike and not facts.subject else phrase


def describe_surface(fact: SurfaceFact, facts: Facts) -> str:
    """ "a light blue wall", or "the wall" where neither colour nor material is known."""
    words = format_adjectives(fact, facts)
    return add_article(f"{words} {fact.noun}", fact.noun) if words else f"the {fact.noun}"


def collect_surface_colours(facts: Facts) -> dict[str, list[str]]:
    """Colours and materials of floor, walls and ceiling, by noun.

    Of pale colours only the first counts, since light makes them of each other. A floor of two colours is two floors,
    of which only one that is much larger is the room's.
    """
    colours: dict[str, list[str]] = {}
    for surface in facts.surfaces:
        words = format_adjectives(surface, facts).replace(" wooden", " wood")
        largest = max(other.share for other in facts.surfaces if other.noun == surface.noun)
        is_small = surface.share < (0.3 if surface.noun == "wall" else 0.4 if facts.subject else 0.7) * largest
        if words and not is_small and "-and-" not in words:
            adjectives = colours.setdefault(surface.noun, [])
            adjectives += [] if any(_are_shades(words, other) for other in adjectives) else [words]
    return {noun: adjectives[:2] for noun, adjectives in colours.items() if noun == "wall" or len(adjectives) == 1}


def _are_shades(one: str, other: str) -> bool:
    """Whether two colours may be one in different light: of one name, or both pale."""
    return one.split()[-1] == other.split()[-1] or {one, other} <= PALE_COLOURS


def describe_coloured_surfaces(facts: Facts) -> list[str]:
    """ "light blue walls" and "a purple floor"."""
    return [
        f"{join_phrases(adjectives)} walls" if noun == "wall" else add_article(f"{adjectives[0]} {noun}", noun)
        for noun, adjectives in collect_surface_colours(facts).items()
        if noun in ("wall", "floor")
    ]


def describe_support(facts: Facts) -> str:
    """Where the subject stands: "on a brown wooden floor", "on a sideboard"; "" where that is not clear."""
    assert facts.subject
    support = next((entity for entity in facts.others if entity.relation == "under"), None)
    if support:
        return f"on {describe_entity(support, facts)}" if support.is_descriptive else ""
    if rod := next((entity for entity in facts.others if entity.relation == "over"), None):
        return f"over {describe_entity(rod, facts)}"
    if facts.subject.is_on_wall and facts.backdrop:
        return f"{'from' if facts.subject.noun == 'ledge' else 'on'} {describe_surface(facts.backdrop, facts)}"
    ground = next((surface for surface in facts.surfaces if surface.noun == facts.subject.support), None)
    if ground and facts.subject.is_upright_panel and facts.backdrop:
        return ""
    return f"on {describe_surface(ground, facts)}" if ground else ""


def describe_backdrop(facts: Facts) -> str:
    """ "in front of a white wall", or "against" it; "" where there is none or the subject hangs on it."""
    assert facts.subject
    if not facts.backdrop or facts.subject.is_on_wall or facts.backdrop.noun == facts.subject.support:
        return ""
    return f"{'against' if facts.subject.is_upright_panel else 'in front of'} {describe_surface(facts.backdrop, facts)}"


def describe_position(entity: Entity) -> str:
    """Where in the picture it is: "on the left of the picture", ..."""
    side = "left" if entity.centre[0] < 0.36 else "right" if entity.centre[0] > 0.64 else ""
    if side:
        return f"on the {side} of the picture"
    return "in the lower half of the picture" if entity.centre[1] > 0.68 else "in the middle of the picture"


# ---- several entities ------------------------------------------------------------------------------------------------


def conjugate_be(entities: Sequence[Entity]) -> str:
    """ "is" or "are", for those of the entities that do not stand on another of them."""
    supports = {entity.noun for entity in entities if entity.count == 1}
    subjects = [entity for entity in entities if entity.support not in supports] or list(entities)
    first = subjects[0]
    return "are" if len(subjects) > 1 or first.count > 1 or (first.is_named and is_plural(first.noun)) else "is"


def describe_entities(entities: Sequence[Entity], facts: Facts, known: Collection[str]) -> str:
    """List entities, each with what stands on it ("a table with a bowl on it"), or with what it stands on itself."""
    supports = {entity.noun: entity for entity in entities if entity.count == 1}
    carried = [entity for entity in entities if entity.support in supports and supports[entity.support] is not entity]
    without_load, with_load = [], []
    for entity in entities:
        load = [describe_entity(other, facts, known) for other in carried if other.support == entity.noun]
        if load and entity not in carried:
            with_load.append(f"{_describe_with_support(entity, facts, known)} with {join_phrases(load)} on it")
        elif entity not in carried:
            without_load.append(_describe_with_support(entity, facts, known))
    return join_phrases(without_load + with_load)


def _describe_with_support(entity: Entity, facts: Facts, known: Collection[str]) -> str:
    """An entity, and what it stands on where a reader would not expect it."""
    phrase = describe_entity(entity, facts, known)
    subject = (facts.subject.noun, facts.subject.support) if facts.subject else ()
    support = entity.support
    if not entity.is_named or not support or entity.relation in ("on", "in"):
        return phrase
    if support in (*_OBVIOUS_SUPPORTS, *subject):
        return phrase
    return f"{phrase} on {f'the {support}' if support in known else add_article(support, support)}"


def describe_shared_supports(entities: Sequence[Entity], facts: Facts) -> tuple[list[str], list[Entity]]:
    """Clauses about several entities on one ("on the sideboard are a globe and a lamp"), and the other entities."""
    supports = {entity.noun: entity for entity in facts.others if entity.is_named and entity.count == 1}
    clauses, taken = [], set()
    for noun, support in supports.items():
        loads = [entity for entity in entities if entity.support == noun and entity.relation not in ("on", "in")]
        if len(loads) > 1:
            also = "also " if support.relation == "under" else ""
            phrases = [describe_entity(load, facts) for load in loads[:3]]
            clauses.append(f"{also}on the {noun} are {join_phrases(phrases)}")
            taken |= set(loads)
    return clauses, [entity for entity in entities if entity not in taken]


def describe_viewpoint(facts: Facts, random: Random) -> str:
    """Camera angle and light: "seen from slightly above in warm light"."""
    angle = random.choice(_ANGLES[facts.angle])
    if facts.light_side:
        return f"{angle} and lit from the {facts.light_side}"
    return f"{angle} in {' and '.join(facts.light)} light" if facts.light else angle


def join_pairs(clauses: Sequence[str]) -> Iterator[str]:
    """Join every two clauses with "and"."""
    for start in range(0, len(clauses), 2):
        yield ", and ".join(clauses[start : start + 2])

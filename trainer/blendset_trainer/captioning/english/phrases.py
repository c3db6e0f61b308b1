# SPDX-License-Identifier: Apache-2.0
"""The small phrases that captions are made of: a thing with its adjectives, what bears it, what is behind it, lists.

Each function gives a phrase, or "" where the facts have nothing for it; `Random` chooses between equal ways to say it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random

from blendset_trainer.captioning.seeing.facts import Facts, SurfaceFact
from blendset_trainer.captioning.seeing.entities import PALE, VAGUE, Mention
from blendset_trainer.language.grammar import SEVERAL, counted, is_mass, is_plural, listed, plural, with_article
from blendset_trainer.language.lexicon import COLOURS, MATERIAL_OF

_SHADES_OF_WOOD = {"brown": "", "orange": "", "dark brown": "dark", "beige": "light", "cream": "light"}
"""Wood is brown unless something else is said."""
_TAILS = {"with a rounded top": "with rounded tops", "on its side": "on their sides"}
"""Behind several."""
_NO_NEWS = ("floor", "ground", "rug")
"""Where things stand anyway."""
_ANGLES = {
    "directly above": ("seen from straight above",),
    "above": ("seen from above", "viewed from above", "seen from a high angle"),
    "slightly above": ("seen from slightly above", "viewed from a little above"),
    "level": ("seen straight on", "viewed straight on"),
    "below": ("seen from below", "seen from a low angle"),
}


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


def adjectives(mention: Mention | SurfaceFact, facts: Facts) -> str:
    """Colour and material, unless the name says them already or everything is grey."""
    said = set(mention.noun.split())
    colour = "" if said & COLOURS else mention.colour.replace(" and ", "-and-")
    if facts.palette:
        colour = facts.palette if mention is facts.subject else ""
    material = "" if said & MATERIAL_OF.keys() else mention.material
    if material == "wooden":
        colour = _SHADES_OF_WOOD.get(colour, colour)
    return f"{colour} {material}".strip()


def thing(mention: Mention, facts: Facts, known: Collection[str] = ()) -> str:
    """ "a yellow armchair", "three dining chairs", "another chair", "two more like it"; `known` nouns were told."""
    subject = facts.subject
    if subject and mention.alike and mention is not subject and subject.noun in VAGUE:
        return "another like it" if mention.count == 1 else f"{counted('x', mention.count).split()[0]} more like it"
    phrase = _described(mention, facts)
    if not subject or mention is subject or not _is_one_more(mention, facts, known):
        return phrase
    return f"another {mention.noun}" if mention.count == 1 else f"{phrase.split()[0]} more {plural(mention.noun)}"


def _is_one_more(mention: Mention, facts: Facts, known: Collection[str]) -> bool:
    """Whether there was one of its kind before: of what has no name, one that looks like the subject."""
    assert facts.subject
    if mention.several or is_mass(mention.noun) or is_plural(mention.noun):
        return False
    if mention.named:
        return mention.noun in {facts.subject.noun, *known}
    like = adjectives(mention, facts) == adjectives(facts.subject, facts) or bool(facts.palette)
    return like and mention.noun == facts.subject.noun and mention.tail == facts.subject.tail


def _described(mention: Mention, facts: Facts) -> str:
    words = f"{mention.manner} {adjectives(mention, facts)}".strip()
    if mention.several:
        group = f"a {mention.several}" if mention.count == 1 else plural(mention.several)
        return " ".join(part for part in (group, "of", words, plural(mention.noun)) if part)
    count = mention.count if mention.named or mention.count < 3 or mention.alike else SEVERAL  # others may be too small
    tail = mention.tail if count == 1 else _TAILS.get(mention.tail, mention.tail)
    phrase = " ".join(part for part in (counted(mention.noun, count, words), tail) if part)
    return f"{phrase}, all alike" if mention.alike and not facts.subject else phrase


def surface(fact: SurfaceFact, facts: Facts) -> str:
    words = adjectives(fact, facts)
    return with_article(f"{words} {fact.noun}", fact.noun) if words else f"the {fact.noun}"


def surface_colours(facts: Facts) -> dict[str, list[str]]:
    """The colours of what is seen of floor, walls and ceiling, by noun; of pale ones only the first, that light varies.

    A floor of two colours is two floors, of which only one that is much larger is the room's.
    """
    colours: dict[str, list[str]] = {}
    for each in facts.surfaces:
        words = adjectives(each, facts).replace(" wooden", " wood")
        largest = max(other.share for other in facts.surfaces if other.noun == each.noun)
        small = each.share < (0.3 if each.noun == "wall" else 0.4 if facts.subject else 0.7) * largest
        if words and not small and "-and-" not in words:
            told = colours.setdefault(each.noun, [])
            told += [] if any(_are_shades(words, other) for other in told) else [words]
    return {noun: told[:2] for noun, told in colours.items() if noun == "wall" or len(told) == 1}


def _are_shades(one: str, other: str) -> bool:
    return one.split()[-1] == other.split()[-1] or {one, other} <= PALE


def coloured_surfaces(facts: Facts) -> list[str]:
    """ "light blue walls" and "a purple floor"."""
    return [
        f"{listed(told)} walls" if noun == "wall" else with_article(f"{told[0]} {noun}", noun)
        for noun, told in surface_colours(facts).items()
        if noun in ("wall", "floor")
    ]


def support(facts: Facts) -> str:
    """ "on a brown wooden floor", "on a sideboard"; "" where it is not clear what bears the subject."""
    assert facts.subject
    bearer = next((each for each in facts.others if each.relation == "under"), None)
    if bearer:
        return f"on {thing(bearer, facts)}" if bearer.plain else ""
    if rod := next((each for each in facts.others if each.relation == "over"), None):
        return f"over {thing(rod, facts)}"
    if facts.subject.on_wall and facts.backdrop:
        return f"{'from' if facts.subject.noun == 'ledge' else 'on'} {surface(facts.backdrop, facts)}"
    ground = next((each for each in facts.surfaces if each.noun == facts.subject.on), None)
    if ground and facts.subject.upright and facts.backdrop:
        return ""
    return f"on {surface(ground, facts)}" if ground else ""


def backdrop(facts: Facts) -> str:
    assert facts.subject
    if not facts.backdrop or facts.subject.on_wall or facts.backdrop.noun == facts.subject.on:
        return ""
    return f"{'against' if facts.subject.upright else 'in front of'} {surface(facts.backdrop, facts)}"


def place(mention: Mention) -> str:
    """Where in the picture something is."""
    across = "left" if mention.place[0] < 0.36 else "right" if mention.place[0] > 0.64 else ""
    if across:
        return f"on the {across} of the picture"
    return "in the lower half of the picture" if mention.place[1] > 0.68 else "in the middle of the picture"


# ---- several things --------------------------------------------------------------------------------------------------


def be(mentions: Sequence[Mention]) -> str:
    """ "is" or "are", of those that do not stand on another of them."""
    bearers = {each.noun for each in mentions if each.count == 1}
    apart = [each for each in mentions if each.on not in bearers] or list(mentions)
    first = apart[0]
    return "are" if len(apart) > 1 or first.count > 1 or (first.named and is_plural(first.noun)) else "is"


def things(mentions: Sequence[Mention], facts: Facts, known: Collection[str]) -> str:
    """Things, each with what stands on it ("a table with a bowl on it"), or with what it stands on itself."""
    bearers = {each.noun: each for each in mentions if each.count == 1}
    carried = [each for each in mentions if each.on in bearers and bearers[each.on] is not each]
    alone, loaded = [], []
    for each in mentions:
        load = [thing(other, facts, known) for other in carried if other.on == each.noun]
        if load and each not in carried:
            loaded.append(f"{_located(each, facts, known)} with {listed(load)} on it")
        elif each not in carried:
            alone.append(_located(each, facts, known))
    return listed(alone + loaded)


def _located(mention: Mention, facts: Facts, known: Collection[str]) -> str:
    """A thing, and what it stands on where that is news."""
    phrase = thing(mention, facts, known)
    subject = (facts.subject.noun, facts.subject.on) if facts.subject else ()
    if not mention.named or not mention.on or mention.on in (*_NO_NEWS, *subject) or mention.relation in ("on", "in"):
        return phrase
    return f"{phrase} on {f'the {mention.on}' if mention.on in known else with_article(mention.on, mention.on)}"


def together(mentions: Sequence[Mention], facts: Facts) -> tuple[list[str], list[Mention]]:
    """Clauses about several things on one ("on the sideboard are a globe and a lamp"), and the other mentions."""
    bearers = {each.noun: each for each in facts.others if each.named and each.count == 1}
    clauses, taken = [], set()
    for noun, bearer in bearers.items():
        loads = [each for each in mentions if each.on == noun and each.relation not in ("on", "in")]
        if len(loads) > 1:
            also = "also " if bearer.relation == "under" else ""
            clauses.append(f"{also}on the {noun} are {listed([thing(each, facts) for each in loads[:3]])}")
            taken |= set(loads)
    return clauses, [each for each in mentions if each not in taken]


def seen(facts: Facts, random: Random) -> str:
    """Camera and light in passing: "seen from slightly above in warm light"."""
    angle = random.choice(_ANGLES[facts.angle])
    if facts.light_side:
        return f"{angle} and lit from the {facts.light_side}"
    return f"{angle} in {' and '.join(facts.light)} light" if facts.light else angle


def paired(clauses: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(clauses), 2):
        yield ", and ".join(clauses[start : start + 2])

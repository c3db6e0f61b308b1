# SPDX-License-Identifier: Apache-2.0
"""A small seeded grammar: from the facts about a view to one sentence, or to a paragraph, as a person would write it.

Each function gives a phrase, or "" where the facts have nothing for it; `Random` chooses between equal ways to say it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from random import Random

from blendset_trainer.captioning.facts import Facts, Mention, SurfaceFact
from blendset_trainer.captioning.words import (
    COLOURS,
    MATERIAL_OF,
    SEVERAL,
    counted,
    is_mass,
    is_plural,
    listed,
    plural,
    with_article,
)  # fmt: skip

SHORT_WORDS, DENSE_WORDS = (8, 20), (40, 80)

MOST_NAMELESS = 2
"""More things without a name than this are no help to a reader."""

_SIZES = frozenset("small large tall low flat long upright".split())
_SHADES_OF_WOOD = {"brown": "", "orange": "", "dark brown": "dark", "beige": "light", "cream": "light"}
"""Wood is brown unless something else is said."""
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
_SHORT_WHERE = _WHERE | {"left": ("to its left",), "right": ("to its right",), "background": ("in the background",),
                         "foreground": ("in the foreground",)}  # fmt: skip
_ANGLES = {
    "directly above": ("seen from straight above",),
    "above": ("seen from above", "viewed from above", "from a high angle"),
    "slightly above": ("seen from slightly above", "viewed from a little above"),
    "level": ("seen straight on",),
    "below": ("seen from below", "from a low angle"),
}
_CAMERA = {
    "directly above": ("The camera looks straight down", "The view is from straight above"),
    "above": ("The camera looks down from above", "The view is from a high angle"),
    "slightly above": ("The camera looks slightly down", "The view is from slightly above"),
    "level": ("The camera is level", "The view is straight on"),
    "below": ("The camera looks up from below", "The view is from a low angle"),
}


def short_caption(facts: Facts, random: Random) -> str:
    """One sentence of 8 to 20 words."""
    opening, tails = _short_subject(facts, random) if facts.subject else _short_scene(facts, random)
    text = opening
    for tail in tails:
        longer = f"{text}{tail}"
        if tail and len(longer.split()) <= SHORT_WORDS[1] and (len(text.split()) < 13 or random.random() < 0.3):
            text = longer
    return _sentence(text)


def dense_caption(facts: Facts, random: Random) -> str:
    """A paragraph of 40 to 80 words."""
    needed = list(_subject_paragraph(facts, random) if facts.subject else _scene_paragraph(facts, random))
    spare = [_surfaces_sentence(facts, random), *_camera_sentences(facts, random), *_fillers(facts, random)]
    chosen: list[str] = []
    words = 0
    for sentence in [*needed, *spare]:
        count = len(sentence.split())
        wanted = sentence in needed or sentence in spare[:2] or words < DENSE_WORDS[0]
        if sentence and wanted and words + count <= DENSE_WORDS[1]:
            chosen.append(_sentence(sentence))
            words += count
    return " ".join(chosen)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:].rstrip('.')}." if text else ""


# ---- phrases ---------------------------------------------------------------------------------------------------------


def _adjectives(mention: Mention | SurfaceFact, facts: Facts) -> str:
    """Colour and material, unless the name says them already or everything is grey."""
    said = set(mention.noun.split())
    colour = "" if said & COLOURS else mention.colour.replace(" and ", "-and-")
    if facts.palette:
        colour = facts.palette if mention is facts.subject else ""
    material = "" if said & MATERIAL_OF.keys() else mention.material
    if material == "wooden":
        colour = _SHADES_OF_WOOD.get(colour, colour)
    return f"{colour} {material}".strip()


def _thing(mention: Mention, facts: Facts) -> str:
    """ "a yellow armchair", "three dining chairs", "a low grey box-shaped object", "another chair"."""
    adjectives, noun = _adjectives(mention, facts), mention.noun
    first, _, rest = noun.partition(" ")
    if not mention.named and first in _SIZES:
        adjectives, noun = f"{first} {adjectives}".strip(), rest
    count = mention.count if mention.named or mention.count < 3 else SEVERAL  # others may be too small to be described
    phrase = counted(noun, count, adjectives)
    subject = facts.subject
    if (
        subject
        and mention is not subject
        and mention.noun == subject.noun
        and not is_mass(noun)
        and not is_plural(noun)
    ):
        return f"another {noun}" if mention.count == 1 else f"{phrase.split()[0]} more {plural(noun)}"
    return phrase


def _located(mention: Mention, facts: Facts, known: Collection[str]) -> str:
    """A thing, and what it stands on where that is news."""
    phrase = _thing(mention, facts)
    subject = facts.subject.noun if facts.subject else ""
    if not mention.on or mention.on in ("floor", "ground", "rug", subject) or mention.relation in ("on", "in"):
        return phrase
    return f"{phrase} on {f'the {mention.on}' if mention.on in known else with_article(mention.on, mention.on)}"


def _is_many(mentions: Sequence[Mention]) -> bool:
    return len(mentions) > 1 or mentions[0].count > 1 or (mentions[0].named and is_plural(mentions[0].noun))


def _be(mentions: Sequence[Mention]) -> str:
    return "are" if _is_many(mentions) else "is"


def _support(facts: Facts, random: Random) -> str:
    """ "on a brown wooden floor", "on a sideboard"; "" where it is not clear what bears the subject."""
    assert facts.subject
    bearer = next((each for each in facts.others if each.relation == "under"), None)
    if bearer:
        return f"on {_thing(bearer, facts)}"
    surface = next((each for each in facts.surfaces if each.noun == facts.subject.on), None)
    if surface and facts.subject.upright and facts.backdrop:
        return ""
    return f"on {_surface(surface, facts, random)}" if surface else ""


def _surface(surface: SurfaceFact, facts: Facts, random: Random) -> str:
    adjectives = _adjectives(surface, facts)
    return with_article(f"{adjectives} {surface.noun}", surface.noun) if adjectives else f"the {surface.noun}"


def _backdrop(facts: Facts, random: Random) -> str:
    if not facts.backdrop or (facts.subject and facts.backdrop.noun == facts.subject.on):
        return ""
    where = "against" if facts.subject and facts.subject.upright else random.choice(("against", "in front of"))
    return f"{where} {_surface(facts.backdrop, facts, random)}"


def _closing(facts: Facts, random: Random) -> str:
    """Camera and light in passing: "seen from slightly above in warm light"."""
    angle = (
        "in close-up" if facts.distance == "close" and random.random() < 0.5 else random.choice(_ANGLES[facts.angle])
    )
    return f"{angle} {_light(facts)}".strip()


def _light(facts: Facts) -> str:
    return f"in {', '.join(facts.light)} light" if facts.light else ""


# ---- a view of a subject ---------------------------------------------------------------------------------------------


def _short_subject(facts: Facts, random: Random) -> tuple[str, list[str]]:
    assert facts.subject
    thing, support = _thing(facts.subject, facts), _support(facts, random)
    verb = random.choice(("stands", "sits", "rests", "")) if support else ""
    if is_plural(facts.subject.noun):
        verb = verb.rstrip("s")
    opening = " ".join(part for part in (thing, verb, support) if part)
    around = sorted((each for each in facts.others if each.relation in _SHORT_WHERE), key=lambda each: not each.named)
    backdrop = _backdrop(facts, random)
    tails = [f", with {_thing(each, facts)} {random.choice(_SHORT_WHERE[each.relation])}" for each in around[:1]]
    if backdrop and (not tails or random.random() < 0.5):
        tails = [f" {backdrop}", *tails]
    return opening, [*tails, f", {_closing(facts, random)}", f", {_place(facts.subject)}"]


def _subject_paragraph(facts: Facts, random: Random) -> Iterator[str]:
    subject = facts.subject
    assert subject
    yield _opening(facts, random)
    known = {subject.noun, *(each.noun for each in facts.others if each.relation == "under")}
    shared, apart = _together(facts.others, facts)
    by_relation: dict[str, list[Mention]] = {}
    related = [each for each in apart if each.relation in _WHERE]
    nameless = [each for each in related if not each.named][:MOST_NAMELESS]
    for each in [each for each in related if each.named or each in nameless][:6]:
        by_relation.setdefault(each.relation, []).append(each)
    clauses = []
    for relation, mentions in by_relation.items():
        clauses.append(_clause(relation, mentions[:3], facts, random, known))
        known |= {each.noun for each in mentions}
    yield from _paired([*clauses[:3], *shared, *clauses[3:]][:4])


def _paired(clauses: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(clauses), 2):
        yield ", and ".join(clauses[start : start + 2])


def _together(mentions: Sequence[Mention], facts: Facts) -> tuple[list[str], list[Mention]]:
    """Clauses about several things on one ("on the sideboard are a globe and a lamp"), and the other mentions."""
    bearers = {each.noun: each for each in facts.others if each.named and each.count == 1}
    clauses, taken = [], set()
    for noun, bearer in bearers.items():
        loads = [each for each in mentions if each.on == noun and each.relation not in ("on", "in")]
        if len(loads) > 1:
            also = "also " if bearer.relation == "under" else ""
            clauses.append(f"{also}on the {noun} are {listed([_thing(each, facts) for each in loads[:3]])}")
            taken |= set(loads)
    return clauses, [each for each in mentions if each not in taken]


def _opening(facts: Facts, random: Random) -> str:
    subject = facts.subject
    assert subject
    thing, support, backdrop = _thing(subject, facts), _support(facts, random), _backdrop(facts, random)
    many = is_plural(subject.noun)
    if support:
        verb = random.choice(("stands", "sits", "rests"))
        return " ".join(part for part in (thing, verb[:-1] if many else verb, support, backdrop) if part)
    verb = random.choice(("is seen", "appears", "is shown"))
    place = backdrop or _place(subject)
    return f"{thing} {verb.replace('is', 'are') if many else verb} {place}"


def _place(mention: Mention) -> str:
    """Where in the picture something is."""
    across = "left" if mention.place[0] < 0.36 else "right" if mention.place[0] > 0.64 else ""
    if across:
        return f"on the {across} of the picture"
    return "in the lower half of the picture" if mention.place[1] > 0.68 else "in the middle of the picture"


def _clause(relation: str, mentions: Sequence[Mention], facts: Facts, random: Random, known: Collection[str]) -> str:
    """ "behind it are a bookshelf and two chairs"."""
    where = random.choice(_WHERE[relation])
    return f"{where} {_be(_apart(mentions))} {_list(mentions, facts, known)}"


def _apart(mentions: Sequence[Mention]) -> list[Mention]:
    """Those that do not stand on another of them."""
    bearers = {each.noun for each in mentions if each.count == 1}
    return [each for each in mentions if each.on not in bearers] or list(mentions)


def _list(mentions: Sequence[Mention], facts: Facts, known: Collection[str]) -> str:
    """Things, each with what stands on it ("a table with a bowl on it"), or with what it stands on itself."""
    bearers = {each.noun: each for each in mentions if each.count == 1}
    carried = [each for each in mentions if each.on in bearers and bearers[each.on] is not each]
    alone, loaded = [], []
    for each in mentions:
        load = [_thing(other, facts) for other in carried if other.on == each.noun]
        if load and each not in carried:
            loaded.append(f"{_located(each, facts, known)} with {listed(load)} on it")
        elif each not in carried:
            alone.append(_located(each, facts, known))
    return listed(alone + loaded)


# ---- a view of the scene ---------------------------------------------------------------------------------------------


def _best(facts: Facts) -> list[Mention]:
    """What has a name comes first, what is larger in the picture before what is smaller."""
    return sorted(facts.others, key=lambda each: (not each.named, -each.share))


def _is_room(facts: Facts) -> bool:
    return {"wall", "floor"} <= {each.noun for each in facts.surfaces}


def _short_scene(facts: Facts, random: Random) -> tuple[str, list[str]]:
    place = random.choice(("a room with", "an interior with")) if _is_room(facts) else "a view of"
    tails = [f", {_closing(facts, random)}"]
    for count in (3, 2):
        shown = [_thing(each, facts) for each in _best(facts)[:count]]
        opening = f"{place} {listed(shown)}" if shown else f"a view of {_bare(facts)}"
        if len(opening.split()) <= SHORT_WORDS[1]:
            break
    return opening, tails


def _bare(facts: Facts) -> str:
    return listed(
        [plural(each) if each == "wall" else f"a {each}" for each in dict.fromkeys(s.noun for s in facts.surfaces)]
        or ["an empty background"]
    )


def _scene_paragraph(facts: Facts, random: Random) -> Iterator[str]:
    shared, mentions = _together(_best(facts), facts)
    place = random.choice(("a room", "an interior")) if _is_room(facts) else "a view"
    shown = [_thing(each, facts) for each in mentions[:3]]
    wide = random.choice(("A wide view of", "A view into")) if place != "a view" else "A view of"
    yield (
        f"{wide} {place + ' with ' if place != 'a view' else ''}{listed(shown)}" if shown else f"{wide} {_bare(facts)}"
    )
    known = {each.noun for each in mentions[:3]}
    rest = mentions[3:9]
    clauses = []
    for where, chosen in _by_side(rest):
        clauses.append(f"{where} {_be(_apart(chosen[:3]))} {_list(chosen[:3], facts, known)}")
        known |= {each.noun for each in chosen}
    yield from _paired([*shared, *clauses])


def _by_side(mentions: Sequence[Mention]) -> Iterator[tuple[str, list[Mention]]]:
    sides = {"on the left": (0.0, 0.36), "near the middle": (0.36, 0.64), "on the right": (0.64, 1.01)}
    for where, (low, high) in sides.items():
        if chosen := [each for each in mentions if low <= each.place[0] < high]:
            yield where, chosen


# ---- what is said of every view --------------------------------------------------------------------------------------


def _surfaces_sentence(facts: Facts, random: Random) -> str:
    """ "The floor is brown wood and the walls are green and white"; only of what was not said before."""
    colours: dict[str, list[str]] = {}
    for each in facts.surfaces:
        adjectives = _adjectives(each, facts).replace(" wooden", " wood")
        small = each.share < 0.3 * max(other.share for other in facts.surfaces if other.noun == each.noun)
        if (
            adjectives
            and not small
            and "-and-" not in adjectives
            and adjectives not in colours.setdefault(each.noun, [])
        ):
            colours[each.noun].append(adjectives)
    if facts.subject:
        said = {facts.subject.on, facts.backdrop.noun if facts.backdrop else ""}
        colours = {noun: told for noun, told in colours.items() if noun not in said}
    parts = [
        f"the walls are {listed(told[:2])}" if noun == "wall" and len(told) > 1 else f"the {noun} is {told[0]}"
        for noun, told in colours.items()
        if told
    ]
    return listed(parts[:3]) if parts else ""


def _camera_sentences(facts: Facts, random: Random) -> Iterator[str]:
    camera = random.choice(_CAMERA[facts.angle])
    light = f"the light is {' and '.join(facts.light)}" if facts.light else ""
    yield f"{camera}, and {light}" if light else camera


def _fillers(facts: Facts, random: Random) -> Iterator[str]:
    """True, and less telling: for views with little else to say."""
    if facts.palette:
        yield random.choice(("Everything is in plain shades of grey", "The whole picture is in shades of grey"))
    if facts.subject:
        yield f"It takes up {_fraction(facts.subject.share)} of the picture"
        if facts.backdrop or facts.subject.on:
            yield f"It is {_place(facts.subject)}"
    if facts.nothing > 0.15:
        yield "The background is empty"
    if facts.distance == "close":
        yield "It is a close view"
    for noun in list(dict.fromkeys(each.noun for each in facts.surfaces))[:2]:
        share = sum(each.share for each in facts.surfaces if each.noun == noun)
        yield f"The {noun} takes up {_fraction(share)} of the picture"


def _fraction(share: float) -> str:
    steps = ((0.07, "a small part"), (0.15, "about a tenth"), (0.22, "about a fifth"), (0.29, "about a quarter"),
             (0.42, "about a third"), (0.6, "about half"))  # fmt: skip
    return next((words for limit, words in steps if share < limit), "most")

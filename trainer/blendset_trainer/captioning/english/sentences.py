# SPDX-License-Identifier: Apache-2.0
"""A small seeded grammar that turns the facts about a view into one sentence or a paragraph, as a person would write.

What the view is of comes first (`subject_captions`, `scene_captions`); surfaces, colour and light close it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from random import Random

from blendset_trainer.captioning.english import scene_captions, subject_captions
from blendset_trainer.captioning.english.phrases import (
    collect_surface_colours,
    describe_position,
    describe_support,
    describe_viewpoint,
    format_sentence,
)
from blendset_trainer.captioning.seeing.entities import Entity
from blendset_trainer.captioning.seeing.facts import Facts, SurfaceFact
from blendset_trainer.language.grammar import is_plural, join_phrases

SHORT_WORDS, DENSE_WORDS = (8, 20), (40, 80)
"""The fewest and the most words of each form."""
_GREY = (
    "everything is the same plain grey, told apart only by light and shadow",
    "there is no colour in the picture, only light and dark shades of grey",
    "the whole picture is in shades of grey, with only light and shadow to tell shapes apart",
)
MIN_BARE_SHARE = 0.3
"""A surface with a smaller share of the picture is no bare stretch."""
MIN_TONE_SHARE, MIN_LIGHTNESS_DIFFERENCE = 0.08, 8
"""The share of the picture that a surface needs for its tone to be described, and a difference of CIELAB lightness
that everybody sees."""
MIN_MAIN_SHARE, MIN_TOUCH_SHARE = 0.15, 0.01
"""The shares of the picture that make a colour a main one, and a touch."""
MAX_SMALL_SHARE = 0.12
"""A subject with a smaller share of the picture is small in it."""


def compose_short_caption(facts: Facts, random: Random) -> str:
    """One sentence of 8 to 20 words."""
    additions: list[str] = []
    if facts.subject:
        text = subject_captions.compose_opening(facts, random)
        additions = subject_captions.compose_additions(facts, random)
    else:
        text = scene_captions.compose_opening(facts, random, SHORT_WORDS[1])
    closing = "" if "seen" in text or "viewed" in text else f", {_compose_closing(facts, random)}"
    for addition in (*additions, closing):
        longer = f"{text}{addition}"
        if len(longer.split()) <= SHORT_WORDS[1] and (len(text.split()) < 12 or random.random() < 0.3):
            text = longer
    if facts.subject and len(text.split()) < SHORT_WORDS[0]:
        text = f"{text}, {describe_position(facts.subject)}"
    return format_sentence(text)


def _compose_closing(facts: Facts, random: Random) -> str:
    """ "in close-up", or camera angle and light."""
    is_close = facts.distance == "close" and random.random() < 0.5
    return "in close-up" if is_close else describe_viewpoint(facts, random)


def compose_dense_caption(facts: Facts, random: Random) -> str:
    """A paragraph of at most 80 words; of at least 40 where the facts suffice."""
    chosen: list[str] = []
    paragraph = (subject_captions if facts.subject else scene_captions).compose_paragraph(facts, random)
    for text in [*paragraph, _describe_surfaces(facts)]:
        if text and _count_words([*chosen, text]) <= DENSE_WORDS[1]:
            chosen.append(text)
    for text in _compose_fillers(facts, DENSE_WORDS[0] - _count_words(chosen), random):
        if text and _count_words(chosen) < DENSE_WORDS[0] and _count_words([*chosen, text]) <= DENSE_WORDS[1]:
            chosen.append(text)
    return " ".join(format_sentence(text) for text in chosen)


def _count_words(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _describe_surfaces(facts: Facts) -> str:
    """ "The floor is brown wood and the walls are green and white"; only of surfaces that were not described yet."""
    if facts.palette:
        return _describe_tones(facts)
    if not facts.subject and scene_captions.describes_surfaces(facts):
        return ""
    described = set()
    if facts.subject:
        support = facts.subject.support if describe_support(facts) else ""
        described = {support, facts.backdrop.noun if facts.backdrop else ""}
    colours = {noun: words for noun, words in collect_surface_colours(facts).items() if noun not in described}
    around = " around it" if facts.subject and [*colours] == ["wall"] else ""
    parts = [
        f"the {'walls' if len(words) > 1 else noun}{around} {'are' if len(words) > 1 else 'is'} {join_phrases(words)}"
        for noun, words in colours.items()
    ]
    return join_phrases(parts[:3]) if parts else ""


def _describe_tones(facts: Facts) -> str:
    """In a grey picture: which of floor and wall is brighter, or how the subject stands out against one of them."""
    largest = {surface.noun: surface for surface in reversed(facts.surfaces) if surface.share > MIN_TONE_SHARE}
    floor, wall = largest.get("floor"), largest.get("wall")
    if floor and wall and abs(floor.lightness - wall.lightness) > MIN_LIGHTNESS_DIFFERENCE:
        bright, dark = ("floor", "wall") if floor.lightness > wall.lightness else ("wall", "floor")
        return f"the {bright} is lit more brightly than the {dark}"
    behind = facts.backdrop or (floor if facts.subject and facts.subject.support == "floor" else None)
    if facts.subject and behind and abs(facts.subject.lightness - behind.lightness) > MIN_LIGHTNESS_DIFFERENCE:
        tone = "darker" if facts.subject.lightness < behind.lightness else "brighter"
        where = "behind" if behind.noun == "wall" else "around"
        return f"the {facts.subject.arrangement or facts.subject.noun} looks {tone} than the {behind.noun} {where} it"
    return ""


# ---- for views with little else to say -------------------------------------------------------------------------------


def _compose_fillers(facts: Facts, missing_words: int, random: Random) -> Iterator[str]:
    """True but less telling clauses, the most helpful first; `missing_words` are missing to the shortest paragraph."""
    tone = random.choice(_GREY) if facts.palette else _describe_main_colours(facts)
    where = ""
    if facts.subject and not subject_captions.describes_position(facts):
        where = _describe_position(facts.subject, facts)
    both = tone and where and len(tone.split()) < missing_words
    yield f"{tone}, and {where}" if both else tone or where
    if facts.subject and facts.subject.is_cut:
        yield "part of it is cut off by the edge of the picture"
    if facts.background:
        yield f"the background is empty and {facts.background}"


def _describe_main_colours(facts: Facts) -> str:
    """ "blue and brown are the main colours, with some white"."""
    shares: dict[str, float] = defaultdict(float)
    described: list[SurfaceFact | Entity] = [*facts.surfaces, *facts.others]
    for item in described + ([facts.subject] if facts.subject else []):
        for colour in item.colour.split(" and ") if item.colour else []:
            shares[colour.removeprefix("light ").removeprefix("dark ")] += item.share / (1 + item.colour.count(" and "))
    ordered = sorted(shares, key=lambda colour: -shares[colour])
    main = [colour for colour in ordered if shares[colour] > MIN_MAIN_SHARE][:3]
    touches = [colour for colour in ordered if MIN_TOUCH_SHARE < shares[colour] <= MIN_MAIN_SHARE][: 3 - len(main)]
    if not main:
        return ""
    clause = f"{main[0]} is the main colour" if len(main) == 1 else f"{join_phrases(main)} are the main colours"
    return f"{clause}, with some {join_phrases(touches)}" if touches else clause


def _describe_position(subject: Entity, facts: Facts) -> str:
    """ "the ball sits close to the middle of the picture, taking up a good part of it"."""
    noun, bare = subject.arrangement or subject.noun, " and ".join(_find_bare_stretches(facts))
    is_many = is_plural(noun) and not subject.arrangement
    if subject.share < MAX_SMALL_SHARE and bare:
        return f"the {noun} {'are' if is_many else 'is'} small in the picture, with plenty of bare {bare} around it"
    spot, size = _describe_spot(subject.centre), _describe_size(subject.share)
    return f"the {noun} {'sit' if is_many else 'sits'} {spot}, taking up {size} of it"


def _describe_size(share: float) -> str:
    """How much of the picture a share of it is, in words."""
    steps = ((MAX_SMALL_SHARE, "a small part"), (0.25, "a good part"))
    return next((words for limit, words in steps if share < limit), "much")


def _describe_spot(centre: tuple[float, float]) -> str:
    """Where a centre (from the left, from the top, 0 to 1) is relative to the middle of the picture."""
    side = "left" if centre[0] < 0.5 else "right"
    if abs(centre[0] - 0.5) > 0.08:
        return f"{'a little ' if abs(centre[0] - 0.5) < 0.2 else ''}to the {side} in the picture"
    is_close = abs(centre[1] - 0.5) < 0.15
    return f"{'close to' if is_close else 'above' if centre[1] < 0.5 else 'below'} the middle of the picture"


def _find_bare_stretches(facts: Facts) -> list[str]:
    """Nouns of surfaces with a greater share of the picture than all entities, where none of these is near."""
    if any(entity.relation in ("left", "right", "beside", "front") for entity in facts.others):
        return []
    occupied = sum(entity.share for entity in facts.others)
    shares = {surface.noun: 0.0 for surface in facts.surfaces}
    for surface in facts.surfaces:
        shares[surface.noun] += surface.share
    return [noun for noun, share in shares.items() if share > max(MIN_BARE_SHARE, occupied)]

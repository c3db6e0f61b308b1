# SPDX-License-Identifier: Apache-2.0
"""A small seeded grammar: from the facts about a view to one sentence, or to a paragraph, as a person would write it.

What the view is of comes first (`subjects`, `scenes`); surfaces, colour and light close it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from random import Random

from blendset_trainer.captioning.english import scene_captions, subject_captions
from blendset_trainer.captioning.english.phrases import place, seen, sentence, support, surface_colours
from blendset_trainer.captioning.seeing.facts import Facts, SurfaceFact
from blendset_trainer.captioning.seeing.entities import Mention
from blendset_trainer.language.grammar import is_plural, listed

SHORT_WORDS, DENSE_WORDS = (8, 20), (40, 80)
_GREY = (
    "everything is the same plain grey, told apart only by light and shadow",
    "there is no colour in the picture, only light and dark shades of grey",
    "the whole picture is in shades of grey, with only light and shadow to tell shapes apart",
)
BARE = 0.3
"""A surface with this share of the picture is a stretch worth a word."""
WORTH_A_TONE, CLEAR = 0.08, 8
"""How much of the picture a surface takes of which its tone is told, and a difference of lightness that all see."""
MAIN, WORTH_A_TOUCH = 0.15, 0.01
"""How much of the picture its main colours have, and touches of others."""
SMALL = 0.12
"""A subject with less of the picture is small in it."""


def short_caption(facts: Facts, random: Random) -> str:
    """One sentence of 8 to 20 words."""
    text = (
        subject_captions.opening(facts, random)
        if facts.subject
        else scene_captions.opening(facts, random, SHORT_WORDS[1])
    )
    tails = subject_captions.tails(facts, random) if facts.subject else []
    closing = "" if "seen" in text or "viewed" in text else f", {_closing(facts, random)}"
    for tail in (*tails, closing):
        longer = f"{text}{tail}"
        if len(longer.split()) <= SHORT_WORDS[1] and (len(text.split()) < 12 or random.random() < 0.3):
            text = longer
    if facts.subject and len(text.split()) < SHORT_WORDS[0]:
        text = f"{text}, {place(facts.subject)}"
    return sentence(text)


def _closing(facts: Facts, random: Random) -> str:
    close = facts.distance == "close" and random.random() < 0.5
    return "in close-up" if close else seen(facts, random)


def dense_caption(facts: Facts, random: Random) -> str:
    """A paragraph of up to 80 words; of 40 where there is so much to say."""
    chosen: list[str] = []
    for text in [*(subject_captions if facts.subject else scene_captions).paragraph(facts, random), _surfaces(facts)]:
        if text and _words([*chosen, text]) <= DENSE_WORDS[1]:
            chosen.append(text)
    for text in _more(facts, DENSE_WORDS[0] - _words(chosen), random):
        if text and _words(chosen) < DENSE_WORDS[0] and _words([*chosen, text]) <= DENSE_WORDS[1]:
            chosen.append(text)
    return " ".join(sentence(text) for text in chosen)


def _words(texts: list[str]) -> int:
    return sum(len(text.split()) for text in texts)


def _surfaces(facts: Facts) -> str:
    """ "The floor is brown wood and the walls are green and white"; only of what was not said before."""
    if facts.palette:
        return _tones(facts)
    if not facts.subject and scene_captions.tells_surfaces(facts):
        return ""
    said = set()
    if facts.subject:
        said = {facts.subject.on if support(facts) else "", facts.backdrop.noun if facts.backdrop else ""}
    left = {noun: told for noun, told in surface_colours(facts).items() if noun not in said}
    around = " around it" if facts.subject and [*left] == ["wall"] else ""
    parts = [
        f"the {'walls' if len(told) > 1 else noun}{around} {'are' if len(told) > 1 else 'is'} {listed(told)}"
        for noun, told in left.items()
    ]
    return listed(parts[:3]) if parts else ""


def _tones(facts: Facts) -> str:
    """Where all is grey: which of floor and wall is the brighter, or how the subject stands out against one of them."""
    largest = {each.noun: each for each in reversed(facts.surfaces) if each.share > WORTH_A_TONE}
    floor, wall = largest.get("floor"), largest.get("wall")
    if floor and wall and abs(floor.lightness - wall.lightness) > CLEAR:
        bright, dark = ("floor", "wall") if floor.lightness > wall.lightness else ("wall", "floor")
        return f"the {bright} is lit more brightly than the {dark}"
    behind = facts.backdrop or (floor if facts.subject and facts.subject.on == "floor" else None)
    if facts.subject and behind and abs(facts.subject.lightness - behind.lightness) > CLEAR:
        tone = "darker" if facts.subject.lightness < behind.lightness else "brighter"
        where = "behind" if behind.noun == "wall" else "around"
        return f"the {facts.subject.several or facts.subject.noun} looks {tone} than the {behind.noun} {where} it"
    return ""


# ---- for views with little else to say -------------------------------------------------------------------------------


def _more(facts: Facts, wanting: int, random: Random) -> Iterator[str]:
    """True, and less telling, in the order in which it helps, where so many words are `wanting`."""
    tone = random.choice(_GREY) if facts.palette else _colours(facts)
    where = _place(facts.subject, facts) if facts.subject and not subject_captions.tells_place(facts) else ""
    both = tone and where and len(tone.split()) < wanting
    yield f"{tone}, and {where}" if both else tone or where
    if facts.subject and facts.subject.is_cut:
        yield "part of it is cut off by the edge of the picture"
    if facts.emptiness:
        yield f"the background is empty and {facts.emptiness}"


def _colours(facts: Facts) -> str:
    """ "blue and brown are the main colours, with some white"."""
    shares: dict[str, float] = defaultdict(float)
    everything: list[SurfaceFact | Mention] = [*facts.surfaces, *facts.others]
    for each in everything + ([facts.subject] if facts.subject else []):
        for colour in each.colour.split(" and ") if each.colour else []:
            shares[colour.removeprefix("light ").removeprefix("dark ")] += each.share / (1 + each.colour.count(" and "))
    ordered = sorted(shares, key=lambda colour: -shares[colour])
    main = [colour for colour in ordered if shares[colour] > MAIN][:3]
    touches = [colour for colour in ordered if WORTH_A_TOUCH < shares[colour] <= MAIN][: 3 - len(main)]
    if not main:
        return ""
    told = f"{main[0]} is the main colour" if len(main) == 1 else f"{listed(main)} are the main colours"
    return f"{told}, with some {listed(touches)}" if touches else told


def _place(subject: Mention, facts: Facts) -> str:
    """ "the ball sits close to the middle of the picture, taking up a good part of it"."""
    noun, bare = subject.several or subject.noun, " and ".join(_stretches(facts))
    many = is_plural(noun) and not subject.several
    if subject.share < SMALL and bare:
        return f"the {noun} {'are' if many else 'is'} small in the picture, with plenty of bare {bare} around it"
    return f"the {noun} {'sit' if many else 'sits'} {_spot(subject.place)}, taking up {_size(subject.share)} of it"


def _size(share: float) -> str:
    steps = ((SMALL, "a small part"), (0.25, "a good part"))
    return next((words for limit, words in steps if share < limit), "much")


def _spot(at: tuple[float, float]) -> str:
    side = "left" if at[0] < 0.5 else "right"
    if abs(at[0] - 0.5) > 0.08:
        return f"{'a little ' if abs(at[0] - 0.5) < 0.2 else ''}to the {side} in the picture"
    close = abs(at[1] - 0.5) < 0.15
    return f"{'close to' if close else 'above' if at[1] < 0.5 else 'below'} the middle of the picture"


def _stretches(facts: Facts) -> list[str]:
    """The surfaces that take up much of the picture, more than all that is before them, where nothing is near."""
    if any(each.relation in ("left", "right", "beside", "front") for each in facts.others):
        return []
    full = sum(each.share for each in facts.others)
    shares = {each.noun: 0.0 for each in facts.surfaces}
    for each in facts.surfaces:
        shares[each.noun] += each.share
    return [noun for noun, share in shares.items() if share > max(BARE, full)]

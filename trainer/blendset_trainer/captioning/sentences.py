# SPDX-License-Identifier: Apache-2.0
"""A small seeded grammar: from the facts about a view to one sentence, or to a paragraph, as a person would write it.

What the view is of comes first (`subjects`, `scenes`); surfaces, camera and light close it.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from blendset_trainer.captioning import scenes, subjects
from blendset_trainer.captioning.facts import Facts
from blendset_trainer.captioning.phrases import adjectives, place, sentence, support
from blendset_trainer.captioning.words import listed

SHORT_WORDS, DENSE_WORDS = (8, 20), (40, 80)

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
BARE, SLIGHT = 0.3, 0.07
"""A surface with this share of the picture is a stretch worth a word; a subject with less than that one is small."""


def short_caption(facts: Facts, random: Random) -> str:
    """One sentence of 8 to 20 words."""
    text = subjects.opening(facts, random) if facts.subject else scenes.opening(facts, random, SHORT_WORDS[1])
    tails = subjects.tails(facts, random) if facts.subject else []
    for tail in (*tails, f", {_closing(facts, random)}"):
        longer = f"{text}{tail}"
        if len(longer.split()) <= SHORT_WORDS[1] and (len(text.split()) < 12 or random.random() < 0.3):
            text = longer
    if facts.subject and len(text.split()) < SHORT_WORDS[0]:
        text = f"{text}, {place(facts.subject)}"
    return sentence(text)


def dense_caption(facts: Facts, random: Random) -> str:
    """A paragraph of 40 to 80 words."""
    needed = list((subjects if facts.subject else scenes).paragraph(facts, random))
    spare = [_surfaces(facts), _view(facts, random), *_fillers(facts, random)]
    chosen: list[str] = []
    words = 0
    for text in [*needed, *spare]:
        count = len(text.split())
        wanted = text in needed or text in spare[:2] or words < DENSE_WORDS[0]
        if text and wanted and words + count <= DENSE_WORDS[1]:
            chosen.append(sentence(text))
            words += count
    return " ".join(chosen)


def _closing(facts: Facts, random: Random) -> str:
    """Camera and light in passing: "seen from slightly above in warm light"."""
    close = facts.distance == "close" and random.random() < 0.5
    angle = "in close-up" if close else random.choice(_ANGLES[facts.angle])
    if facts.light_side:
        return f"{angle}, lit from the {facts.light_side}"
    return f"{angle} in {', '.join(facts.light)} light" if facts.light else angle


def _surfaces(facts: Facts) -> str:
    """ "The floor is brown wood and the walls are green and white"; only of what was not said before."""
    colours: dict[str, list[str]] = {}
    for each in facts.surfaces:
        words = adjectives(each, facts).replace(" wooden", " wood")
        small = each.share < 0.3 * max(other.share for other in facts.surfaces if other.noun == each.noun)
        if words and not small and "-and-" not in words and words not in colours.setdefault(each.noun, []):
            colours[each.noun].append(words)
    said = {facts.subject.on, facts.backdrop.noun if facts.backdrop else ""} if facts.subject else set()
    parts = [
        f"the walls are {listed(told[:2])}" if noun == "wall" and len(told) > 1 else f"the {noun} is {told[0]}"
        for noun, told in colours.items()
        if told and noun not in said
    ]
    return listed(parts[:3]) if parts else ""


def _view(facts: Facts, random: Random) -> str:
    camera = random.choice(_CAMERA[facts.angle])
    if facts.light_side:
        return f"{camera}, and {random.choice(('light comes in', 'the light falls'))} from the {facts.light_side}"
    return f"{camera}, and the light is {' and '.join(facts.light)}" if facts.light else camera


def _fillers(facts: Facts, random: Random) -> Iterator[str]:
    """True, and less telling: for views with little else to say."""
    if facts.palette:
        yield random.choice(
            (
                "There is no colour anywhere, only plain shades of grey",
                "Everything is in plain shades of grey",
                "The whole picture is in shades of grey, with no colour at all",
            )
        )
    yield from _about_subject(facts)
    for noun in dict.fromkeys(each.noun for each in facts.surfaces):
        share = sum(each.share for each in facts.surfaces if each.noun == noun)
        if share > BARE:
            yield f"Bare {noun} fills {'much' if share < 0.5 else 'most'} of the picture"
        elif not facts.subject:
            yield f"The {noun} takes up {_fraction(share)} of the picture"
    if facts.emptiness:
        yield f"The background is empty and {facts.emptiness}"
    if facts.subject:
        cut = min(facts.subject.frame[:2]) <= 0 or max(facts.subject.frame[2:]) >= 1
        yield "Part of it is cut off by the edge of the picture" if cut else "All of it lies within the frame"


def _about_subject(facts: Facts) -> Iterator[str]:
    subject = facts.subject
    if not subject:
        return
    spot = f", {_spot(subject.place)}" if support(facts) or facts.backdrop else ""
    yield f"It {'fills' if subject.share > SLIGHT else 'takes up only'} {_fraction(subject.share)} of the frame{spot}"
    if not subject.named and (proportion := _proportion(subject.frame)):
        yield f"It is {proportion}"


def _proportion(frame: tuple[float, float, float, float]) -> str:
    """How the outline's height and width compare, where both are in the frame and the words fit."""
    if min(frame[:2]) <= 0 or max(frame[2:]) >= 1:
        return ""
    wide, high = frame[2] - frame[0], frame[3] - frame[1]
    long, short, times = ("tall", "wide", high / wide) if high > wide else ("wide", "tall", wide / high)
    if times > 2.4:
        return f"much {'taller' if long == 'tall' else 'wider'} than it is {short}"
    words = "about as" if times < 1.15 else "about twice as" if times > 1.7 else ""
    return f"{words} {long} as it is {short}" if words else ""


def _spot(at: tuple[float, float]) -> str:
    side = "left" if at[0] < 0.5 else "right"
    if abs(at[0] - 0.5) < 0.08:
        return "near the middle" if abs(at[1] - 0.5) < 0.15 else f"{'above' if at[1] < 0.5 else 'below'} the middle"
    return f"a little to the {side}" if abs(at[0] - 0.5) < 0.2 else f"on the {side}"


def _fraction(share: float) -> str:
    steps = ((0.07, "a small part"), (0.15, "about a tenth"), (0.22, "about a fifth"), (0.29, "about a quarter"),
             (0.42, "about a third"), (0.6, "about half"))  # fmt: skip
    return next((words for limit, words in steps if share < limit), "most")

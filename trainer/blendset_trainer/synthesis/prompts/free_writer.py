# SPDX-License-Identifier: Apache-2.0
"""Prompts for no scene, by a grammar over six axes: subject, attributes, place, style, light and view.

As Bootstrap3D asks a language model for them (arXiv 2406.00093): of many classes of things, short ones of 3 to 5 words
and long ones of 10 to 20. The words are data (free.toml, and the places and lights of grammar.toml). A prompt is a
function of seed and number: whoever asks for more gets the same first ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path
from random import Random

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, option, read_toml, structure
from blendset.randomness import make_text_random
from blendset_trainer.language.grammar import add_article
from blendset_trainer.language.lexicon import COLOURS, MATERIAL_OF, OTHER_COLOURS
from blendset_trainer.synthesis.prompts.grammar_writer import (
    OUTDOORS,
    WHERE,
    PromptGrammar,
    SettingWords,
    Surroundings,
    capitalize,
    describe_moment,
    find_lights,
    list_moments,
)
from blendset_trainer.synthesis.prompts.prompt_files import FREE, GRAMMAR, Prompt

FREE_FILE = Path(__file__).with_name("words") / "free.toml"
SHORT, LONG = (3, 5), (10, 20)
"""Fewest and most words."""
MOST_ATTRIBUTES = 2
SHARE_WITHOUT_ATTRIBUTES = 0.2
"""Of the short ones."""
MOST_REPEATED = 1000
"""After so many prompts in a row that came before, there are no new ones."""
TRIES = 100
"""A prompt is put together anew until its length fits, at most so often."""


@dataclass(frozen=True)
class ClassWords:
    """The words for one class of things. Its places are its own, then those of the grammar that `general` names."""

    name: str = option(REQUIRED, "what the class is called")
    subjects: tuple[str, ...] = option(REQUIRED, "its things, in the singular")
    attributes: tuple[tuple[str, ...], ...] = option(
        REQUIRED, "lists of adjectives; a prompt takes one from some, in order"
    )
    does: tuple[str, ...] = option(REQUIRED, "what its things may do, or how they are placed")
    has: tuple[str, ...] = option(REQUIRED, "what its things may be 'with'")
    settings: tuple[SettingWords, ...] = option((), "places of its own, as [[classes.settings]]")
    general: tuple[str, ...] = option((), "which of the grammar's places suit it too", choices=WHERE)


@dataclass(frozen=True)
class FreeWords:
    """All the words; see free.toml."""

    views: tuple[str, ...] = option(REQUIRED, "the sides from which a thing is seen")
    styles: tuple[str, ...] = option(REQUIRED, "kinds of pictures, in the singular")
    classes: tuple[ClassWords, ...] = option(REQUIRED, "classes of things, as [[classes]]")


@dataclass(frozen=True)
class Axes:
    """What was chosen for one prompt: a text for each axis that it has, and its surroundings."""

    thing: ClassWords
    noun: str
    attributes: tuple[str, ...]
    surroundings: Surroundings
    view: str
    style: str
    short: bool

    @property
    def named(self) -> str:
        """The subject's noun phrase with its attributes and article."""
        return _add_article(" ".join([*self.attributes, self.noun]))

    def to_parts(self) -> dict[str, str]:
        """What was chosen, by the names that the parts of a prompt have."""
        chosen = {"class": self.thing.name, "subject": self.noun, "attributes": ", ".join(self.attributes)}
        chosen |= self.surroundings.to_parts() | {"view": self.view, "style": self.style}
        return {name: part for name, part in chosen.items() if part}


def load_free_words(path: Path = FREE_FILE) -> FreeWords:
    """Read the words from a TOML file; BlendsetError says what it lacks or does not know."""
    words = structure(FreeWords, read_toml(path), str(path))
    for each in words.classes:
        if not (each.settings or each.general):
            raise BlendsetError(f"{path}: the class '{each.name}' has no place; give it settings, or general.")
    if not words.classes:
        raise BlendsetError(f"{path} has no class of things; add one under [[classes]].")
    return words


def write_free_prompts(grammar: PromptGrammar, words: FreeWords, seed: int) -> Iterator[Prompt]:
    """Different prompts, until new ones come no more; in each round every thing comes once, unless its prompt came
    before.
    """
    earlier: set[str] = set()
    repeated = 0
    for number, axes in enumerate(choose_axes(grammar, words, seed)):
        random = make_text_random(seed, FREE, "sentence", number)
        text, parts = (_compose_short if axes.short else _compose_long)(axes, random)
        repeated = repeated + 1 if text in earlier else 0
        if repeated > MOST_REPEATED:
            return
        if not repeated:
            earlier.add(text)
            yield Prompt(f"{capitalize(text)}.", axes.noun, FREE, parts, GRAMMAR, seed)


def choose_axes(grammar: PromptGrammar, words: FreeWords, seed: int) -> Iterator[Axes]:
    """Values of all axes without end: in each round every thing comes once, in an order of its own."""
    things = [(each, noun) for each in words.classes for noun in each.subjects]
    for turn in count():
        for thing, noun in make_text_random(seed, FREE, "round", turn).sample(things, len(things)):
            random = make_text_random(seed, FREE, noun, turn)
            yield Axes(
                thing,
                noun,
                _choose_attributes(thing, noun, random),
                _choose_surroundings(grammar, thing, random),
                random.choice(words.views),
                random.choice(words.styles),
                random.random() < 0.5,
            )


def _choose_attributes(thing: ClassWords, noun: str, random: Random) -> tuple[str, ...]:
    """One or two adjectives, in the order of their lists; none that says again, or otherwise, what the name says."""
    named = {*noun.lower().replace("-", " ").split()}
    has_look = named & {*COLOURS, *OTHER_COLOURS, *MATERIAL_OF, *MATERIAL_OF.values()}
    groups = [
        [each for each in group if not {*each.replace("-", " ").split()} & (named | (_LOOKS if has_look else set()))]
        for group in thing.attributes
    ]
    count = min(len(groups), random.randint(1, MOST_ATTRIBUTES))
    chosen = sorted(random.sample(range(len(groups)), count))
    return tuple(random.choice(groups[number]) for number in chosen if groups[number])


_LOOKS = {*COLOURS, *OTHER_COLOURS, *MATERIAL_OF, *MATERIAL_OF.values()}


def _choose_surroundings(grammar: PromptGrammar, thing: ClassWords, random: Random) -> Surroundings:
    settings = [*thing.settings, *(setting for setting in grammar.settings if setting.where in thing.general)]
    setting = random.choice(settings)
    season, time = random.choice(list_moments(grammar, setting))
    light = random.choice(find_lights(grammar, setting, season, time)).light
    return Surroundings(setting, season, time, light, "")


def _compose_short(axes: Axes, random: Random) -> tuple[str, dict[str, str]]:
    """A prompt of 3 to 5 words, and what it is made of."""
    known = {name: part for name, part in axes.to_parts().items() if name in ("class", "subject", "attributes")}
    if random.random() < SHARE_WITHOUT_ATTRIBUTES or not _has_length(axes.named, SHORT):
        axes = replace(axes, attributes=())
        known.pop("attributes", None)
    choices = [(f"{axes.named} {does}", {"does": does}) for does in axes.thing.does]
    choices += [(f"{axes.named} with {has}", {"has": has}) for has in axes.thing.has]
    choices += [(f"{_add_article(axes.style)} of {axes.named}", {"style": axes.style})] * len(axes.thing.has)
    choices += [(f"{axes.named} {axes.view}", {"view": axes.view})] * 2
    fitting = [choice for choice in choices if _has_length(choice[0], SHORT)]
    text, more = random.choice(fitting) if fitting else (axes.named, {})
    return text, known | more


def _compose_long(axes: Axes, random: Random) -> tuple[str, dict[str, str]]:
    """A prompt of 10 to 20 words, and what it is made of."""
    for _ in range(TRIES):
        text, parts = _compose_clauses(axes, random)
        if _has_length(text, LONG):
            break
    return text, parts


def _compose_clauses(axes: Axes, random: Random) -> tuple[str, dict[str, str]]:
    """A subject that does or has something, where it is, and some of: when, which light, which side, which style."""
    parts, around = axes.to_parts(), axes.surroundings
    left_out = {name for name in ("season", "light", "view", "style") if random.random() < 0.5}
    if around.setting.where != OUTDOORS and random.random() < 0.5:
        left_out.add("time")
    doing = random.random() < 0.6
    detail = random.choice(axes.thing.does if doing else axes.thing.has)
    what = f"{axes.named} {detail}" if doing else f"{axes.named} with {detail}"
    moment = "" if {"season", "time"} & left_out else describe_moment(around)
    if not moment:
        left_out |= {"season", "time"}
    where = f"{around.setting.ground} {around.setting.place} {moment}".strip()
    head = f"{what} {where}" if "style" in left_out else f"{_add_article(axes.style)} of {what} {where}"
    clauses = [head, *(part for name, part in (("light", around.light), ("view", axes.view)) if name not in left_out)]
    kept = {name: part for name, part in parts.items() if name not in left_out}
    return ", ".join(clauses), kept | {"does" if doing else "has": detail}


def _add_article(phrase: str) -> str:
    """A phrase about one thing with "a" or "an"."""
    return f"{_choose_article(phrase.split()[0])} {phrase}"


@lru_cache(maxsize=4096)
def _choose_article(word: str) -> str:
    return add_article(word, "thing").split()[0]


def _has_length(text: str, length: tuple[int, int]) -> bool:
    return length[0] <= len(text.split()) <= length[1]


def describe_axes(axes: Sequence[Axes]) -> str:
    """The axes of prompts that a model is to write, a line each."""
    return "\n".join(f"{number}. {_describe_one(each)}" for number, each in enumerate(axes, 1))


def _describe_one(axes: Axes) -> str:
    """The words for one prompt: of a short one only its subject, attributes and style."""
    parts = axes.to_parts()
    names = ("subject", "attributes", "style") if axes.short else ("subject", "attributes", "light", "view", "style")
    place = [] if axes.short else [f"place: {axes.surroundings.setting.ground} {axes.surroundings.setting.place}"]
    chosen = [f"{name}: {parts[name]}" for name in names if name in parts]
    return "; ".join(["3 to 5 words" if axes.short else "10 to 20 words", *chosen[:2], *place, *chosen[2:]])

# SPDX-License-Identifier: Apache-2.0
"""Prompts without a model: sentences from settings, seasons, times, light, materials and styles that go together.

The words are data (grammar.toml). A prompt is a function of seed, label and number: asking for more keeps the first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, option, read_toml, structure
from blendset_trainer.language.grammar import add_article, join_phrases, singularize
from blendset_trainer.language.lexicon import COLOURS, MATERIAL_OF, OTHER_COLOURS
from blendset_trainer.synthesis.prompts.files import DEFORMABLE, GRAMMAR, RESTYLE, SET, SET_SIZE, Prompt
from blendset_trainer.synthesis.prompts.subjects import Subject

WORDS = Path(__file__).with_name("grammar.toml")
OUTDOORS, INDOORS, ENCLOSED = WHERE = ("outdoors", "indoors", "enclosed")
"""`enclosed` has no windows, and so neither season nor time of day."""
DETAILS = 2
"""Of a description."""


@dataclass(frozen=True)
class Setting:
    """Where the subject is: "on wet cobbles" "in a narrow street"."""

    where: str = option(REQUIRED, "outdoors, indoors or enclosed", choices=WHERE)
    ground: str = option(REQUIRED, "what it stands on")
    place: str = option(REQUIRED, "where that is")
    seasons: tuple[str, ...] = option((), "the seasons in which it looks like that; empty is all")


@dataclass(frozen=True)
class Time:
    """A time of day, alone ("at dusk") and with `{season}` or, with its article, `{a_season}`."""

    name: str = option(REQUIRED, "what lights call it")
    alone: str = option(REQUIRED, "how it is said indoors")
    in_season: str = option(REQUIRED, "how it is said with a season")


@dataclass(frozen=True)
class Light:
    """A light, and where and when there is one like it."""

    light: str = option(REQUIRED, "how it is said")
    where: str = option(REQUIRED, "outdoors, indoors or enclosed", choices=WHERE)
    times: tuple[str, ...] = option((), "the times of day; empty is all")
    seasons: tuple[str, ...] = option((), "the seasons; empty is all")


@dataclass(frozen=True)
class Family:
    """What things of one sort may be made of or look like, and details that any of them can have."""

    materials: tuple[str, ...] = option(REQUIRED, "adjectives")
    details: tuple[str, ...] = option(REQUIRED, "what a thing is 'with'")
    nouns: tuple[str, ...] = option((), "last words of their names; empty is all other things")


@dataclass(frozen=True)
class Grammar:
    """All the words."""

    seasons: tuple[str, ...] = option(REQUIRED, "the seasons")
    styles: tuple[str, ...] = option(REQUIRED, "how the picture is taken; an empty text says nothing of it")
    times: tuple[Time, ...] = option(REQUIRED, "the times of day, as [[times]]")
    settings: tuple[Setting, ...] = option(REQUIRED, "places, as [[settings]]")
    lights: tuple[Light, ...] = option(REQUIRED, "lights, as [[lights]]")
    families: tuple[Family, ...] = option(REQUIRED, "sorts of things, as [[families]]; the last is for all others")
    hanging: tuple[str, ...] = option((), "words in the names of what stands on no ground")


@dataclass(frozen=True)
class Scene:
    """One choice of surroundings. `season` is "" and `time` None where nothing tells of them."""

    setting: Setting
    season: str
    time: Time | None
    light: str
    style: str

    def parts(self) -> dict[str, str]:
        """What was chosen, by name."""
        chosen = {"ground": self.setting.ground, "place": self.setting.place, "season": self.season,
                  "time": self.time.name if self.time else "", "light": self.light, "style": self.style}  # fmt: skip
        return {name: part for name, part in chosen.items() if part}


def load_grammar(path: Path = WORDS) -> Grammar:
    """Read a grammar; BlendsetError says what it lacks or does not know."""
    grammar = structure(Grammar, read_toml(path), str(path))
    if fault := next(_faults(grammar), ""):
        raise BlendsetError(f"{path} {fault}.")
    return grammar


def _faults(grammar: Grammar) -> Iterator[str]:
    """What would leave a sentence without an end."""
    seasons, times = {*grammar.seasons}, {each.name for each in grammar.times}
    named = [season for each in grammar.settings for season in each.seasons]
    named += [season for each in grammar.lights for season in each.seasons]
    yield from (f"has no season '{season}'; add it to seasons" for season in named if season not in seasons)
    for light in grammar.lights:
        yield from (f"has no time '{time}'; add it under [[times]]" for time in light.times if time not in times)
    for setting in grammar.settings:
        for season, time in _moments(grammar, setting):
            if not _lights(grammar, setting, season, time):
                moment = f" {time.alone}" if time else ""
                yield f"has no light for '{setting.place}'{moment}; add one under [[lights]]"
    if not grammar.settings:
        yield "has no place; add one under [[settings]]"
    if not grammar.families or grammar.families[-1].nouns:
        yield "has no family for all other things; let the last of [[families]] have no nouns"
    if any(len(each.details) < DETAILS for each in grammar.families):
        yield f"has a family with fewer than {DETAILS} details; add some"


def restyles(grammar: Grammar, subjects: Sequence[Subject], seed: int) -> Iterator[Prompt]:
    """Endless prompts that give each subject in turn new surroundings, light, material and style."""
    for number in count():
        for subject in subjects:
            material = _material(grammar, subject, Random(f"{seed} {subject.label} {number}"))
            scene = scene_of(grammar, subject, seed, number)
            parts = ({"material": material} if material else {}) | scene.parts()
            text = f"{sentence(grammar, subject, scene, material)}."
            yield Prompt(text, subject.label, RESTYLE, parts, GRAMMAR, seed)


def deformables(grammar: Grammar, subjects: Sequence[Subject], seed: int) -> Iterator[Prompt]:
    """Endless prompts, in sets of three that share a long description in different surroundings (SynCD)."""
    for number in count():
        for subject in subjects:
            described = description(grammar, subject, Random(f"{seed} {subject.label} description {number}"))
            for member in range(number * SET_SIZE, (number + 1) * SET_SIZE):
                background = sentence(grammar, subject, scene_of(grammar, subject, seed, member))
                parts = {SET: f"{subject.label} {number}", "background": background, "description": described}
                yield Prompt(deformable(background, described), subject.label, DEFORMABLE, parts, GRAMMAR, seed)


def deformable(background: str, description: str) -> str:
    """A background and a description, both without a full stop, in SynCD's words."""
    return f"{background}. {description}. wide angle shot"


def scene_of(grammar: Grammar, subject: Subject, seed: int, number: int) -> Scene:
    """A subject's `number`-th surroundings. Every setting comes up once before one comes up again."""
    setting = setting_of(grammar, subject, seed, number)
    random = Random(f"{seed} {subject.label} scene {number}")
    season, time = random.choice(_moments(grammar, setting))
    light = random.choice(_lights(grammar, setting, season, time)).light
    return Scene(setting, season, time, light, random.choice(grammar.styles))


def setting_of(grammar: Grammar, subject: Subject, seed: int, number: int) -> Setting:
    """The setting of a subject's `number`-th surroundings."""
    turn, at = divmod(number, len(grammar.settings))
    return Random(f"{seed} {subject.label} settings {turn}").sample(grammar.settings, len(grammar.settings))[at]


def sentence(grammar: Grammar, subject: Subject, scene: Scene, material: str = "") -> str:
    """The subject in its surroundings, without a full stop."""
    hangs = {*subject.noun.split(), singularize(subject.noun).split()[-1]} & {*grammar.hanging}
    ground = "" if hangs else scene.setting.ground
    words = [_named(subject, material), ground, scene.setting.place, _when(scene)]
    clauses = [" ".join(filter(None, words)), scene.light, scene.style]
    return _capitalised(", ".join(filter(None, clauses)))


def description(grammar: Grammar, subject: Subject, random: Random) -> str:
    """A subject's looks in some detail, with no word of its surroundings or a full stop."""
    details = random.sample(_family(grammar, subject).details, DETAILS)
    return _capitalised(f"{_named(subject, _material(grammar, subject, random))} with {join_phrases(details)}")


def _named(subject: Subject, material: str = "") -> str:
    return add_article(f"{material} {subject.noun}".strip(), subject.noun)


def _material(grammar: Grammar, subject: Subject, random: Random) -> str:
    """What the subject is to be made of; "" where its name says so already."""
    told = {*subject.noun.split()} & {*MATERIAL_OF, *MATERIAL_OF.values(), *COLOURS, *OTHER_COLOURS}
    return "" if told else random.choice(_family(grammar, subject).materials)


def _family(grammar: Grammar, subject: Subject) -> Family:
    last = singularize(subject.noun).split()[-1]
    return next((each for each in grammar.families if last in each.nouns), grammar.families[-1])


def _moments(grammar: Grammar, setting: Setting) -> list[tuple[str, Time | None]]:
    """The seasons and times of day at which a setting can be shown; "" and None where nothing tells of them."""
    if setting.where == ENCLOSED:
        return [("", None)]
    seasons = (setting.seasons or grammar.seasons) if setting.where == OUTDOORS else ("",)
    return [(season, time) for season in seasons for time in grammar.times]


def _lights(grammar: Grammar, setting: Setting, season: str, time: Time | None) -> list[Light]:
    return [
        each
        for each in grammar.lights
        if each.where == setting.where
        and (not each.times or (time and time.name in each.times))
        and (not each.seasons or season in each.seasons)
    ]


def _when(scene: Scene) -> str:
    if scene.time is None or not scene.season:
        return scene.time.alone if scene.time else ""
    a_season = add_article(scene.season, scene.season)
    return scene.time.in_season.replace("{a_season}", a_season).replace("{season}", scene.season)


def _capitalised(text: str) -> str:
    return text[0].upper() + text[1:]

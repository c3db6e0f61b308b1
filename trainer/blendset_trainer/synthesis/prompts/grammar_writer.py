# SPDX-License-Identifier: Apache-2.0
"""Prompts by a grammar, without a model: sentences of settings, seasons, times, lights, materials and styles that go
together.

The words are data (grammar.toml). A prompt is a function of seed, label and number: whoever asks for more gets the same
first ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from random import Random

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, option, read_toml, structure
from blendset.randomness import make_text_random
from blendset_trainer.language.grammar import add_article, join_phrases, singularize
from blendset_trainer.language.lexicon import COLOURS, MATERIAL_OF, OTHER_COLOURS
from blendset_trainer.synthesis.prompts.prompt_files import DEFORMABLE, GRAMMAR, RESTYLE, SET, SET_SIZE, Prompt
from blendset_trainer.synthesis.prompts.sources import PromptSubject

GRAMMAR_FILE = Path(__file__).with_name("words") / "grammar.toml"
OUTDOORS, INDOORS, ENCLOSED = WHERE = ("outdoors", "indoors", "enclosed")
"""`enclosed` has no windows, and so neither season nor time of day."""
DETAILS_PER_DESCRIPTION = 2
"""What a thing is "with"."""


@dataclass(frozen=True)
class SettingWords:
    """The words for where a subject is: "on wet cobbles" (ground) "in a narrow street" (place)."""

    where: str = option(REQUIRED, "outdoors, indoors or enclosed", choices=WHERE)
    ground: str = option(REQUIRED, "what it stands on")
    place: str = option(REQUIRED, "where that is")
    seasons: tuple[str, ...] = option((), "the seasons in which it looks like that; empty is all")


@dataclass(frozen=True)
class TimeWords:
    """The words for a time of day: alone ("at dusk"), and with `{season}` or, with its article, `{a_season}`."""

    name: str = option(REQUIRED, "what lights call it")
    alone: str = option(REQUIRED, "how it is said indoors")
    in_season: str = option(REQUIRED, "how it is said with a season")


@dataclass(frozen=True)
class LightWords:
    """The words for a light, and where and when there is such a light."""

    light: str = option(REQUIRED, "how it is said")
    where: str = option(REQUIRED, "outdoors, indoors or enclosed", choices=WHERE)
    times: tuple[str, ...] = option((), "the times of day; empty is all")
    seasons: tuple[str, ...] = option((), "the seasons; empty is all")


@dataclass(frozen=True)
class ThingWords:
    """The words for things of one sort: what they may be made of or look like, and details that they can have."""

    materials: tuple[str, ...] = option(REQUIRED, "adjectives")
    details: tuple[str, ...] = option(REQUIRED, "what a thing is 'with'")
    nouns: tuple[str, ...] = option((), "last words of their names; empty is all other things")
    settings: tuple[SettingWords, ...] = option(
        (), "places of their own, as [[families.settings]]; empty is all places"
    )


@dataclass(frozen=True)
class PromptGrammar:
    """All the words; see grammar.toml."""

    seasons: tuple[str, ...] = option(REQUIRED, "the seasons")
    styles: tuple[str, ...] = option(REQUIRED, "how the picture is taken; an empty text says nothing of it")
    times: tuple[TimeWords, ...] = option(REQUIRED, "the times of day, as [[times]]")
    settings: tuple[SettingWords, ...] = option(REQUIRED, "places, as [[settings]]")
    lights: tuple[LightWords, ...] = option(REQUIRED, "lights, as [[lights]]")
    families: tuple[ThingWords, ...] = option(REQUIRED, "sorts of things, as [[families]]; the last is for all others")
    hanging: tuple[str, ...] = option((), "words in the names of what stands on no ground")


@dataclass(frozen=True)
class Surroundings:
    """One choice of surroundings. `season` is "" and `time` None where nothing shows them."""

    setting: SettingWords
    season: str
    time: TimeWords | None
    light: str
    style: str

    def to_parts(self) -> dict[str, str]:
        """What was chosen, by the names that the parts of a prompt have."""
        chosen = {"ground": self.setting.ground, "place": self.setting.place, "season": self.season,
                  "time": self.time.name if self.time else "", "light": self.light, "style": self.style}  # fmt: skip
        return {name: part for name, part in chosen.items() if part}


def load_grammar(path: Path = GRAMMAR_FILE) -> PromptGrammar:
    """Read a grammar from a TOML file; BlendsetError says what it lacks or does not know."""
    grammar = structure(PromptGrammar, read_toml(path), str(path))
    if fault := next(_find_faults(grammar), ""):
        raise BlendsetError(f"{path} {fault}.")
    return grammar


def _find_faults(grammar: PromptGrammar) -> Iterator[str]:
    """What leaves a sentence incomplete, as the ends of sentences about the file."""
    seasons, times = {*grammar.seasons}, {each.name for each in grammar.times}
    named = [season for each in grammar.settings for season in each.seasons]
    named += [season for thing in grammar.families for each in thing.settings for season in each.seasons]
    named += [season for each in grammar.lights for season in each.seasons]
    yield from (f"has no season '{season}'; add it to seasons" for season in named if season not in seasons)
    for light in grammar.lights:
        yield from (f"has no time '{time}'; add it under [[times]]" for time in light.times if time not in times)
    for setting in (*grammar.settings, *(setting for each in grammar.families for setting in each.settings)):
        for season, time in list_moments(grammar, setting):
            if not find_lights(grammar, setting, season, time):
                moment = f" {time.alone}" if time else ""
                yield f"has no light for '{setting.place}'{moment}; add one under [[lights]]"
    if not grammar.settings:
        yield "has no place; add one under [[settings]]"
    if not grammar.families or grammar.families[-1].nouns:
        yield "has no family for all other things; let the last of [[families]] have no nouns"
    if any(len(each.details) < DETAILS_PER_DESCRIPTION for each in grammar.families):
        yield f"has a family with fewer than {DETAILS_PER_DESCRIPTION} details; add some"


def write_restyle_prompts(grammar: PromptGrammar, subjects: Sequence[PromptSubject], seed: int) -> Iterator[Prompt]:
    """Prompts without end, which give each subject in turn new surroundings, light, material and style."""
    for number in count():
        for subject in subjects:
            material = _choose_material(grammar, subject, make_text_random(seed, subject.label, number))
            surroundings = choose_surroundings(grammar, subject, seed, number)
            parts = ({"material": material} if material else {}) | surroundings.to_parts()
            text = f"{compose_sentence(grammar, subject, surroundings, material)}."
            yield Prompt(text, subject.label, RESTYLE, parts, GRAMMAR, seed)


def write_deformable_prompts(grammar: PromptGrammar, subjects: Sequence[PromptSubject], seed: int) -> Iterator[Prompt]:
    """Prompts without end, in sets of three that share a long description and differ in surroundings (SynCD)."""
    for number in count():
        for subject in subjects:
            described = compose_description(
                grammar, subject, make_text_random(seed, subject.label, "description", number)
            )
            for member in range(number * SET_SIZE, (number + 1) * SET_SIZE):
                background = compose_sentence(grammar, subject, choose_surroundings(grammar, subject, seed, member))
                parts = {SET: f"{subject.label} {number}", "background": background, "description": described}
                yield Prompt(join_deformable(background, described), subject.label, DEFORMABLE, parts, GRAMMAR, seed)


def join_deformable(background: str, description: str) -> str:
    """A prompt in SynCD's form, from a background and a description, both without a full stop."""
    return f"{background}. {description}. wide angle shot"


def choose_surroundings(grammar: PromptGrammar, subject: PromptSubject, seed: int, number: int) -> Surroundings:
    """The surroundings `number` of a subject, in which every setting comes once before one comes again."""
    setting = choose_setting(grammar, subject, seed, number)
    random = make_text_random(seed, subject.label, "scene", number)
    season, time = random.choice(list_moments(grammar, setting))
    light = random.choice(find_lights(grammar, setting, season, time)).light
    return Surroundings(setting, season, time, light, random.choice(grammar.styles))


def choose_setting(grammar: PromptGrammar, subject: PromptSubject, seed: int, number: int) -> SettingWords:
    """The setting of surroundings `number` of a subject: the settings are shuffled anew for each round."""
    settings = find_thing(grammar, subject).settings or grammar.settings
    turn, at = divmod(number, len(settings))
    random = make_text_random(seed, subject.label, "settings", turn)
    return random.sample(settings, len(settings))[at]


def compose_sentence(
    grammar: PromptGrammar, subject: PromptSubject, surroundings: Surroundings, material: str = ""
) -> str:
    """A sentence about a subject in its surroundings, without a full stop."""
    hangs = {*subject.noun.split(), singularize(subject.noun).split()[-1]} & {*grammar.hanging}
    ground = "" if hangs else surroundings.setting.ground
    words = [_name_subject(subject, material), ground, surroundings.setting.place, describe_moment(surroundings)]
    clauses = [" ".join(filter(None, words)), surroundings.light, surroundings.style]
    return capitalize(", ".join(filter(None, clauses)))


def compose_description(grammar: PromptGrammar, subject: PromptSubject, random: Random) -> str:
    """A description of a subject's looks, without its surroundings and without a full stop."""
    details = random.sample(find_thing(grammar, subject).details, DETAILS_PER_DESCRIPTION)
    return capitalize(
        f"{_name_subject(subject, _choose_material(grammar, subject, random))} with {join_phrases(details)}"
    )


def _name_subject(subject: PromptSubject, material: str = "") -> str:
    """The subject's noun phrase with its article."""
    return add_article(f"{material} {subject.noun}".strip(), subject.noun)


def _choose_material(grammar: PromptGrammar, subject: PromptSubject, random: Random) -> str:
    """What the subject is to be made of; "" where its name says it already."""
    named = {*subject.noun.split()} & {*MATERIAL_OF, *MATERIAL_OF.values(), *COLOURS, *OTHER_COLOURS}
    return "" if named else random.choice(find_thing(grammar, subject).materials)


def find_thing(grammar: PromptGrammar, subject: PromptSubject) -> ThingWords:
    """The words for things of the subject's sort, by the last word of its name."""
    last = singularize(subject.noun).split()[-1]
    return next((each for each in grammar.families if last in each.nouns), grammar.families[-1])


def list_moments(grammar: PromptGrammar, setting: SettingWords) -> list[tuple[str, TimeWords | None]]:
    """The seasons and times of day at which a setting can be shown; "" and None where nothing shows them."""
    if setting.where == ENCLOSED:
        return [("", None)]
    seasons = (setting.seasons or grammar.seasons) if setting.where == OUTDOORS else ("",)
    return [(season, time) for season in seasons for time in grammar.times]


def find_lights(grammar: PromptGrammar, setting: SettingWords, season: str, time: TimeWords | None) -> list[LightWords]:
    """The lights that there are in a setting at a season and time of day."""
    return [
        each
        for each in grammar.lights
        if each.where == setting.where
        and (not each.times or (time and time.name in each.times))
        and (not each.seasons or season in each.seasons)
    ]


def describe_moment(surroundings: Surroundings) -> str:
    """The words for season and time of day; "" where there is neither."""
    if surroundings.time is None or not surroundings.season:
        return surroundings.time.alone if surroundings.time else ""
    a_season = add_article(surroundings.season, surroundings.season)
    return surroundings.time.in_season.replace("{a_season}", a_season).replace("{season}", surroundings.season)


def capitalize(text: str) -> str:
    """A text with a capital at its beginning."""
    return text[0].upper() + text[1:]

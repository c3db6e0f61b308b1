# SPDX-License-Identifier: Apache-2.0
"""Prompts by a language model, which is asked for lists of them in words from templates/ or a file of the user's.

Each question names places that the grammar draws, so that a model which always gives its likeliest answer gives others.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from blendset.errors import BlendsetError
from blendset_trainer.language.grammar import add_article, pluralize, singularize
from blendset_trainer.models.chat.instructions import strip_thoughts
from blendset_trainer.synthesis.prompts.curation import PATIENCE, Removed
from blendset_trainer.synthesis.prompts.files import DEFORMABLE, RESTYLE, SET, SET_SIZE, Prompt
from blendset_trainer.synthesis.prompts.grammar import Grammar, deformable, setting_of
from blendset_trainer.synthesis.prompts.ngrams import words_of
from blendset_trainer.synthesis.prompts.replies import Replies
from blendset_trainer.synthesis.prompts.subjects import Subject

TEMPLATES = Path(__file__).with_name("templates")
EACH = 10
"""Most prompts that one question asks for; SynCD (arXiv 2502.01720) asks for as many."""
AT_A_TIME = 32
"""Questions, after which their replies are kept."""
LEAST_WORDS = 3
_CHATTER = re.compile(r"suggestion|\bnote:|caption|\*\*|:$", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:\(?\d+\s*[.):](?!\d)|[-*•.]+)\s*")
_QUOTES = "\"'“”‘’` "

Item = TypeVar("Item")
Turn = tuple[Subject, int]
"""Whom a question is about, and how often it was asked before."""


@dataclass(frozen=True)
class Author:
    """A model that was told what to write."""

    replies: Replies
    by: str
    template: str
    grammar: Grammar
    seed: int


def load_template(path: Path) -> str:
    """Read a question; BlendsetError where it holds a place for something that is not known."""
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
        text.format(**_answers(Subject("", "chair"), EACH, ()))
    except (OSError, UnicodeDecodeError) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); give a text file.") from error
    except (LookupError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in _answers(Subject("", "chair"), EACH, ()))
        raise BlendsetError(f"{path} has braces that cannot be filled in ({error}); it may use {known}.") from error
    return text


def restyles(author: Author, subjects: Sequence[Subject], count: int, removed: list[Removed]) -> Iterator[Prompt]:
    """About `count` prompts and some to spare, of the subjects in turn."""
    each = min(EACH, math.ceil(count / len(subjects)))
    for turns in _turns(subjects, count, each):
        replies = author.replies.to([_question(author.template, turn, each, author) for turn in turns])
        answers = [
            [(subject.label, item) for item in _about(subject, reply, removed)]
            for (subject, _), reply in zip(turns, replies, strict=True)
        ]
        for label, item in _in_turn(answers):
            yield Prompt(f"{item}.", label, RESTYLE, {}, author.by, author.seed)


def deformables(author: Author, subjects: Sequence[Subject], count: int, removed: list[Removed]) -> Iterator[Prompt]:
    """About `count` prompts and some to spare, in sets of three that share a description (SynCD)."""
    sets = math.ceil(count / SET_SIZE)
    each = min(EACH // SET_SIZE, math.ceil(sets / len(subjects)))
    asks_description = load_template(TEMPLATES / "description.txt")
    for turns in _turns(subjects, sets, each):
        backgrounds = [_question(author.template, turn, each * SET_SIZE, author) for turn in turns]
        descriptions = [_question(asks_description, turn, each, author) for turn in turns]
        answers = [
            list(_sets(author, turn, *(_about(turn[0], reply, removed) for reply in replies)))
            for turn, *replies in zip(
                turns, author.replies.to(backgrounds), author.replies.to(descriptions), strict=True
            )
        ]
        for members in _in_turn(answers):
            yield from members


def cleaned(reply: str) -> list[str]:
    """The items of a list, without numbers, bullets, quotes and full stops, and without what models say around them.

    SynCD's rules (`gen_prompts.py`), but that numbers within an item and capitals stay.
    """
    lines = [_BULLET.sub("", line).strip(_QUOTES) for line in strip_thoughts(reply).splitlines()]
    items = [" ".join(line.rstrip(".").split()) for line in lines if not _CHATTER.search(line)]
    return [item for item in items if len(words_of(item)) >= LEAST_WORDS]


def _turns(subjects: Sequence[Subject], count: int, each: int) -> Iterator[list[Turn]]:
    """Whom to ask about, all of them equally often, for `count` things in all; and again while more is wanted."""
    rounds = math.ceil(count / each / len(subjects))
    needed = min(count, rounds * len(subjects))
    turns = [(subjects[n % len(subjects)], n // len(subjects)) for n in range(PATIENCE * needed)]
    size = min(AT_A_TIME, needed)
    return (turns[start : start + size] for start in range(0, len(turns), size))


def _question(template: str, turn: Turn, each: int, author: Author) -> str:
    subject, asked = turn
    settings = [setting_of(author.grammar, subject, author.seed, asked * each + number) for number in range(each)]
    return template.format(**_answers(subject, each, [f"{setting.ground} {setting.place}" for setting in settings]))


def _answers(subject: Subject, count: int, places: Sequence[str]) -> dict[str, str]:
    """What a template may name, and what stands there then."""
    caption = subject.caption or f"{add_article(subject.noun, subject.noun)}."
    return {"count": str(count), "subject": subject.noun, "caption": caption, "places": "; ".join(places)}


def _about(subject: Subject, reply: str, removed: list[Removed]) -> list[str]:
    """The items of a reply that name their subject, in singular or plural."""
    last = subject.noun.split()[-1]
    names = {*words_of(f"{last} {singularize(last)} {pluralize(last)}")}
    items = cleaned(reply)
    removed += [Removed(item, "subject not named", last) for item in items if not names & {*words_of(item)}]
    return [item for item in items if names & {*words_of(item)}]


def _sets(author: Author, turn: Turn, backgrounds: list[str], descriptions: list[str]) -> Iterator[list[Prompt]]:
    """One set for each description, for as long as there are backgrounds."""
    subject, asked = turn
    for number, described in enumerate(descriptions[: len(backgrounds) // SET_SIZE]):
        own = {SET: f"{subject.label} {asked}-{number}", "description": described}
        yield [
            Prompt(deformable(background, described), subject.label, DEFORMABLE, {**own, "background": background},
                   author.by, author.seed)
            for background in backgrounds[number * SET_SIZE : (number + 1) * SET_SIZE]
        ]  # fmt: skip


def _in_turn(answers: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """The first of each, then the second of each, for as long as one has any."""
    return (each for row in zip_longest(*answers) for each in row if each is not None)

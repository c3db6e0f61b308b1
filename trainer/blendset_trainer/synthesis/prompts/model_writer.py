# SPDX-License-Identifier: Apache-2.0
"""Prompts by a language model, which is asked for lists of them in the words of templates/ or of a user's file.

Each request names settings that the grammar chooses, so that greedy decoding gives other prompts each time.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice, zip_longest
from pathlib import Path
from typing import TypeVar

from blendset.errors import BlendsetError
from blendset.files import read_text_file
from blendset_trainer.language.grammar import add_article, pluralize, singularize
from blendset_trainer.language.ngrams import split_words
from blendset_trainer.models.chat.replies import is_refusal, strip_thoughts
from blendset_trainer.synthesis.prompts.curation import PATIENCE, RemovedPrompt
from blendset_trainer.synthesis.prompts.free_writer import Axes, FreeWords, choose_axes, describe_axes
from blendset_trainer.synthesis.prompts.grammar_writer import PromptGrammar, choose_setting, join_deformable
from blendset_trainer.synthesis.prompts.prompt_files import DEFORMABLE, FREE, RESTYLE, SET, SET_SIZE, Prompt
from blendset_trainer.synthesis.prompts.reply_cache import CachedReply, ReplyCache
from blendset_trainer.synthesis.prompts.sources import PromptSubject

TEMPLATES = Path(__file__).with_name("templates")
MAX_PROMPTS_PER_REQUEST = 10
"""SynCD (arXiv 2502.01720) asks for as many."""
REQUESTS_PER_SAVE = 32
"""The replies to so many requests are saved together."""
MIN_WORDS = 3
SHOWN_LETTERS = 100
"""Of a reply without prompts."""
_CHATTER = re.compile(r"suggestion|\bnote:|caption|\*\*|:$", re.IGNORECASE)
_BULLET = re.compile(r"^\s*(?:\(?\d+\s*[.):](?!\d)|[-*•.]+)\s*")
_QUOTES = "\"'“”‘’` "

Item = TypeVar("Item")
Turn = tuple[PromptSubject, int]
"""The subject of a request, and how many requests about it came before."""


@dataclass(frozen=True)
class PromptAuthor:
    """A model and what it is asked with; `by` is what a prompt says of its author."""

    replies: ReplyCache
    by: str
    template: str
    grammar: PromptGrammar
    seed: int


def load_template(path: Path, kind: str) -> str:
    """Read a template for a kind of prompts; BlendsetError where it cannot be read or has braces that cannot be filled
    in.
    """
    text = read_text_file(path).strip()
    values = _make_template_values(PromptSubject("", "chair"), MAX_PROMPTS_PER_REQUEST, ())
    if kind == FREE:
        values = _make_free_values(())
    try:
        text.format(**values)
    except (LookupError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise BlendsetError(f"{path} has braces that cannot be filled in ({error}); it may use {known}.") from error
    return text


def write_restyle_prompts(
    author: PromptAuthor, subjects: Sequence[PromptSubject], count: int, removed: list[RemovedPrompt]
) -> Iterator[Prompt]:
    """About `count` prompts and some to spare, about the subjects in turn.

    Items of a reply that do not name their subject are appended to `removed`.
    """
    per_request = min(MAX_PROMPTS_PER_REQUEST, math.ceil(count / len(subjects)))
    for turns in _plan_turns(subjects, count, per_request):
        requests = [_fill_template(author.template, turn, per_request, author) for turn in turns]
        items = [
            [(subject.label, item) for _, item in _parse_items_about([subject.noun], reply, removed)]
            for (subject, _), reply in zip(turns, author.replies.generate(requests), strict=True)
        ]
        for label, item in _interleave(items):
            yield Prompt(f"{item}.", label, RESTYLE, {}, author.by, author.seed)


def write_deformable_prompts(
    author: PromptAuthor, subjects: Sequence[PromptSubject], count: int, removed: list[RemovedPrompt]
) -> Iterator[Prompt]:
    """About `count` prompts and some to spare, in sets of three that share a description (SynCD).

    Items of a reply that do not name their subject are appended to `removed`.
    """
    sets = math.ceil(count / SET_SIZE)
    per_request = min(MAX_PROMPTS_PER_REQUEST // SET_SIZE, math.ceil(sets / len(subjects)))
    description_template = load_template(TEMPLATES / "description.txt", DEFORMABLE)
    for turns in _plan_turns(subjects, sets, per_request):
        backgrounds = [_fill_template(author.template, turn, per_request * SET_SIZE, author) for turn in turns]
        descriptions = [_fill_template(description_template, turn, per_request, author) for turn in turns]
        by_turn = [
            list(_combine_sets(author, turn, *(_list_items_about(turn[0], reply, removed) for reply in replies)))
            for turn, *replies in zip(
                turns, author.replies.generate(backgrounds), author.replies.generate(descriptions), strict=True
            )
        ]
        for members in _interleave(by_turn):
            yield from members


def write_free_prompts(
    author: PromptAuthor, words: FreeWords, count: int, removed: list[RemovedPrompt]
) -> Iterator[Prompt]:
    """About `count` prompts and some to spare, on axes whose values the grammar chooses.

    Items of a reply that name none of its subjects are appended to `removed`.
    """
    axes, per_request = choose_axes(author.grammar, words, author.seed), min(MAX_PROMPTS_PER_REQUEST, count)
    needed = math.ceil(count / per_request)
    for start in range(0, PATIENCE * needed, REQUESTS_PER_SAVE):
        size = min(REQUESTS_PER_SAVE, needed, PATIENCE * needed - start)
        turns = [list(islice(axes, per_request)) for _ in range(size)]
        replies = author.replies.generate([author.template.format(**_make_free_values(turn)) for turn in turns])
        for turn, reply in zip(turns, replies, strict=True):
            for noun, item in _parse_items_about([each.noun for each in turn], reply, removed):
                yield Prompt(f"{item}.", noun, FREE, {}, author.by, author.seed)


def parse_list(reply: str) -> list[str]:
    """The items of a list in a reply, without numbers, bullets, quotes and full stops, and without the words around it.

    SynCD's rules (`gen_prompts.py`), except that numbers within an item and capitals stay.
    """
    lines = [_BULLET.sub("", line).strip(_QUOTES) for line in strip_thoughts(reply).splitlines()]
    items = [" ".join(line.rstrip(".").split()) for line in lines if not _CHATTER.search(line)]
    return [item for item in items if len(split_words(item)) >= MIN_WORDS]


def _plan_turns(subjects: Sequence[PromptSubject], count: int, per_request: int) -> Iterator[list[Turn]]:
    """Batches of turns, in which each subject comes equally often: enough for `count` items, `PATIENCE` times over."""
    rounds = math.ceil(count / per_request / len(subjects))
    needed = min(count, rounds * len(subjects))
    turns = [(subjects[n % len(subjects)], n // len(subjects)) for n in range(PATIENCE * needed)]
    size = min(REQUESTS_PER_SAVE, needed)
    return (turns[start : start + size] for start in range(0, len(turns), size))


def _fill_template(template: str, turn: Turn, count: int, author: PromptAuthor) -> str:
    """The request for `count` items about the subject of a turn."""
    subject, before = turn
    settings = [
        choose_setting(author.grammar, subject, author.seed, before * count + number) for number in range(count)
    ]
    return template.format(
        **_make_template_values(subject, count, [f"{setting.ground} {setting.place}" for setting in settings])
    )


def _make_template_values(subject: PromptSubject, count: int, settings: Sequence[str]) -> dict[str, str]:
    """The names that a template may have in braces, and their values."""
    caption = subject.caption or f"{add_article(subject.noun, subject.noun)}."
    return {"count": str(count), "subject": subject.noun, "caption": caption, "places": "; ".join(settings)}


def _make_free_values(axes: Sequence[Axes]) -> dict[str, str]:
    """The names that a template of free prompts may have in braces, and their values."""
    return {"count": str(len(axes)), "axes": describe_axes(axes)}


def _list_items_about(subject: PromptSubject, reply: CachedReply, removed: list[RemovedPrompt]) -> list[str]:
    return [item for _, item in _parse_items_about([subject.noun], reply, removed)]


def _parse_items_about(nouns: Sequence[str], reply: CachedReply, removed: list[RemovedPrompt]) -> list[tuple[str, str]]:
    """The items of a reply that name one of its subjects, in singular or plural, each after that subject; the others
    are appended to `removed`.

    Of a reply that was cut, the last line is one of the others. A refusal has no items.
    """
    about = ", ".join(noun.split()[-1] for noun in nouns)
    text = reply.text
    if is_refusal(strip_thoughts(text)):
        removed.append(RemovedPrompt(" ".join(text.split())[:SHOWN_LETTERS], "the model refuses", about))
        return []
    if reply.problem:
        text, _, unfinished = text.rstrip().rpartition("\n")
        removed.append(RemovedPrompt(unfinished[:SHOWN_LETTERS], reply.problem.rstrip("."), about))
    items = [(_find_named(nouns, item), item) for item in parse_list(text)]
    removed += [RemovedPrompt(item, "subject not named", about) for noun, item in items if not noun]
    return [(noun, item) for noun, item in items if noun]


def _find_named(nouns: Sequence[str], text: str) -> str:
    """The first of the nouns whose last word a text has, in singular or plural; "" for none."""
    words = {*split_words(text)}
    return next((noun for noun in nouns if _list_names(noun) & words), "")


@cache
def _list_names(noun: str) -> frozenset[str]:
    last = noun.split()[-1]
    return frozenset(split_words(f"{last} {singularize(last)} {pluralize(last)}"))


def _combine_sets(
    author: PromptAuthor, turn: Turn, backgrounds: list[str], descriptions: list[str]
) -> Iterator[list[Prompt]]:
    """One set of prompts for each description, as long as there are backgrounds."""
    subject, before = turn
    for number, description in enumerate(descriptions[: len(backgrounds) // SET_SIZE]):
        parts = {SET: f"{subject.label} {before}-{number}", "description": description}
        yield [
            Prompt(join_deformable(background, description), subject.label, DEFORMABLE,
                   {**parts, "background": background}, author.by, author.seed)
            for background in backgrounds[number * SET_SIZE : (number + 1) * SET_SIZE]
        ]  # fmt: skip


def _interleave(lists: Sequence[Sequence[Item]]) -> Iterator[Item]:
    """The first item of each list, then the second of each, until all are at their end."""
    return (item for row in zip_longest(*lists) for item in row if item is not None)

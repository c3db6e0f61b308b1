# SPDX-License-Identifier: Apache-2.0
"""Which prompts are worth an image: rules as TOML, and filters that keep the order and give each removal a reason.

The filters here need nothing but the text; those of model_filters.py ask models.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain, groupby, islice
from pathlib import Path
from statistics import median

from blendset.errors import BlendsetError
from blendset.files import read_text_file
from blendset.options import REQUIRED, option, read_toml, structure
from blendset.records import decode_json
from blendset_trainer.language.ngrams import split_words
from blendset_trainer.synthesis.prompts.near_duplicates import NearDuplicates
from blendset_trainer.synthesis.prompts.prompt_files import SET, Prompt
from blendset_trainer.synthesis.prompts.text_measures import (
    FLAGGED_WORDS,
    MEASURES,
    compute_english_ratio,
    compute_flagged_ratio,
    split_bare_words,
)

PRESETS = Path(__file__).with_name("presets")
PATIENCE = 4
"""At most so many times the prompts that are asked for are written, because some are left out."""
LANGUAGE_SAMPLE = 1000
"""The language of so many prompts is looked at."""
ENGLISH = "en"
LEAST_ENGLISH = 0.5
"""Of half of the prompts of an English pool, a lexicon knows at least this share of the words."""


@dataclass(frozen=True)
class RemovedPrompt:
    """A prompt that was left out. `reason` is one of few; `detail` names what decided."""

    prompt: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class MeasureBounds:
    """Keep the prompts whose measure lies within these bounds."""

    measure: str = option(REQUIRED, "what is measured", choices=(*MEASURES, FLAGGED_WORDS))
    at_least: float = option(0.0, "lowest value that passes", at_least=0)
    at_most: float = option(math.inf, "highest value that passes", at_least=0)


@dataclass(frozen=True)
class PerplexityBound:
    """Keep the prompts whose perplexity is not above this one, which holds for one model only."""

    model: str = option(REQUIRED, "the language model that the bound was set for")
    at_most: float = option(REQUIRED, "highest perplexity that passes", at_least=1)


@dataclass(frozen=True)
class Judgement:
    """Keep the prompts that a language model says yes to."""

    at_least: float = option(0.5, "lowest P(yes) / (P(yes) + P(no)) that passes", at_least=0, at_most=1)


@dataclass(frozen=True)
class Spread:
    """Keep the prompts that differ from those before them, and of a pool those that differ most."""

    cosine: float = option(0.9, "prompts whose embeddings have this cosine or more are alike", at_least=-1, at_most=1)


@dataclass(frozen=True)
class Curation:
    """The rules that a prompt must meet, besides that it is not empty."""

    language: str = option("", "the language that the rules are for; empty is any", choices=("", ENGLISH))
    duplicates: float | None = option(
        None,
        "of prompts for one label that share this much of their trigrams, keep the first",
        at_least=0.01,
        at_most=1,
    )
    flagged_words: tuple[str, ...] = option((), "prompts with one of these words go")
    keep: tuple[MeasureBounds, ...] = ()
    perplexity: PerplexityBound | None = None
    judge: Judgement | None = None
    diversity: Spread | None = None


def list_curations() -> list[str]:
    """The names of the rules that come with Blendset."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_curation(name: str, flagged: Path | None = None) -> Curation:
    """Load rules by name: one of `list_curations`, a TOML file, or "none"; `flagged` is a list of words to add.

    Raises BlendsetError for what is wrong with either.
    """
    words = read_words(flagged) if flagged else ()
    if name == "none":
        return Curation(flagged_words=words)
    if not name.endswith(".toml") and name not in list_curations():
        known = ", ".join([*list_curations(), "none"])
        raise BlendsetError(f"There is no curation '{name}'; choose {known}, or the path of a .toml file.")
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    curation = structure(Curation, read_toml(path), str(path))
    return replace(curation, flagged_words=(*curation.flagged_words, *words))


def read_words(path: Path) -> tuple[str, ...]:
    """The words of a list: a line each, or Data-Juicer's .json, of which the English ones count."""
    text = read_text_file(path, cure="give a file with a word to a line")
    words = text.split("\n")
    if path.suffix == ".json":
        try:
            words = decode_json(text)["en"]
        except (ValueError, LookupError, TypeError) as error:
            raise BlendsetError(
                f"{path} has no list of words under 'en'; give a file with a word to a line."
            ) from error
    stripped = tuple(word.strip() for word in words if isinstance(word, str) and word.strip())
    if not stripped:
        raise BlendsetError(f"{path} holds no words; give a file with a word to a line.")
    return stripped


def refuse_other_language(prompts: Iterable[Prompt], curation: Curation, name: str) -> Iterator[Prompt]:
    """The prompts as they are; BlendsetError where the first of them are not in the language of the rules `name`."""
    prompts = iter(prompts)
    first = list(islice(prompts, LANGUAGE_SAMPLE))
    shares = [compute_english_ratio(prompt.prompt) for prompt in first if prompt.prompt]
    if curation.language == ENGLISH and shares and median(shares) < LEAST_ENGLISH:
        raise BlendsetError(
            f"The prompts are not in English (as '{first[0].prompt[:40]}'), which the rules '{name}' are for; curate "
            "by others, such as --curate duplicates."
        )
    yield from chain(first, prompts)


def curate_prompts(prompts: Iterable[Prompt], curation: Curation, removed: list[RemovedPrompt]) -> Iterator[Prompt]:
    """The prompts that meet the rules on their text, in their order; the others are appended to `removed`."""
    by_label: dict[str, NearDuplicates] = {}
    flagged = _FlaggedWords(curation.flagged_words)
    for prompt in prompts:
        reason, detail = _find_reason(prompt.prompt, curation, flagged)
        if not reason and curation.duplicates is not None:
            duplicate = by_label.setdefault(prompt.label, NearDuplicates(curation.duplicates)).find(prompt.prompt)
            reason, detail = ("duplicate", duplicate) if duplicate else ("", "")
        if reason:
            removed.append(RemovedPrompt(prompt.prompt, reason, detail))
        else:
            yield prompt


class _FlaggedWords:
    """A list of words, and of phrases, which a text has where all their words come in a row."""

    def __init__(self, entries: Iterable[str]) -> None:
        bare = {" ".join(split_bare_words(entry)) for entry in entries} - {""}
        self.words = frozenset(entry for entry in bare if " " not in entry)
        self._phrases = sorted(bare - self.words)

    def find(self, text: str) -> str:
        """The first word or phrase of the list that a text has; "" for none."""
        words = split_bare_words(text)
        row = f" {' '.join(words)} "
        return next(iter(sorted(self.words & {*words})), "") or next(
            (phrase for phrase in self._phrases if f" {phrase} " in row), ""
        )


def _find_reason(text: str, curation: Curation, flagged: _FlaggedWords) -> tuple[str, str]:
    """The reason to leave a prompt out, and its detail; empty where there is none."""
    if not split_words(text):
        return "empty", ""
    shares = {bounds for bounds in curation.keep if bounds.measure == FLAGGED_WORDS}
    for bounds in curation.keep:
        is_flagged = bounds.measure == FLAGGED_WORDS
        value = compute_flagged_ratio(text, flagged.words) if is_flagged else MEASURES[bounds.measure](text)
        if not bounds.at_least <= value <= bounds.at_most:
            return ("flagged word", flagged.find(text)) if is_flagged else (bounds.measure, f"{value:.3g}")
    found = "" if any(bounds.at_most > 0 for bounds in shares) else flagged.find(text)
    return ("flagged word", found) if found else ("", "")


def keep_complete_sets(prompts: Iterable[Prompt], size: int, removed: list[RemovedPrompt]) -> Iterator[Prompt]:
    """The prompts of the sets that still have all `size` of theirs; the others are appended to `removed`."""
    for name, members in groupby(prompts, key=lambda prompt: prompt.parts.get(SET, prompt.prompt)):
        left = list(members)
        if len(left) == size:
            yield from left
        else:
            removed += [RemovedPrompt(prompt.prompt, "set not whole", name) for prompt in left]

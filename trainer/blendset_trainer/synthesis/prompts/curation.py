# SPDX-License-Identifier: Apache-2.0
"""Which prompts are worth an image: rules as TOML, and filters that keep the order and give each removal a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, option, read_toml, structure
from blendset_trainer.synthesis.prompts.near_duplicates import NearDuplicates
from blendset_trainer.synthesis.prompts.ngrams import split_words
from blendset_trainer.synthesis.prompts.prompt_files import SET, Prompt
from blendset_trainer.synthesis.prompts.text_measures import MEASURES

PRESETS = Path(__file__).with_name("presets")
PATIENCE = 4
"""At most so many times the prompts that are asked for are written, because some are left out."""


@dataclass(frozen=True)
class RemovedPrompt:
    """A prompt that was left out. `reason` is one of few; `detail` names what decided."""

    prompt: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class MeasureBounds:
    """Keep the prompts whose measure lies within these bounds."""

    measure: str = option(REQUIRED, "what is measured", choices=tuple(MEASURES))
    at_least: float = option(0.0, "lowest share that passes", at_least=0, at_most=1)
    at_most: float = option(1.0, "highest share that passes", at_least=0, at_most=1)


@dataclass(frozen=True)
class Curation:
    """The rules that a prompt must meet, besides that it is not empty."""

    duplicates: float | None = option(
        None,
        "of prompts for one label that share this much of their trigrams, keep the first",
        at_least=0.01,
        at_most=1,
    )
    flagged_words: tuple[str, ...] = option((), "prompts with one of these words go")
    keep: tuple[MeasureBounds, ...] = ()


def list_curations() -> list[str]:
    """The names of the rules that come with Blendset."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_curation(name: str) -> Curation:
    """Load rules by name: one of `list_curations`, a TOML file, or "none"; BlendsetError says what is wrong with it."""
    if name == "none":
        return Curation()
    if not name.endswith(".toml") and name not in list_curations():
        known = ", ".join([*list_curations(), "none"])
        raise BlendsetError(f"There is no curation '{name}'; choose {known}, or the path of a .toml file.")
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    return structure(Curation, read_toml(path), str(path))


def curate_prompts(prompts: Iterable[Prompt], curation: Curation, removed: list[RemovedPrompt]) -> Iterator[Prompt]:
    """The prompts that meet the rules, in their order; the others are appended to `removed`."""
    by_label: dict[str, NearDuplicates] = {}
    flagged = {word.casefold() for word in curation.flagged_words}
    for prompt in prompts:
        reason, detail = _find_reason(prompt.prompt, curation, flagged)
        if not reason and curation.duplicates is not None:
            duplicate = by_label.setdefault(prompt.label, NearDuplicates(curation.duplicates)).find(prompt.prompt)
            reason, detail = ("duplicate", duplicate) if duplicate else ("", "")
        if reason:
            removed.append(RemovedPrompt(prompt.prompt, reason, detail))
        else:
            yield prompt


def _find_reason(text: str, curation: Curation, flagged: set[str]) -> tuple[str, str]:
    """The reason to leave a prompt out, and its detail; empty where there is none."""
    words = split_words(text)
    if not words:
        return "empty", ""
    for bounds in curation.keep:
        share = MEASURES[bounds.measure](text)
        if not bounds.at_least <= share <= bounds.at_most:
            return bounds.measure, f"{share:.3g}"
    found = sorted(flagged & set(words))
    return ("flagged word", found[0]) if found else ("", "")


def keep_complete_sets(prompts: Iterable[Prompt], size: int, removed: list[RemovedPrompt]) -> Iterator[Prompt]:
    """The prompts of the sets that still have all `size` of theirs; the others are appended to `removed`."""
    for name, members in groupby(prompts, key=lambda prompt: prompt.parts[SET]):
        left = list(members)
        if len(left) == size:
            yield from left
        else:
            removed += [RemovedPrompt(prompt.prompt, "set not whole", name) for prompt in left]

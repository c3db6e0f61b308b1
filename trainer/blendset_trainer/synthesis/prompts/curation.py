# SPDX-License-Identifier: Apache-2.0
"""Which prompts are worth a picture: rules as TOML, and filters that keep the order and give each removal a reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, option, read_toml, structure
from blendset_trainer.synthesis.prompts.duplicates import NearDuplicates
from blendset_trainer.synthesis.prompts.files import SET, Prompt
from blendset_trainer.synthesis.prompts.measures import MEASURES
from blendset_trainer.synthesis.prompts.ngrams import words_of

PRESETS = Path(__file__).with_name("presets")
PATIENCE = 4
"""So many times as many prompts as are wanted are written at most, for some to be left out."""


@dataclass(frozen=True)
class Removed:
    """A prompt that was left out; `reason` is one of few, `detail` names what decided."""

    prompt: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Bounds:
    """Keep the prompts whose measure lies within these bounds."""

    measure: str = option(REQUIRED, "what is measured", choices=tuple(MEASURES))
    at_least: float = option(0.0, "lowest share that passes", at_least=0, at_most=1)
    at_most: float = option(1.0, "highest share that passes", at_least=0, at_most=1)


@dataclass(frozen=True)
class Curation:
    """What a prompt must be to be kept, besides not empty."""

    duplicates: float | None = option(
        None,
        "of prompts for one label that share this much of their trigrams, keep the first",
        at_least=0.01,
        at_most=1,
    )
    flagged_words: tuple[str, ...] = option((), "prompts with one of these words go")
    keep: tuple[Bounds, ...] = ()


def curation_names() -> list[str]:
    """The rules that come with Blendset."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_curation(name: str) -> Curation:
    """One of `curation_names`, a TOML file, or "none"; BlendsetError says what is wrong with it."""
    if name == "none":
        return Curation()
    if not name.endswith(".toml") and name not in curation_names():
        known = ", ".join([*curation_names(), "none"])
        raise BlendsetError(f"There is no curation '{name}'; choose {known}, or the path of a .toml file.")
    path = Path(name) if name.endswith(".toml") else PRESETS / f"{name}.toml"
    return structure(Curation, read_toml(path), str(path))


def curated(prompts: Iterable[Prompt], curation: Curation, removed: list[Removed]) -> Iterator[Prompt]:
    """The prompts that pass, in their order; the others are appended to `removed` as they are met."""
    seen: dict[str, NearDuplicates] = {}
    flagged = {word.casefold() for word in curation.flagged_words}
    for each in prompts:
        reason, detail = _fault(each.prompt, curation, flagged)
        if not reason and curation.duplicates is not None:
            like = seen.setdefault(each.label, NearDuplicates(curation.duplicates)).of(each.prompt)
            reason, detail = ("duplicate", like) if like else ("", "")
        if reason:
            removed.append(Removed(each.prompt, reason, detail))
        else:
            yield each


def _fault(text: str, curation: Curation, flagged: set[str]) -> tuple[str, str]:
    words = words_of(text)
    if not words:
        return "empty", ""
    for bounds in curation.keep:
        share = MEASURES[bounds.measure](text)
        if not bounds.at_least <= share <= bounds.at_most:
            return bounds.measure, f"{share:.3g}"
    said = sorted(flagged & set(words))
    return ("flagged word", said[0]) if said else ("", "")


def whole_sets(prompts: Iterable[Prompt], size: int, removed: list[Removed]) -> Iterator[Prompt]:
    """The sets of which all prompts are left."""
    for name, members in groupby(prompts, key=lambda each: each.parts[SET]):
        left = list(members)
        if len(left) == size:
            yield from left
        else:
            removed += [Removed(each.prompt, "set not whole", name) for each in left]

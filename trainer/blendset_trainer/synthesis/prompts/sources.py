# SPDX-License-Identifier: Apache-2.0
"""What prompts are written about: subjects, of a dataset or by name, and the captions of its views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import read_text_file
from blendset_trainer.language.lexicon import extract_noun
from blendset_trainer.selection.files import read_chosen
from blendset_trainer.stages.caption_forms import SHORT
from blendset_trainer.stages.tables import read_captions, read_index
from blendset_trainer.synthesis.prompts.prompt_files import CAPTIONS, TEXT_TO_IMAGE, VIEW, Prompt
from blendset_trainer.synthetic_views import SYNTHETIC

SYNCD_ANIMALS = tuple(
    "hamster rabbit fox parrot bird squirrel cat dog alpaca mouse frog bear woodpecker duck fish monkey".split()
)
"""The subjects of SynCD's deformable sets (arXiv 2502.01720)."""


@dataclass(frozen=True)
class PromptSubject:
    """All subjects with one label: the label's noun phrase, and a caption of one of their views or ""."""

    label: str
    noun: str
    caption: str = ""


def load_subjects(dataset: Dataset, selection: str = "") -> list[PromptSubject]:
    """The subjects of all views, or of a selection's, sorted by label. BlendsetError where no label has a noun."""
    subjects: dict[str, PromptSubject] = {}
    for row in _read_views(dataset, selection):
        label = row["subject_label"] or ""
        if (noun := extract_noun(label)) and not (label in subjects and subjects[label].caption):
            subjects[label] = PromptSubject(label, noun, row["caption"] or "")
    if not subjects:
        raise BlendsetError(
            f"{dataset.root} has no subject with a label that can be named; set blendset_label in Blender and render "
            f"again, or ask for --kind {TEXT_TO_IMAGE}."
        )
    return [subjects[label] for label in sorted(subjects)]


def read_subjects(path: Path | None) -> list[PromptSubject]:
    """The subjects that a file names, a line each, once each, or SynCD's animals; BlendsetError for a file without."""
    if path is None:
        return [PromptSubject(animal, animal) for animal in SYNCD_ANIMALS]
    lines = read_text_file(path, cure="give a file with a subject to a line").split("\n")
    names = dict.fromkeys(" ".join(line.split()) for line in lines if line.strip())
    if not names:
        raise BlendsetError(f"{path} names no subject; give a file with a subject to a line.")
    return [PromptSubject(name, name) for name in names]


def load_caption_prompts(dataset: Dataset, selection: str, seed: int) -> Iterator[Prompt]:
    """The views' captions as prompts, shuffled by the seed, so that the first few are of all scenes.

    Raises BlendsetError where no view has a caption.
    """
    rows = [row for row in _read_views(dataset, selection) if row["caption"]]
    if not rows:
        raise BlendsetError(f"{dataset.root} has no captions; run 'blendset caption' first.")
    Random(seed).shuffle(rows)
    for row in rows:
        yield Prompt(row["caption"], row["subject_label"] or "", TEXT_TO_IMAGE, {VIEW: row["view_id"]}, CAPTIONS, seed)


def _read_views(dataset: Dataset, selection: str) -> list[dict[str, Any]]:
    """Label and shortest caption of each view that is not synthesized; a short one fits most text encoders."""
    index = read_index(dataset)
    caption = pc.coalesce(read_captions(dataset, index, (SHORT,))[SHORT], index["caption"])
    table = index.select(["view_id", "subject_label", "source"]).append_column("caption", caption)
    table = table.filter(pc.not_equal(table["source"], SYNTHETIC))  # whose captions are prompts
    if selection:
        chosen = read_chosen(dataset, selection)["view_id"]
        table = table.filter(pc.is_in(table["view_id"], value_set=pa.array(chosen.to_pylist(), pa.string())))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows

# SPDX-License-Identifier: Apache-2.0
"""What a dataset gives to write prompts about: its labelled subjects, and the captions of its views."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.language.lexicon import extract_noun
from blendset_trainer.selection.files import read_chosen
from blendset_trainer.stages.caption_forms import SHORT
from blendset_trainer.stages.tables import read_captions, read_index
from blendset_trainer.synthesis.prompts.files import CAPTIONS, TEXT_TO_IMAGE, VIEW, Prompt
from blendset_trainer.synthetic_views import SYNTHETIC


@dataclass(frozen=True)
class Subject:
    """All subjects with one label: the noun phrase in it, and a caption of one of their views ("" without captions)."""

    label: str
    noun: str
    caption: str = ""


def subjects_of(dataset: Dataset, selection: str = "") -> list[Subject]:
    """The subjects by label, of all views or of those that a selection chose; BlendsetError where none can be named."""
    subjects: dict[str, Subject] = {}
    for row in _views(dataset, selection):
        label = row["subject_label"] or ""
        if (noun := extract_noun(label)) and not (label in subjects and subjects[label].caption):
            subjects[label] = Subject(label, noun, row["said"] or "")
    if not subjects:
        raise BlendsetError(
            f"{dataset.root} has no subject with a label that can be named; set blendset_label in Blender and render "
            f"again, or ask for --kind {TEXT_TO_IMAGE}."
        )
    return [subjects[label] for label in sorted(subjects)]


def caption_prompts(dataset: Dataset, selection: str, seed: int) -> Iterator[Prompt]:
    """The views' captions as prompts, in an order that the seed decides, so that the first few are of all scenes."""
    rows = [row for row in _views(dataset, selection) if row["said"]]
    if not rows:
        raise BlendsetError(f"{dataset.root} has no captions; run 'blendset caption' first.")
    Random(seed).shuffle(rows)
    for row in rows:
        yield Prompt(row["said"], row["subject_label"] or "", TEXT_TO_IMAGE, {VIEW: row["view_id"]}, CAPTIONS, seed)


def _views(dataset: Dataset, selection: str) -> list[dict[str, Any]]:
    """Label and shortest caption (`said`) of each view that is not synthesized.

    Short ones fit the text encoders of most generators.
    """
    index = read_index(dataset)
    said = pc.coalesce(read_captions(dataset, index, (SHORT,))[SHORT], index["caption"])
    table = index.select(["view_id", "subject_label", "source"]).append_column("said", said)
    table = table.filter(pc.not_equal(table["source"], SYNTHETIC))  # else it would write of its own pictures
    if selection:
        chosen = read_chosen(dataset, selection)["view_id"]
        table = table.filter(pc.is_in(table["view_id"], value_set=pa.array(chosen.to_pylist(), pa.string())))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows

# SPDX-License-Identifier: Apache-2.0
"""LLaVA: <split>.json with a conversation about each picture, <split>-view-sets.json with one about each view set, and
images/.

The formats: docs/Finetune_Custom_Data.md of github.com/haotian-liu/LLaVA; a list of pictures under "image", with as
many `<image>` in the first turn, as LLaVA-NeXT-Interleave and Bootstrap3D's MV-LLaVA (arXiv 2406.00093) read them.
Held-out views are the split `val`. LLaVA itself reads no lists: so view sets have files of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from blendset.files import sha256_bytes
from blendset.records import ViewRecord
from blendset_trainer.exporting.licences import describe_ownership
from blendset_trainer.exporting.source import NO_CAPTION, ExportSource, encode_json, group_by_view_set, write_file
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE, SHORT
from blendset_trainer.stages.tables import read_captions, read_index, read_last_score

IMAGE = "<image>"
QUESTIONS = {
    SHORT: (
        "Say in one short sentence what the picture shows.",
        "Caption this image in a few exact words.",
        "What is to be seen here? One sentence will do.",
        "Sum up the image briefly.",
        "Give the gist of this picture in a single sentence.",
        "Name the main things in the image and leave the rest out.",
        "Write a caption for this picture, no longer than it has to be.",
        "Tell me concisely what is in the image.",
    ),
    DENSE: (
        "Describe everything that can be seen in this picture.",
        "Write a full description of the image: what is there, where, and what it looks like.",
        "What does the picture show? Go into colours, materials and places.",
        "Describe the image so that somebody could paint it from your words.",
    ),
}
"""By form of caption, the questions that it answers; the id of a view chooses one."""
SET_QUESTIONS = {
    DENSE: "These pictures show one subject from several sides. Describe it as a whole.",
    SHORT: "Say in one sentence what the subject of these pictures is.",
}
QUALITY, QUALITIES = "quality", ("poor", "relatively poor", "borderline", "relatively good", "good")
"""The second are MV-LLaVA's words for the scores 1 to 5."""
QUALITY_QUESTION = (
    "How clear are these pictures, and how well do they agree? "
    "Answer poor, relatively poor, borderline, relatively good or good."
)
_SCORES = {str(score) for score in range(1, len(QUALITIES) + 1)}


@dataclass(frozen=True)
class _Entry:
    """A conversation about pictures: questions with their answers."""

    id: str
    views: Sequence[ViewRecord]
    turns: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class _Texts:
    """Captions of single views and of whole sets by form, and the quality of sets as words, each by view id."""

    of_views: Mapping[str, Mapping[str, str]]
    of_sets: Mapping[str, Mapping[str, str]]
    qualities: Mapping[str, str]


def export(source: ExportSource, out: Path) -> int:
    """Write pictures and conversations; return the number of views that stand in one. Views without words are left out.

    A picture has a conversation for its short and one for its dense caption, of one turn each, as LLaVA's first stage
    wants them. A set has one for all that `blendset caption --view-sets` and the scorer `vlm-quality` say of it.
    """
    texts = _read_texts(source)
    written: set[str] = set()
    for split, views in source.group_by_split("train", "val").items():
        singles = [entry for view in views for entry in _describe_view(view, texts)]
        sets = [
            entry for name, group in group_by_view_set(views).items() for entry in _describe_set(name, group, texts)
        ]
        names = _write_pictures(source, [*singles, *sets], out / "images")
        for suffix, entries in (("", singles), ("-view-sets", sets)):
            if entries:
                document = [_format_entry(source, entry, names) for entry in entries]
                write_file(out / f"{split}{suffix}.json", encode_json(document))
        written |= names.keys()
    return len(source.select(lambda view: view.view_id in written, NO_CAPTION).views)


# ---- what is known of the views --------------------------------------------------------------------------------------


def _read_texts(source: ExportSource) -> _Texts:
    """Read the captions of both kinds. The caption in metadata.jsonl is the dense one of a view that has no other."""
    index = read_index(source.dataset)
    of_views, of_sets = (
        {form: _key_by_view(index, column) for form, column in found.items()}
        for found in (
            read_captions(source.dataset, index, CAPTION_FORMS, of_sets=False),
            read_captions(source.dataset, index, (*CAPTION_FORMS, QUALITY), of_sets=True),
        )
    )
    described = {view_id for texts in (*of_views.values(), *of_sets.values()) for view_id in texts}
    of_views[DENSE] |= {view_id: text for view_id, text in source.captions.items() if view_id not in described}
    scores = of_sets.pop(QUALITY)
    if judged := read_last_score(source.dataset, index, "vlm-quality-", "score"):
        scores |= _key_by_view(index, judged[1])
    words = {view_id: QUALITIES[int(score) - 1] for view_id, score in scores.items() if score in _SCORES}
    return _Texts(of_views, of_sets, words)


def _key_by_view(index: pa.Table, column: pa.ChunkedArray) -> dict[str, str]:
    """The texts of a column by view id, without the empty ones."""
    pairs = zip(index["view_id"].to_pylist(), column.to_pylist(), strict=True)
    return {view_id: str(value) for view_id, value in pairs if value}


def _describe_view(view: ViewRecord, texts: _Texts) -> Iterator[_Entry]:
    """A conversation for each form of a view's caption; one where both say the same.

    What a captioner of sets says of a view that is in no set is the view's own.
    """
    found: dict[str, str] = {}
    for form in (DENSE, SHORT):  # what is said first counts most to readers of captions
        alone = texts.of_sets[form].get(view.view_id) if not view.view_set else None
        if caption := texts.of_views[form].get(view.view_id) or alone:
            found.setdefault(caption, form)
    for caption, form in found.items():
        yield _Entry(f"{view.view_id}-{form}", [view], [(_choose_question(view, form), caption)])


def _choose_question(view: ViewRecord, form: str) -> str:
    number = int(sha256_bytes(f"{view.view_id} {form}".encode())[:8], 16)
    return QUESTIONS[form][number % len(QUESTIONS[form])]


def _describe_set(name: str, views: Sequence[ViewRecord], texts: _Texts) -> Iterator[_Entry]:
    """The conversation about a set, of as many turns as there are texts; none without any."""
    turns = []
    for form, question in SET_QUESTIONS.items():
        captions = (texts.of_sets[form].get(view.view_id) for view in views)
        if caption := next(filter(None, captions), None):
            turns.append((question, caption))
    words = (texts.qualities.get(view.view_id) for view in views)
    if word := next(filter(None, words), None):
        turns.append((QUALITY_QUESTION, word))
    if turns:
        yield _Entry(name, views, turns)


# ---- files -----------------------------------------------------------------------------------------------------------


def _write_pictures(source: ExportSource, entries: Sequence[_Entry], folder: Path) -> dict[str, str]:
    """Write the pictures of conversations; return their names by view id."""
    names = {}
    for view in {view.view_id: view for entry in entries for view in entry.views}.values():
        names[view.view_id], picture = source.read_upright(view)
        write_file(folder / names[view.view_id], picture)
    return names


def _format_entry(source: ExportSource, entry: _Entry, names: Mapping[str, str]) -> dict[str, Any]:
    """A record of LLaVA; the pictures stand before the first question, one `<image>` for each.

    Beyond LLaVA, one about an adopted picture says whose it is.
    """
    images = [f"images/{names[view.view_id]}" for view in entry.views]
    conversation = []
    for number, (question, answer) in enumerate(entry.turns):
        before = f"{IMAGE * len(images)}\n" if number == 0 else ""
        conversation += [{"from": "human", "value": before + question}, {"from": "gpt", "value": answer}]
    ownership = describe_ownership(source, entry.views[0]) if entry.views[0].view_id in source.adoptions else {}
    known = {name: value for name, value in ownership.items() if value}
    return {"id": entry.id, "image": images[0] if len(images) == 1 else images, "conversations": conversation, **known}

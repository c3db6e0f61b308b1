# SPDX-License-Identifier: Apache-2.0
"""Whether a captioner says the same words of everything, as one does that is not shown the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from blendset.naming import name_view_set
from blendset.records import ViewRecord
from blendset_trainer.models.chat.chat_model import ReplyError
from blendset_trainer.stages.caption_forms import DENSE

MIN_PICTURES, MIN_THINGS = 12, 3
"""Words that are said of so many pictures, and of most of all, are remarkable; of so many things too, no caption."""
SHOWN_LETTERS = 60

Row = Mapping[str, Any] | ReplyError


def review_repeats(records: Sequence[ViewRecord], rows: Sequence[Mapping[str, Any]], notes: list[str]) -> list[Row]:
    """Return the rows of views, and a ReplyError in place of those whose words are said of most pictures.

    The pictures of a view set, which are captioned together, count once. Words that are said of most pictures of one
    thing may be right: they stay, and a sentence is added to `notes`.
    """
    pictures = [name_view_set(record.scene, record.view_set, record.view_id) for record in records]
    numbers_of: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        numbers_of.setdefault((row[DENSE] or "").casefold(), []).append(number)
    reviewed: list[Row] = list(rows)
    for words, numbers in numbers_of.items():
        count, total = len({pictures[number] for number in numbers}), len(set(pictures))
        if not words or count < MIN_PICTURES or 2 * count <= total:
            continue
        quoted = rows[numbers[0]][DENSE][:SHOWN_LETTERS]
        if len({_name_thing(records[number]) for number in numbers}) < MIN_THINGS:
            notes.append(f"{count} of {total} pictures got the same words ('{quoted}'); look whether they are right.")
            continue
        error = ReplyError(
            f"The model says the same of {count} different pictures ('{quoted}'); look whether it is shown them."
        )
        for number in numbers:
            reviewed[number] = error
    return reviewed


def _name_thing(record: ViewRecord) -> str:
    """What a view shows, so that copies of one thing are the same."""
    return record.subject_label or record.subject or record.scene

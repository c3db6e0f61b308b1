# SPDX-License-Identifier: Apache-2.0
"""What a source says of a picture: captions, licence, origin and creator, under the names that others give them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import describe_value
from blendset_trainer.adoption.pictures import PictureContent, SourceInstance
from blendset_trainer.readers.tables import CAPTION_COLUMNS
from blendset_trainer.stages.caption_forms import DENSE

CAPTION_KEYS = (*CAPTION_COLUMNS, "captions", "prompt", "txt")
LICENCE_KEYS = ("licence", "license")
ORIGIN_KEYS = ("url", "coco_url", "flickr_url", "source_url", "image_url", "origin")
CREATOR_KEYS = ("creator", "author", "artist", "photographer")
"""What others call these. The first that says something counts."""


@dataclass(frozen=True)
class Words:
    """What is said of a picture: its captions, each once, the first of which counts most; "" where nothing is said."""

    captions: tuple[str, ...] = ()
    licence: str = ""
    origin: str = ""
    creator: str = ""
    notes: tuple[str, ...] = ()


def collect_words(record: Mapping[str, Any]) -> Words:
    """Return what a record in plain data says of its picture; a caption may be a text or a list of texts."""
    value = _find(record, CAPTION_KEYS)
    captions, notes = sort_captions(value if isinstance(value, list) else [value])
    fields = {"licence": LICENCE_KEYS, "origin": ORIGIN_KEYS, "creator": CREATOR_KEYS}
    return Words(captions, notes=notes, **{name: read_text(_find(record, keys)) for name, keys in fields.items()})


def _find(record: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """The first value that is there under any of these keys; None where none is."""
    return next((value for key in keys if (value := record.get(key)) not in (None, "", [])), None)


def read_text(value: object) -> str:
    """Return a text without spaces around it; "" for what is no text that can be written."""
    return value.strip() if isinstance(value, str) and not find_text_fault(value) else ""


def sort_captions(values: Iterable[object]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the captions among some values, each once, and notes about the values that are none; None is nothing."""
    captions, notes = dict[str, None](), dict[str, None]()
    for value in values:
        fault = find_text_fault(value)
        if value is not None and fault:
            notes[f"a caption {fault} and is left out"] = None
        elif text := read_text(value):
            captions[text] = None
    return tuple(captions), tuple(notes)


def find_text_fault(value: object) -> str:
    """Return why a value is no text that can be written, as the end of a sentence; "" where it is one."""
    if not isinstance(value, str):
        return f"is {describe_value(value)}, which is no text,"
    if "\0" in value:
        return "holds a null byte"
    try:
        value.encode()
    except UnicodeEncodeError:
        return "holds half of a surrogate pair"
    return ""


def build_content(
    data: bytes,
    words: Words,
    path: Path | None = None,
    form: str = DENSE,
    instances: tuple[SourceInstance, ...] = (),
) -> PictureContent:
    """Return a picture with what is said of it; its first caption has this form, the others are variants."""
    first, variants = words.captions[:1], words.captions[1:]
    return PictureContent(
        data=data,
        path=path,
        captions=dict.fromkeys([form], first[0]) if first else {},
        variants=variants,
        licence=words.licence,
        origin=words.origin,
        creator=words.creator,
        instances=instances,
        notes=words.notes,
    )

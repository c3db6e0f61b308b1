# SPDX-License-Identifier: Apache-2.0
"""LLaVA's JSON: a list of entries, each with an image and a conversation about it.

The format: https://github.com/haotian-liu/LLaVA/blob/main/docs/Finetune_Custom_Data.md. What the model should answer
first is the caption.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError, SettingsError
from blendset_trainer.adoption.layouts.json_items import Extent, read_head, read_item, scan_json
from blendset_trainer.adoption.layouts.local_files import find_picture, find_source, has_picture, stamp_picture
from blendset_trainer.adoption.layouts.tally import Tally
from blendset_trainer.adoption.layouts.words import Words, build_content, collect_words, sort_captions
from blendset_trainer.adoption.pictures import PictureContent, SourcePicture
from blendset_trainer.readers.images import read_image_bytes

ENDINGS = (".json", ".jsonl")
IMAGES = "images"
"""The folder beside the JSON in which pictures are looked for, too."""
MODEL_ROLES = ("gpt", "assistant")
"""Who speaks in a conversation when the model does."""
IMAGE_TOKEN = "<image>"
_Entry = tuple[Path, Extent]
"""Where an entry is: a document, and the place in it."""
_HEAD = re.compile(rb'\s*[\[{].*"conversations"\s*:', re.DOTALL)


def is_document(path: Path) -> bool:
    """Return whether a file looks like LLaVA's JSON at its beginning."""
    return path.suffix.lower() in ENDINGS and bool(_HEAD.match(read_head(path)))


def open_source(source: str) -> LlavaSource:
    """Return the pictures of a JSON file, or of all in a folder; SettingsError where there are none."""
    path = find_source(source)
    documents = sorted(filter(is_document, path.iterdir())) if path.is_dir() else [path]
    if not documents or not all(document.is_file() for document in documents):
        raise SettingsError(f"{path} holds no JSON of LLaVA; give a .json or .jsonl whose entries have conversations.")
    return LlavaSource(path, documents)


class LlavaSource:
    """The pictures that the entries of some JSON files are about."""

    licence = ""
    is_picklable = True

    def __init__(self, path: Path, documents: list[Path]) -> None:
        self.title = path.absolute().name if path.is_dir() else path.stem
        self.documents = documents
        self.tally = Tally()

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about entries that are not used."""
        return self.tally.format_sentences()

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield each picture once, with all entries about it, in the order in which they are named first."""
        self.tally = Tally()
        entries: dict[str, list[_Entry]] = {}
        for document in self.documents:
            self._find_entries(document, entries)
        folders = _list_folders(self.documents[0])  # in which the others lie, too
        if not any(has_picture(folders, name) for name in entries):
            here = " or ".join(map(str, folders))
            raise BlendsetError(f"None of the pictures that {self.documents[0]} names is here; put them into {here}.")
        for name, found in entries.items():
            stamp, read = stamp_picture(folders, name), partial(_read, folders, name, found)
            checksum = zlib.crc32(repr([extent.checksum for _, extent in found]).encode())
            yield SourcePicture(name, f"{stamp} {checksum:08x}", read)

    def _find_entries(self, document: Path, entries: dict[str, list[_Entry]]) -> None:
        """Add a document's entries to those about each picture; one about several pictures is added to none."""
        for number, (_, entry, extent) in enumerate(scan_json(document), 1):
            image = entry.get("image") if isinstance(entry, Mapping) else None
            names = [name for name in (image if isinstance(image, list) else [image]) if name]
            if not names or not all(isinstance(name, str) for name in names):
                self.tally.add("entries that name no image", f"{document.name}, entry {number}")
                continue
            for name in names:
                entries.setdefault(name, []).extend([(document, extent)] * (len(names) == 1))
            if len(names) > 1:
                self.tally.add(
                    "entries about several images together, whose words belong to none of them and are left out",
                    f"{document.name}, entry {number}",
                )


def _list_folders(document: Path) -> tuple[Path, ...]:
    return document.parent, document.parent / IMAGES


def _read(folders: tuple[Path, ...], name: str, found: list[_Entry]) -> PictureContent:
    path = find_picture(folders, name)
    data = read_image_bytes(path, "put it there, or take its entry out of the JSON")
    entries = [read_item(document, extent) for document, extent in found]
    captions, notes = sort_captions(answer for entry in entries for answer in _list_answers(entry))
    words = collect_words(entries[0]) if entries else Words()
    return build_content(data, replace(words, captions=captions, notes=notes), path)


def _list_answers(entry: Mapping[str, Any]) -> Iterator[object]:
    """What the model says in an entry's conversation, in order."""
    turns = entry.get("conversations")
    for turn in turns if isinstance(turns, list) else []:
        if isinstance(turn, Mapping) and turn.get("from") in MODEL_ROLES:
            value = turn.get("value")
            yield value.replace(IMAGE_TOKEN, "") if isinstance(value, str) else value

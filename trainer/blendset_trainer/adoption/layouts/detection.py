# SPDX-License-Identifier: Apache-2.0
"""Which layout a source is in: the one that was named, or the one that its files look like."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import cast

from blendset.dataset import CACHE
from blendset.errors import SettingsError
from blendset.files import explain_read_errors
from blendset.options import find_nearest
from blendset_trainer.adoption.layouts import coco, llava, samples
from blendset_trainer.adoption.layouts.huggingface_files import HUB_NAME, is_row_file, is_saved
from blendset_trainer.adoption.layouts.local_files import find_source, is_there
from blendset_trainer.adoption.layouts.webdataset import is_shard
from blendset_trainer.adoption.pictures import PictureSource
from blendset_trainer.api.registry import Registry
from blendset_trainer.readers.images import list_image_suffixes
from blendset_trainer.readers.tables import TABLES

_ROOM = "blendset_trainer.adoption.layouts"
LAYOUTS = Registry(
    "layout",
    {
        "folder": f"{_ROOM}.folder:open_source",
        "huggingface": f"{_ROOM}.huggingface:open_source",
        "webdataset": f"{_ROOM}.webdataset:open_source",
        "coco": f"{_ROOM}.coco:open_source",
        "llava": f"{_ROOM}.llava:open_source",
        "samples": f"{_ROOM}.samples:open_source",
    },
    "blendset.layouts",
)
"""By name: a function that takes the source as the user wrote it and returns a PictureSource."""

_MOST_OPENED, _MOST_LISTED = 50, 100_000
_SOUGHT = "pictures, .tar shards, .parquet or .arrow files, what save_to_disk made, or JSON of COCO or LLaVA"


def find_layout(source: str, layout: str = "") -> PictureSource:
    """Return the pictures of a source in this layout, or in the one that the source is found to be in.

    Raises SettingsError for an unknown layout and for a source that is in none; BlendsetError for one that cannot be
    read.
    """
    if layout and layout not in LAYOUTS:
        near = find_nearest(layout, list(LAYOUTS))
        cure = f"did you mean {near}?" if near else f"choose from {LAYOUTS.format_choices()}."
        raise SettingsError(f"There is no layout '{layout}'; {cure}")
    return cast(PictureSource, LAYOUTS.make(layout or detect_layout(source), source))


def detect_layout(source: str) -> str:
    """Return the name of the layout that a source is in; SettingsError for none."""
    place = source.rpartition("#")[0]
    if not is_there(source) and not is_there(place) and HUB_NAME.fullmatch(source):
        return "huggingface"
    path = Path(place) if is_there(place) and not is_there(source) else find_source(source)
    found = _detect_folder(path) if path.is_dir() else _detect_file(path)
    if not found:
        raise SettingsError(f"{path} is in no layout that is known; it should hold {_SOUGHT}.")
    return found


def _detect_file(path: Path) -> str:
    if path.name in TABLES:
        raise SettingsError(f"{path} is a table of captions; give the folder that it is in, {path.parent}.")
    if samples.is_record(path):
        return "samples"
    return next((layout for layout, files in _sort([path]) if files and layout != "folder"), "")


def _detect_folder(folder: Path) -> str:
    files = list(islice(_list_files(folder), _MOST_LISTED))
    if (folder / "dataset.json").is_file() and (folder / "scenes").is_dir():
        raise SettingsError(f"{folder} is a dataset of Blendset; name it as it is, for there is nothing to adopt.")
    if samples.is_record(folder / samples.RECORD):
        return "samples"
    found = next((layout for layout, signs in _sort(files) if signs), "")
    return found or ("folder" if any(_is_picture(path) for path in folder.rglob("*")) else "")


def _list_files(folder: Path) -> Iterator[Path]:
    """The files of a folder, then those of the folders in it, but for what a training keeps there."""
    with explain_read_errors(folder, "open it to yourself, or choose another"):
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    yield from (Path(entry) for entry in entries if _is(entry.is_file))
    for below in entries:
        if below.name != CACHE and _is(below.is_dir):
            with suppress(OSError):  # a closed folder is told by who reads the pictures
                yield from [Path(entry) for entry in os.scandir(below) if _is(entry.is_file)]


def _is(question: Callable[[], bool]) -> bool:
    """The answer to a question about a directory's entry; no where links lead to one another."""
    with suppress(OSError):
        return question()
    return False


def _sort(files: Sequence[Path]) -> Iterator[tuple[str, bool]]:
    """Each layout, in the order in which they are looked for, and whether some of the files are signs of it."""
    documents = sorted(_select(files, ".json", ".jsonl"), key=lambda path: (path.parent.name != "annotations", path))
    tables = {path.name for path in files} & set(TABLES)
    yield "huggingface", is_saved({path.name for path in files})
    yield "webdataset", any(map(is_shard, files))
    yield "folder", bool(tables)
    yield "coco", any(map(coco.is_document, documents[:_MOST_OPENED]))
    yield "llava", any(map(llava.is_document, documents[:_MOST_OPENED]))
    yield "huggingface", any(map(is_row_file, files))
    yield "folder", any(map(_is_picture, files))


def _select(files: Iterable[Path], *endings: str) -> list[Path]:
    return [path for path in files if path.suffix.lower() in endings]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in list_image_suffixes()

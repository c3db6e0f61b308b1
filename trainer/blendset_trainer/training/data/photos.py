# SPDX-License-Identifier: Apache-2.0
"""A folder of captioned photos as rows to train on: a .txt beside each, or a metadata.jsonl of file_name and text.

A photo is decoded when it is first listed, so that a damaged one is known before the first step; what is known of a
sound one is cached for as long as its file does not change.
"""

from __future__ import annotations

import io
import os
import stat
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.dataset import CACHE
from blendset.errors import BlendsetError
from blendset.files import atomic_write, sha256_bytes
from blendset_trainer.readers.findings import Finding, make_findings
from blendset_trainer.readers.images import READER_VERSION, decode_image, read_image_bytes
from blendset_trainer.readers.photo_files import PhotoFiles, list_photo_files
from blendset_trainer.selection.files import HELD_OUT
from blendset_trainer.training.data.views import ROWS, SourceRows

MEMORY_FILE = "photos.parquet"
"""In the cache of the folder: what is known of its photos."""
MAX_THREADS = 8
INSPECTED_SIDE = 64
"""Pixels of a side to which photos are decoded to see whether they are sound, where their format has a fast way."""
_READER = b"reader"
"""The key of the memory file's metadata that says which version of the reader looked at the photos."""

FileStamp = tuple[str, int, int]
"""A photo's relative path, size and time of change in nanoseconds."""


@dataclass(frozen=True)
class Photo:
    """What is known of a photo: its hash, its width and height in pixels when upright, what the reader noted.

    `fault` says why a photo cannot be trained on; such a one has no hash and no size.
    """

    sha256: str = ""
    width: int = 0
    height: int = 0
    notes: str = ""
    fault: str = ""


def load_photos(folder: Path, memory: Path | None = None) -> SourceRows:
    """The photos of a folder and of those below it; a folder called held-out holds samples that are held out.

    `memory` is the folder in which what is known of them is cached, else the folder itself. Raises BlendsetError where
    there is no photo, and for a table that cannot be read.
    """
    if not folder.is_dir():
        raise BlendsetError(f"{folder} is no folder; give one that holds photos.")
    if (folder / "dataset.json").is_file():
        raise BlendsetError(f"{folder} is a dataset of Blendset; write 'dataset' instead of 'folder'.")
    files = list_photo_files(folder)
    if not files.captions:
        raise _no_photos_error(folder, files)
    photos = _inspect_photos(folder, (memory or folder) / CACHE / MEMORY_FILE, list(files.captions))
    rows = [
        {"id": name, "picture": name, "sha256": photo.sha256, "width": photo.width, "height": photo.height,
         "dense": files.captions[name] or None, "weight": 1.0, "lowest": -float("inf"), "highest": float("inf"),
         "held_out": HELD_OUT in PurePosixPath(name).parts[:-1]}
        for name, photo in photos.items()
    ]  # fmt: skip
    found = (*_find_faults(photos), *files.findings, *_find_notes(photos), *_find_copies(photos))
    return SourceRows(pa.Table.from_pylist(rows, ROWS), found, files.caption_findings)


def _no_photos_error(folder: Path, files: PhotoFiles) -> BlendsetError:
    found = f" ({'; '.join(map(str, files.findings))})" if files.findings else ""
    return BlendsetError(
        f"{folder} holds no photos{found}; choose a folder with pictures, such as .jpg, .png or .webp."
    )


def _find_faults(photos: Mapping[str, Photo]) -> tuple[Finding, ...]:
    return make_findings(
        "left out, damaged", [f"{name} {photo.fault}" for name, photo in photos.items() if photo.fault]
    )


def _find_notes(photos: Mapping[str, Photo]) -> list[Finding]:
    """What the reader noted, each with the photos that it noted it of."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, photo in photos.items():
        for note in filter(None, photo.notes.split("\n")):
            names[note].append(name)
    return [finding for note, noted in names.items() for finding in make_findings(note, noted)]


def _find_copies(photos: Mapping[str, Photo]) -> tuple[Finding, ...]:
    """The photos that are the same, byte for byte, as one before them."""
    first = {photo.sha256: name for name, photo in reversed(list(photos.items()))}
    copies = [name for name, photo in photos.items() if photo.sha256 and first[photo.sha256] != name]
    return make_findings("copies of another picture, which is seen more often so", copies)


def _inspect_photos(folder: Path, memory: Path, names: Sequence[str]) -> dict[str, Photo]:
    """What is known of each photo, from the cache where its file has not changed."""
    known = _read_memory(memory)
    stamps = [_stat_photo(folder, name) for name in names]
    fresh = [stamp for stamp in stamps if stamp not in known]
    with ThreadPoolExecutor(min(MAX_THREADS, os.cpu_count() or 1)) as readers:
        inspected = dict(zip(fresh, readers.map(lambda stamp: _inspect_photo(folder / stamp[0]), fresh), strict=True))
    now = {stamp: known.get(stamp) or inspected[stamp] for stamp in stamps}
    sound = {stamp: photo for stamp, photo in now.items() if not photo.fault}
    if sound.keys() != known.keys():
        with suppress(BlendsetError):  # photos on a disk that is read-only are read all the same
            _write_memory(memory, sound)
    return {stamp[0]: photo for stamp, photo in now.items()}


def _stat_photo(folder: Path, name: str) -> FileStamp:
    with suppress(OSError, ValueError):  # the second for a name that no system takes
        now = (folder / name).stat()
        if stat.S_ISREG(now.st_mode):
            return name, now.st_size, now.st_mtime_ns
    return name, -1, 0


def _inspect_photo(path: Path) -> Photo:
    if path.exists() and not path.is_file():
        return Photo(fault="is no file")
    try:
        data = read_image_bytes(path)
        decoded = decode_image(data, path, draft=INSPECTED_SIDE)
    except BlendsetError as error:
        return Photo(fault=str(error).removeprefix(f"{path} ").rpartition(";")[0])
    return Photo(sha256_bytes(data), *decoded.size, "\n".join(decoded.notes))


def _read_memory(path: Path) -> dict[FileStamp, Photo]:
    with suppress(OSError, pa.ArrowException, LookupError):
        table = pq.read_table(pa.BufferReader(path.read_bytes()))
        if table.schema.metadata[_READER] == str(READER_VERSION).encode():
            rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
            return {tuple(row[:3]): Photo(*row[3:]) for row in rows}
    return {}


def _write_memory(path: Path, photos: Mapping[FileStamp, Photo]) -> None:
    rows = [(*stamp, *astuple(photo)) for stamp, photo in photos.items()]
    names = ("name", "bytes", "changed_ns", *(field.name for field in fields(Photo)))
    columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]
    table = pa.table(columns, names=names).replace_schema_metadata({_READER: str(READER_VERSION)})
    data = io.BytesIO()
    pq.write_table(table, data)
    atomic_write(path, data.getvalue())

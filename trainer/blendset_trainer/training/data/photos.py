# SPDX-License-Identifier: Apache-2.0
"""A folder of captioned photos as rows to train on: a .txt beside each, or a metadata.jsonl of file_name and text.

A photo is read when it is first listed; its hash and size are then cached for as long as its file does not change.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import ExifTags, Image

from blendset.errors import BlendsetError
from blendset.files import atomic_write, sha256_bytes
from blendset_trainer.stages.tables import CACHE
from blendset_trainer.training.data.views import ROWS

SUFFIXES = frozenset((".avif", ".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
MEMORY_FILE = "photos.parquet"
"""In the cache of the folder: what is known of its photos."""
THREADS = 8

FileStamp = tuple[str, int, int]
"""A photo's relative path, size and time of change in nanoseconds."""
PhotoInfo = tuple[str, int, int]
"""A photo's SHA-256, and its width and height in pixels when upright; "", 0, 0 for what is no picture."""


def load_photo_rows(folder: Path) -> pa.Table:
    """The photos of a folder and those below it, in order of their paths, with the schema ROWS.

    A file that is no readable picture has the height 0. Raises BlendsetError where there is no photo.
    """
    if not folder.is_dir():
        raise BlendsetError(f"{folder} is no folder; give one that holds photos.")
    metadata = folder / "metadata.jsonl"
    texts = dict(_read_metadata(metadata)) if metadata.is_file() else dict(_read_text_files(folder))
    if not texts:
        raise BlendsetError(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))}); choose another folder.")
    photos = _inspect_photos(folder, sorted(texts))
    rows = [
        {"id": name, "picture": name, "sha256": sha256, "width": width, "height": height, "dense": texts[name] or None,
         "weight": 1.0, "lowest": -float("inf"), "highest": float("inf"), "held_out": False}
        for name, (sha256, width, height) in photos.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, ROWS)


def _read_metadata(path: Path) -> Iterator[tuple[str, str]]:
    """File names and captions from a metadata.jsonl, as `load_dataset("imagefolder")` reads it."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line) if line.strip() else None
            if row is not None:
                yield row["file_name"], (row["text"] or "").strip()
        except (ValueError, TypeError, LookupError, AttributeError) as error:
            raise BlendsetError(f"{path}, line {number}, has no file_name and text; mend or remove it.") from error


def _read_text_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Relative paths of the pictures, and the texts of the .txt files beside them."""
    for path in folder.rglob("*"):
        relative = path.relative_to(folder)
        hidden = relative.parts[0] == CACHE or any(part.startswith(".") for part in relative.parts)
        if path.suffix.lower() in SUFFIXES and not hidden:
            text = path.with_suffix(".txt")
            yield relative.as_posix(), text.read_text(encoding="utf-8-sig").strip() if text.is_file() else ""


def _inspect_photos(folder: Path, names: list[str]) -> dict[str, PhotoInfo]:
    """What is known of each photo, from the cache where its file has not changed."""
    memory = folder / CACHE / MEMORY_FILE
    known = _read_memory(memory)
    stamps = [_stat_photo(folder, name) for name in names]
    fresh = [stamp for stamp in stamps if stamp not in known]
    with ThreadPoolExecutor(THREADS) as readers:
        inspected = dict(zip(fresh, readers.map(lambda stamp: _inspect_photo(folder / stamp[0]), fresh), strict=True))
    now = {stamp: known.get(stamp) or inspected[stamp] for stamp in stamps}
    if now.keys() != known.keys():
        with suppress(BlendsetError):  # photos on a disk that is read-only are read all the same
            _write_memory(memory, now)
    return {stamp[0]: photo for stamp, photo in now.items()}


def _stat_photo(folder: Path, name: str) -> FileStamp:
    with suppress(OSError):
        now = (folder / name).stat()
        return name, now.st_size, now.st_mtime_ns
    return name, -1, 0


def _inspect_photo(path: Path) -> PhotoInfo:
    with suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            width, height = picture.size
            sideways = picture.getexif().get(ExifTags.Base.Orientation, 1) > 4
        return sha256_bytes(data), *((height, width) if sideways else (width, height))
    return "", 0, 0


def _read_memory(path: Path) -> dict[FileStamp, PhotoInfo]:
    with suppress(OSError, KeyError, pa.ArrowException):
        columns = [column.to_pylist() for column in pq.read_table(path, partitioning=None).columns]
        return {tuple(row[:3]): tuple(row[3:]) for row in zip(*columns, strict=True)}
    return {}


def _write_memory(path: Path, photos: Mapping[FileStamp, PhotoInfo]) -> None:
    rows = [(*stamp, *photo) for stamp, photo in photos.items()]
    names = ("name", "bytes", "changed_ns", "sha256", "width", "height")
    table = pa.table([list(column) for column in zip(*rows, strict=True)], names=names)
    data = io.BytesIO()
    pq.write_table(table, data)
    atomic_write(path, data.getvalue())

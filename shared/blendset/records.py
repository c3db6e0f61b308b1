# SPDX-License-Identifier: Apache-2.0
"""The records of a dataset: what each JSON file on disk holds, how it is written so that a crash cannot spoil it,
and which names are legal everywhere.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import re
import secrets
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from blendset.errors import BlendsetError, DiskError

FORMAT_VERSION = 1
TEMPORARY_FILES = ".*.tmp"
"""Glob of what an interrupted atomic_write leaves."""

Record = TypeVar("Record")
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class FileEntry:
    bytes: int
    sha256: str


@dataclass(frozen=True)
class VisibleObject:
    """An object in the picture: its id in passes.exr, its pixels, and their share of the picture."""

    id: int
    label: str
    pixels: int
    share: float


@dataclass(frozen=True)
class CameraRecord:
    """A pinhole camera: sizes and intrinsics in pixels, the pose as 16 numbers in rows (looks along -Z, +Y up)."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_from_camera: tuple[float, ...]
    focal_length_mm: float
    sensor_width_mm: float

    def __post_init__(self) -> None:
        if len(self.world_from_camera) != 16:
            raise ValueError("world_from_camera has 16 numbers")


@dataclass(frozen=True, kw_only=True)
class ViewRecord:
    """view.json. A view of the whole scene has an empty subject and None for the figures about one.

    `subject_objects` are the ids in passes.exr that make up the subject: its mask is where `id` is one of them.

    Two runs with one seed differ in `timings` only.
    """

    format_version: int = FORMAT_VERSION
    view_id: str
    run: str
    scene: str
    subject: str
    subject_label: str
    subject_objects: tuple[int, ...]
    view_set: str
    view_index: int
    source: str
    camera: CameraRecord
    azimuth_deg: float | None
    elevation_deg: float | None
    distance: float | None
    visible_fraction: float | None
    subject_share: float | None
    truncation: float | None
    visible_objects: tuple[VisibleObject, ...]
    exposure_ev: float
    samples: int
    seed: int
    lighting: str
    statistics: dict[str, float]
    failed_checks: tuple[str, ...]
    files: dict[str, FileEntry]
    timings: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SceneObjectRecord:
    """An object or instance; `id` is its value in passes.exr, bounds are in world space."""

    id: int
    name: str
    label: str
    collection: str
    materials: tuple[str, ...]
    bounds_min: Vector
    bounds_max: Vector
    structural: bool
    instance_of: str


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """scenes/<scene>.json."""

    format_version: int = FORMAT_VERSION
    scene: str
    blend_name: str
    blend_sha256: str
    blender_scene: str
    frame: int
    metres_per_unit: float
    objects: tuple[SceneObjectRecord, ...]
    missing_files: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DatasetRecord:
    """dataset.json. `view_blocks` spreads each scene's views over 256 folders, for more than 1,000 views a scene."""

    format: str = "blendset"
    version: int = FORMAT_VERSION
    name: str
    licence: str
    creator: str
    sources: tuple[str, ...]
    render_settings: dict[str, Any]
    view_blocks: bool = False


def _exactly(kind: type[Any]) -> Callable[[Any, Any], Any]:
    """Return a hook that refuses what cattrs would convert: a record never holds "3" for 3 or null for a name."""

    def check(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"expected {kind.__name__}, found {value!r}")
        return value

    return check


def _number(value: Any, _: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise TypeError(f"expected a number, found {value!r}")
    return float(value)


_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_structure_hook(float, _number)
for _kind in (bool, int, str):
    _converter.register_structure_hook(_kind, _exactly(_kind))


def as_plain(value: Any) -> Any:
    """Return a record (or anything that holds some) as the dicts, lists and numbers that JSON has."""
    return json.loads(canonical_json(value))


def canonical_json(value: Any) -> bytes:
    """Return the one UTF-8 spelling of a record; what Unicode cannot hold (a file name in bytes) becomes "?"."""
    text = json.dumps(_converter.unstructure(value), sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode("utf-8", errors="replace")


def write_json(path: Path, value: Any) -> None:
    """Write a record, or plain data, atomically."""
    atomic_write(path, canonical_json(value))


def _damaged(path: Path, reason: object) -> BlendsetError:
    return BlendsetError(
        f"{path} is damaged ({reason}); restore it or delete it, then run the command that wrote it again."
    )


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; BlendsetError where it is missing or no JSON."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise BlendsetError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    except ValueError as error:
        raise _damaged(path, error) from error


def read_record(path: Path, kind: type[Record]) -> Record:
    """Return the record in a JSON file; BlendsetError where it is missing, damaged or of another format version."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise _damaged(path, "it holds no record")
    version = value.get("format_version", value.get("version", FORMAT_VERSION))
    if version != FORMAT_VERSION:
        raise BlendsetError(
            f"{path} has format version {version} and not {FORMAT_VERSION}; use the Blendset that wrote it."
        )
    try:
        return _converter.structure(value, kind)
    except cattrs.BaseValidationError as error:
        raise _damaged(path, cattrs.transform_error(error)[0]) from error


def sha256_bytes(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


CURES = {
    errno.ENOSPC: "free space on the disk and run the command again: finished views are kept",
    errno.EDQUOT: "free space in your quota and run the command again: finished views are kept",
    errno.EFBIG: "raise the limit on file sizes or choose a folder on another disk",
    errno.EROFS: "choose an output folder on a disk that is not read-only",
    errno.EACCES: "choose an output folder that you may write to",
    errno.EPERM: "choose an output folder that you may write to",
    errno.EISDIR: "choose the name of a file, for this is a folder",
    errno.ENAMETOOLONG: "choose an output folder with a shorter path",
    errno.ENOENT: "choose an output folder that exists, with a path that is not too long for this system",
}


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses into one sentence about `path`."""
    try:
        yield
    except OSError as error:
        cure = CURES.get(error.errno or 0, "check the disk and run the command again")
        raise DiskError(f"{path} could not be written ({error.strerror}); {cure}.") from error


def atomic_write(path: Path, data: bytes | memoryview, sync_folder: bool = True) -> None:
    """Write a file whole or not at all, whatever happens in between; its folders are made.

    Syncing the folder, which makes the name survive a power cut too, takes longer than all the rest: of several files
    in one folder only the last needs it. Raises BlendsetError where the disk refuses (full, read-only, forbidden).
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            with suppress(OSError):
                temporary.unlink()
        if sync_folder:
            sync_directory(path.parent)


def sync_directory(folder: Path) -> None:
    """Make a rename survive a power cut, where the system lets a folder be opened (Windows does not)."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


SPLIT_WORDS = "train|training|valid|validation|val|dev|test|testing|eval|evaluation"
"""A path part with one of these between separators is a split to `datasets.load_dataset`, which then drops the rest."""
_SPLIT = re.compile(rf"(?<![a-z])({SPLIT_WORDS})(?![a-z])")
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])")


def slug(text: str, max_length: int = 40) -> str:
    """Return a name of [a-z0-9-] that is legal on every system and no split to `datasets`; never empty."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "-", letters)
    for length in range(max_length, 0, -1):  # a mark lengthens, and a cut can uncover a word
        name = _SPLIT.sub(r"\1x", plain[:length].strip("-")) or "unnamed"
        name += "x" if _WINDOWS_DEVICE.fullmatch(name) else ""
        if len(name) <= max_length:
            return name
    raise ValueError(f"no name fits into {max_length} characters")

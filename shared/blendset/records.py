# SPDX-License-Identifier: Apache-2.0
"""The records of a dataset: what each JSON file on disk holds, and how it is read and written."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cattrs

from blendset.converter import strict_converter
from blendset.errors import BlendsetError, describe_value
from blendset.files import atomic_write

FORMAT_VERSION = 1

POSE_TOLERANCE = 1e-4
"""How far the axes of a camera may be from unit length and from right angles, as dot products."""

Record = TypeVar("Record")
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class FileEntry:
    """A file of a view: its size in bytes and its SHA-256 as hex digits."""

    bytes: int
    sha256: str


@dataclass(frozen=True)
class VisibleObject:
    """An object in the picture: its id in passes.exr, its pixels, and their share of the picture."""

    id: int
    label: str
    pixels: int
    share: float


def check_pose(world_from_camera: Sequence[float]) -> None:
    """Raise ValueError unless 16 numbers in rows are a position and a right-handed rotation.

    That is where the axes right and up are unit vectors at right angles, and their cross product points backwards.
    """
    if len(world_from_camera) != 16:
        raise ValueError("a pose has 16 numbers")
    (a, b, c), (d, e, f), back = (world_from_camera[axis:12:4] for axis in range(3))
    across = b * f - c * e, c * d - a * f, a * e - b * d
    errors = [one - other for one, other in zip(across, back, strict=True)]
    errors += [a * a + b * b + c * c - 1, d * d + e * e + f * f - 1, a * d + b * e + c * f]
    errors += [*world_from_camera[12:15], world_from_camera[15] - 1]
    rigid = all(abs(error) <= POSE_TOLERANCE for error in errors)
    if not (rigid and all(map(math.isfinite, world_from_camera))):
        raise ValueError("its pose is no rotation")


@dataclass(frozen=True)
class CameraRecord:
    """A pinhole camera: sizes and intrinsics in pixels, the pose as 16 numbers in rows (looks along -Z, +Y up).

    `clip` is the nearest and the farthest planar depth that it shows, in world units; None where it shows everything.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    world_from_camera: tuple[float, ...]
    focal_length_mm: float
    sensor_width_mm: float
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_pose(self.world_from_camera)


@dataclass(frozen=True, kw_only=True)
class ViewRecord:
    """view.json. A view of the whole scene has an empty subject and None in the fields about one.

    `subject_objects` are the ids in passes.exr that make up the subject: its mask is where `id` is one of them.
    `missing_files` are the textures that things in the picture or its light lack; with `--missing neutral` they are
    drawn in neutral grey.

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
    missing_files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class SceneObjectRecord:
    """An object or instance; `id` is its value in passes.exr, bounds are in world space.

    Objects with the same `thing` are parts of one thing, which is called `thing_label`; both are empty for an object
    that is a thing by itself.
    """

    id: int
    name: str
    label: str
    collection: str
    materials: tuple[str, ...]
    bounds_min: Vector
    bounds_max: Vector
    structural: bool
    instance_of: str
    thing: str = ""
    thing_label: str = ""


@dataclass(frozen=True, kw_only=True)
class SceneRecord:
    """scenes/<scene>.json. `world_offset` is what to add to any position in the dataset of this scene to have it in the
    coordinates of the file: not zero where that lies too far from its origin for single precision."""

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
    world_offset: Vector = (0.0, 0.0, 0.0)


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


def to_plain(value: Any) -> Any:
    """Return a record (or anything that holds some) as the dicts, lists and numbers that JSON has."""
    plain = strict_converter.unstructure(value)
    text = json.dumps(plain, sort_keys=True, allow_nan=False, ensure_ascii=False)  # without indent six times as fast
    return json.loads(text.encode("utf-8", errors="replace"))


def encode_json(value: Any) -> bytes:
    """Return the one UTF-8 spelling of a record; what Unicode cannot hold (a file name in bytes) becomes "?"."""
    plain = strict_converter.unstructure(value)
    text = json.dumps(plain, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False)
    return (text + "\n").encode("utf-8", errors="replace")


def decode_json(text: bytes | str) -> Any:
    """Return the value that a JSON text holds; ValueError for what is no JSON, and for one that is nested too deep."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def write_json(path: Path, value: Any) -> None:
    """Write a record, or plain data, atomically."""
    atomic_write(path, encode_json(value))


def _make_damaged_error(path: Path, reason: object) -> BlendsetError:
    return BlendsetError(
        f"{path} is damaged ({reason}); restore it or delete it, then run the command that wrote it again."
    )


def _describe_fault(error: BaseException, kind: type | None) -> str:
    """What a value lacks: a record's own check says it itself."""
    return str(error) if type(error) is ValueError else cattrs.v.format_exception(error, kind)


def read_json(path: Path) -> Any:
    """Return what a JSON file holds; BlendsetError where it is missing or no JSON."""
    try:
        return decode_json(path.read_bytes())
    except OSError as error:
        raise BlendsetError(f"{path} cannot be read ({error.strerror}); check the path and its permissions.") from error
    except ValueError as error:
        raise _make_damaged_error(path, error) from error


def read_record(path: Path, kind: type[Record]) -> Record:
    """Return the record in a JSON file; BlendsetError where it is missing, damaged or of another format version."""
    value = read_json(path)
    if not isinstance(value, dict):
        raise _make_damaged_error(path, "it holds no record")
    version = value.get("format_version", value.get("version", FORMAT_VERSION))
    if version != FORMAT_VERSION:
        raise BlendsetError(
            f"{path} has format version {describe_value(version)} and not {FORMAT_VERSION}; "
            "use the Blendset that wrote it."
        )
    try:
        return strict_converter.structure(value, kind)
    except cattrs.BaseValidationError as error:
        raise _make_damaged_error(path, cattrs.transform_error(error, format_exception=_describe_fault)[0]) from error

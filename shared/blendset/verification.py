# SPDX-License-Identifier: Apache-2.0
"""The check of a dataset: what is wrong with its views, scenes and index, and what interrupted runs left behind."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import (
    IDS,
    INDEX,
    PASSES,
    RGB,
    VIEW_RECORD,
    Dataset,
    Problem,
    find_file_problems,
    is_block,
    read_index,
)
from blendset.errors import BlendsetError
from blendset.exr import read_exr
from blendset.files import TEMPORARY_FILES
from blendset.records import ViewRecord

PNG_BEGIN, PNG_END = b"\x89PNG\r\n\x1a\n", b"\0\0\0\0IEND\xaeB`\x82"


@dataclass(frozen=True)
class VerifyReport:
    """How many views are sound, what is wrong, and what interrupted runs left behind (harmless)."""

    views: int
    problems: tuple[Problem, ...]
    debris: tuple[Path, ...]


def verify_dataset(dataset: Dataset) -> VerifyReport:
    """Check every record of a dataset against its files, its scene and the index."""
    records = list(dataset.read_records())
    readable = [(folder, view) for folder, view in records if isinstance(view, ViewRecord)]
    problems = [
        Problem(folder / VIEW_RECORD, str(error)) for folder, error in records if isinstance(error, BlendsetError)
    ]
    sound = 0
    for folder, view in readable:
        found = list(find_file_problems(folder, view)) or list(_find_content_problems(folder, view))
        problems += found
        sound += not found
    problems += [
        *_find_scene_problems(dataset, readable),
        *_find_id_problems(readable),
        *_find_index_problems(dataset, readable),
    ]
    return VerifyReport(sound, tuple(problems), tuple(_find_debris(dataset, dict(records))))


def _find_scene_problems(dataset: Dataset, views: list[tuple[Path, ViewRecord]]) -> Iterator[Problem]:
    objects: dict[str, set[int]] = {}
    for scene in sorted({view.scene for _, view in views}):
        try:
            objects[scene] = {entry.id for entry in dataset.scene(scene).objects}
        except BlendsetError as error:
            yield Problem(dataset.scene_path(scene), str(error))
    for folder, view in views:
        unknown = {entry.id for entry in view.visible_objects} - objects.get(view.scene, set())
        if unknown and view.scene in objects:
            yield Problem(folder / VIEW_RECORD, f"sees object {min(unknown)}, which its scene does not list")


def _find_id_problems(views: list[tuple[Path, ViewRecord]]) -> Iterator[Problem]:
    first: dict[str, Path] = {}
    for folder, view in views:
        if first.setdefault(view.view_id, folder) != folder:
            yield Problem(folder / VIEW_RECORD, f"has the view id of {first[view.view_id]}")


def _find_index_problems(dataset: Dataset, views: list[tuple[Path, ViewRecord]]) -> Iterator[Problem]:
    try:
        index = read_index(dataset.root / INDEX)
    except BlendsetError as error:
        yield Problem(dataset.root / INDEX, str(error))
        return
    stale = set(index) - {view.view_id for _, view in views}
    for folder, view in views:
        row = dataset.make_index_row(folder, view)
        if row != {column: index.get(view.view_id, {}).get(column) for column in row}:
            stale.add(view.view_id)
    if stale:
        what = f"disagrees with the records of {len(stale)} views, {min(stale)} first; the next render rebuilds it"
        yield Problem(dataset.root / INDEX, what)


def _find_debris(dataset: Dataset, records: Mapping[Path, ViewRecord | BlendsetError]) -> Iterator[Path]:
    for pattern in (TEMPORARY_FILES, f"*/{TEMPORARY_FILES}"):
        yield from sorted(dataset.root.glob(pattern))
    for folder in dataset.list_view_folders():
        view = records.get(folder)
        known = {VIEW_RECORD, *(view.files if isinstance(view, ViewRecord) else ())}
        yield from sorted(path for path in folder.iterdir() if path.name not in known)


def _find_content_problems(folder: Path, view: ViewRecord) -> Iterator[Problem]:
    """Yield what is wrong inside files that are as they were written, and in the record itself."""
    size = (view.camera.width, view.camera.height)
    scene_folder = folder.parent.parent if is_block(folder.parent) else folder.parent
    if (scene_folder.name, folder.name) != (view.scene, view.view_id):
        yield Problem(folder / VIEW_RECORD, f"belongs into {view.scene}/{view.view_id}")
    for name in {RGB, IDS} & set(view.files):
        if _read_png_size((folder / name).read_bytes()) not in _list_sizes(view):
            yield Problem(folder / name, f"is no whole PNG of {size[0]} x {size[1]} pixels")
    if PASSES in view.files:
        try:
            shapes = {plane.shape for plane in read_exr(folder / PASSES).values()}
        except BlendsetError as error:
            yield Problem(folder / PASSES, str(error))
        else:
            if shapes != {size[::-1]}:
                yield Problem(folder / PASSES, f"is not {size[0]} x {size[1]} pixels")


def _list_sizes(view: ViewRecord) -> set[tuple[int, int]]:
    """Return the (width, height) that a view's PNG may have; that of another camera may have to be turned upright."""
    camera = view.camera
    return {(camera.width, camera.height)} | ({(camera.height, camera.width)} if camera.fx == 0 else set())


def _read_png_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height), or None for what has not a PNG's beginning and end."""
    if not (data.startswith(PNG_BEGIN) and data.endswith(PNG_END) and len(data) > 24):
        return None
    width, height = struct.unpack_from(">2I", data, 16)
    return width, height

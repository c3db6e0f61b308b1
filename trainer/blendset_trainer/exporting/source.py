# SPDX-License-Identifier: Apache-2.0
"""What every export reads, and the folder that it writes.

A source holds the views to export, all of a dataset or those of a selection; a folder appears whole or not at all.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.dataset import IDS, PASSES, Dataset, get_picture_name
from blendset.errors import BlendsetError
from blendset.exr import read_ids
from blendset.files import replace_folder, sha256_bytes, translate_disk_errors
from blendset.naming import name_view_set
from blendset.records import ViewRecord
from blendset_trainer.adopted_views import read_adoptions
from blendset_trainer.readers.images import decode_ids, decode_image, encode_png
from blendset_trainer.selection.files import HELD_OUT, read_chosen
from blendset_trainer.stages.tables import read_index
from blendset_trainer.synthetic_views import has_camera

NO_CAMERA, NO_PASSES, NO_IDS = "the camera is unknown", "no depth and normals", "not known which object a pixel shows"
NO_SET, NO_CAPTION = "in no view set of two or more", "no caption"
"""Why a format has no place for a view."""


@dataclass(frozen=True)
class ExportSource:
    """Views of a dataset in the order to export them, their captions, and the ids that are held out of training.

    `left_out` counts, by reason, the views that an export has left out; `notes` are sentences for the user about it.
    """

    dataset: Dataset
    views: tuple[ViewRecord, ...]
    captions: Mapping[str, str]
    held_out: frozenset[str] = frozenset()
    left_out: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)

    @cached_property
    def adoptions(self) -> dict[str, dict[str, Any]]:
        """The rows of `read_adoptions` by view id."""
        return {row["view_id"]: row for row in read_adoptions(self.dataset).to_pylist()}

    def group_by_split(self, train: str, held_out: str) -> dict[str, list[ViewRecord]]:
        """Group the views by split, under the names that a format has for the two; an empty split is left out."""
        splits: dict[str, list[ViewRecord]] = {train: [], held_out: []}
        for view in self.views:
            splits[held_out if view.view_id in self.held_out else train].append(view)
        return {name: views for name, views in splits.items() if views}

    def select(self, is_fitting: Callable[[ViewRecord], bool], reason: str) -> ExportSource:
        """Select the views that fit; the others are counted in `left_out`, for this reason."""
        views = tuple(filter(is_fitting, self.views))
        if len(views) < len(self.views):
            self.left_out[reason] += len(self.views) - len(views)
        return replace(self, views=views)

    def select_with_cameras(self) -> ExportSource:
        """Select the views whose camera is known."""
        return self.select(lambda view: has_camera(view.camera), NO_CAMERA)

    def select_with_passes(self) -> ExportSource:
        """Select the views with passes; photos and generated pictures have none."""
        return self.select(has_passes, NO_PASSES)

    def select_with_ids(self) -> ExportSource:
        """Select the views of which it is known which object each pixel shows, from passes or without them."""
        return self.select(lambda view: has_passes(view) or IDS in view.files, NO_IDS)

    def check_captions(self) -> None:
        """Raise BlendsetError where a view has no caption."""
        if uncaptioned := [view.view_id for view in self.views if view.view_id not in self.captions]:
            raise BlendsetError(
                f"{self.dataset.root} has no caption for {uncaptioned[0]} ({len(uncaptioned)} in all); "
                "run 'blendset caption'."
            )

    def read_file(self, view: ViewRecord, name: str = "") -> bytes:
        """Read a view's file, its picture by default; BlendsetError where its hash is not the recorded one."""
        name = name or get_picture_name(view)
        path = self.dataset.view_folder(view.scene, view.view_id) / name
        data = read_bytes(path)
        if sha256_bytes(data) != view.files[name].sha256:
            cure = "render it again" if has_passes(view) else "restore it"
            raise BlendsetError(f"{path} was changed: its SHA-256 is not the one in its record; {cure}.")
        return data

    def read_upright(self, view: ViewRecord) -> tuple[str, bytes]:
        """Read a picture's name in an export and its bytes, as PNG where its EXIF data turn it.

        So it fits its boxes and masks in programs that do not look at these data, too.
        """
        data = self.read_file(view)
        if PurePosixPath(get_picture_name(view)).suffix == ".png":
            return name_picture(view), data
        path = self.dataset.rgb_path(view)
        if decode_image(data, path, draft=1).orientation == 1:
            return name_picture(view), data
        return f"{view.view_id}.png", encode_png(decode_image(data, path).image)

    def read_ids(self, view: ViewRecord) -> NDArray[np.uint32]:
        """Read which object each pixel (H, W) of a view shows, from its passes or its ids.png."""
        if not has_passes(view):
            return decode_ids(self.read_file(view, IDS), self.dataset.rgb_path(view).with_name(IDS))
        path = self.dataset.rgb_path(view).with_name(PASSES)
        try:
            return read_ids(self.read_file(view, PASSES))
        except BlendsetError as error:
            raise BlendsetError(f"{path}: {error}") from error


def open_source(dataset: Dataset, selection: str = "") -> ExportSource:
    """Open all views of a dataset, or those of selections/<selection>.parquet in their order.

    Raises BlendsetError where there is no such selection, no view, or a view that the dataset no longer has.
    """
    index = read_index(dataset).select(["view_id", "caption"]).to_pylist()
    captions = {row["view_id"]: row["caption"] for row in index if row["caption"]}
    if not selection:
        return ExportSource(dataset, tuple(dataset.views()), captions)
    splits = _read_splits(dataset, selection)
    known = {view.view_id: view for view in dataset.views() if view.view_id in splits}
    if lost := [view_id for view_id in splits if view_id not in known]:
        raise BlendsetError(
            f"Selection '{selection}' names {lost[0]}, which {dataset.root} does not hold; make the selection again."
        )
    held_out = frozenset(view_id for view_id, split in splits.items() if split == HELD_OUT)
    return ExportSource(dataset, tuple(known[view_id] for view_id in splits), captions, held_out)


def _read_splits(dataset: Dataset, selection: str) -> dict[str, str]:
    """The split of each view of a selection, in order of choice."""
    chosen = read_chosen(dataset, selection)
    if not chosen.num_rows:
        raise BlendsetError(f"Selection '{selection}' chose no view; make it again with looser rules.")
    return dict(zip(chosen["view_id"].to_pylist(), chosen["split"].to_pylist(), strict=True))


def read_bytes(path: Path) -> bytes:
    """Read a file of a dataset; BlendsetError where that fails."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BlendsetError(
            f"{path} cannot be read ({error.strerror}); run 'blendset verify' on its dataset."
        ) from error


def name_picture(view: ViewRecord) -> str:
    """The name of a view's picture in an export: its id, and the ending of its format."""
    return f"{view.view_id}{PurePosixPath(get_picture_name(view)).suffix}"


def has_passes(view: ViewRecord) -> bool:
    """Whether depth, normal and object of each pixel are known."""
    return PASSES in view.files


def group_by_view_set(views: Sequence[ViewRecord]) -> dict[str, list[ViewRecord]]:
    """Group the views of sets of two or more by the set's name, in the order of their places in it."""
    sets: dict[str, list[ViewRecord]] = {}
    for view in views:
        sets.setdefault(name_view_set(view.scene, view.view_set, view.view_id), []).append(view)
    return {name: sorted(group, key=lambda view: view.view_index) for name, group in sets.items() if len(group) > 1}


def group_by_scene(views: Sequence[ViewRecord]) -> dict[str, list[ViewRecord]]:
    """Group views by scene, scenes in the order of their names."""
    scenes: dict[str, list[ViewRecord]] = {scene: [] for scene in sorted({view.scene for view in views})}
    for view in views:
        scenes[view.scene].append(view)
    return scenes


def split_by_size(
    views: Sequence[ViewRecord], size: Callable[[ViewRecord], int], limit: int
) -> Iterator[list[ViewRecord]]:
    """Split views, in order, into lists whose sizes stay within a limit; a view above it gets a list of its own."""
    members: list[ViewRecord] = []
    total = 0
    for view in views:
        if members and total + size(view) > limit:
            yield members
            members, total = [], 0
        members.append(view)
        total += size(view)
    if members:
        yield members


def write_file(path: Path, data: bytes) -> None:
    """Write a file of an export and the folders above it; the whole export is renamed into place later."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def encode_json(value: Any) -> bytes:
    """Encode a value as compact JSON in UTF-8."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@contextmanager
def create_folder(out: Path) -> Iterator[Path]:
    """Create a temporary folder that becomes `out` when all went well, and is removed when not.

    Raises BlendsetError where `out` holds something already, and where the disk refuses.
    """
    out = out.absolute()
    with translate_disk_errors(out):
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise BlendsetError(f"{out} is not empty; choose a new or empty folder, or remove it first.")
        with replace_folder(out, only_empty=True) as temporary:
            yield temporary

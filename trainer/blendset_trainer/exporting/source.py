# SPDX-License-Identifier: Apache-2.0
"""What every export reads, and the folder that it writes.

A source holds the views to export, all of a dataset or those of a selection; a folder appears whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blendset.dataset import PASSES, RGB, Dataset
from blendset.errors import BlendsetError
from blendset.files import replace_folder, sha256_bytes, translate_disk_errors
from blendset.records import ViewRecord
from blendset_trainer.selection.files import HELD_OUT, read_chosen
from blendset_trainer.stages.tables import read_index
from blendset_trainer.synthetic_views import has_camera


@dataclass(frozen=True)
class ExportSource:
    """Views of a dataset in the order to export them, their captions, and the ids that are held out of training."""

    dataset: Dataset
    views: tuple[ViewRecord, ...]
    captions: Mapping[str, str]
    held_out: frozenset[str] = frozenset()

    def group_by_split(self, train: str, held_out: str) -> dict[str, list[ViewRecord]]:
        """Group the views by split, under the names that a format has for the two; an empty split is left out."""
        splits: dict[str, list[ViewRecord]] = {train: [], held_out: []}
        for view in self.views:
            splits[held_out if view.view_id in self.held_out else train].append(view)
        return {name: views for name, views in splits.items() if views}

    def select_with_cameras(self) -> ExportSource:
        """Select the views whose camera is known; BlendsetError where there is none."""
        views = tuple(view for view in self.views if has_camera(view.camera))
        if not views:
            raise BlendsetError(f"No view of {self.dataset.root} has a known camera; choose another format.")
        return replace(self, views=views)

    def check_captions(self) -> None:
        """Raise BlendsetError where a view has no caption."""
        if uncaptioned := [view.view_id for view in self.views if view.view_id not in self.captions]:
            raise BlendsetError(
                f"{self.dataset.root} has no caption for {uncaptioned[0]} ({len(uncaptioned)} in all); "
                "run 'blendset caption'."
            )

    def read_file(self, view: ViewRecord, name: str = RGB) -> bytes:
        """Read a view's file, its picture by default; BlendsetError where its hash is not the recorded one."""
        path = self.dataset.view_folder(view.scene, view.view_id) / name
        data = read_bytes(path)
        if sha256_bytes(data) != view.files[name].sha256:
            raise BlendsetError(f"{path} was changed: its SHA-256 is not the one in its record; render it again.")
        return data


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


def select_with_passes(views: Sequence[ViewRecord]) -> list[ViewRecord]:
    """Select the views with passes; photos and generated pictures have none."""
    return [view for view in views if has_passes(view)]


def has_passes(view: ViewRecord) -> bool:
    """Whether depth, normal and object of each pixel are known."""
    return PASSES in view.files


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

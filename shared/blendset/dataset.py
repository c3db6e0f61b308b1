# SPDX-License-Identifier: Apache-2.0
"""The dataset folder: where each file lies, how a view is written and read, the index, and the check of a view's files.

A view exists when its view.json does, and that is written last; everything else in its folder is debris until then.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blendset.config import Config
from blendset.errors import BlendsetError, SettingsError
from blendset.exr import Passes, read_passes
from blendset.files import (
    TEMPORARY_FILES,
    atomic_write,
    explain_read_errors,
    link_file,
    lock_folder,
    sha256_bytes,
    sha256_file,
    translate_disk_errors,
    write_many,
)
from blendset.options import flatten_settings
from blendset.records import (
    DatasetRecord,
    FileEntry,
    SceneRecord,
    ViewRecord,
    decode_json,
    encode_json,
    read_json,
    read_record,
    to_plain,
    write_json,
)

RGB, PASSES, VIEW_RECORD = "rgb.png", "passes.exr", "view.json"
PICTURES = (RGB, "rgb.jpg", "rgb.webp")
"""What a view's picture may be called. Blendset writes the first; pictures of other people keep their own format."""
IDS = "ids.png"
"""The object ids of a picture that has no passes: 16-bit grey, (height, width), keys into the scene's objects."""
CACHE = "cache"
"""The folder of what may be deleted at any time."""
BLOCK = 1000
"""Most views of a scene in one folder."""
CAPTION = "caption"
"""A column of metadata.jsonl once there are captions; their truth is in `captions/`."""
INDEX, LOCK = "metadata.jsonl", ".index.lock"
INDEX_CURE = "delete it: the next command rebuilds it"

RECORD_COLUMNS = (
    "view_id", "scene", "subject", "subject_label", "subject_objects", "view_set", "view_index", "source",
    "width", "height", "fx", "fy", "cx", "cy", "world_from_camera",
    "azimuth_deg", "elevation_deg", "distance", "focal_length_mm", "visible_fraction", "subject_share", "truncation",
    "visible_objects", "exposure_ev", "samples", "seed",
)  # fmt: skip
COLUMNS = ("rgb_file_name", "passes_path", *RECORD_COLUMNS, "rgb_sha256", "passes_sha256")
"""Of metadata.jsonl. `rgb_sha256` tells whether foreign columns (a caption, say) still belong to the picture.
`passes_sha256` is of passes.exr, or of ids.png where there are no passes."""


@dataclass(frozen=True)
class Problem:
    """Something wrong in a dataset: the file, and what is wrong with it, as the rest of a sentence about the file."""

    path: Path
    what: str


class Dataset:
    """A dataset folder that exists; BlendsetError for any other folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        path = root / "dataset.json"
        if not root.exists():
            raise BlendsetError(f"{root} does not exist; give the folder of a dataset.")
        if not path.is_file():
            raise BlendsetError(f"{root} is no Blendset dataset (it has no dataset.json); choose another folder.")
        self.record = read_record(path, DatasetRecord)

    @classmethod
    def create_or_open(cls, root: Path, record: DatasetRecord, mix_settings: bool = False) -> Dataset:
        """Open the dataset that a run adds to, and make it where the folder is new or empty.

        A run without render settings adds pictures that are no renders; it agrees with all. Raises BlendsetError for a
        folder that holds something else, or whose views were rendered with other settings.
        """
        path = root / "dataset.json"
        with translate_disk_errors(root):
            if root.exists() and not path.exists():
                _refuse_foreign_folder(root)
        with lock_folder(root / LOCK):
            if not path.exists():
                write_json(path, record)
            stored = cls(root).record
            requested = to_plain(record.render_settings)
            if stored.render_settings and requested and not mix_settings:
                _refuse_other_settings(root, stored.render_settings, requested)
            joined = replace(
                stored,
                sources=tuple(sorted({*stored.sources, *record.sources})),
                render_settings=stored.render_settings or requested,
                view_blocks=stored.view_blocks or record.view_blocks,
            )
            if joined != stored:
                write_json(path, joined)
        return cls(root)

    @classmethod
    def open_for_run(cls, root: Path, config: Config, scenes: Iterable[Path], mix_settings: bool = False) -> Dataset:
        """Open or make the dataset that a run with this configuration adds to; raises as `create_or_open` does."""
        record = DatasetRecord(
            name=config.dataset.name or root.absolute().name,
            licence=config.dataset.licence,
            creator=config.dataset.creator,
            sources=tuple(sorted({path.name for path in scenes})),
            render_settings=config.select_render_settings(),
            view_blocks=config.cameras.views > BLOCK,
        )
        return cls.create_or_open(root, record, mix_settings)

    def scene_path(self, scene: str) -> Path:
        """Return the path of a scene's record."""
        return self.root / "scenes" / f"{scene}.json"

    def plan_path(self, run: str) -> Path:
        """Return the path of a run's camera plan."""
        return self.root / "plans" / f"{run}.json"

    def funnel_path(self, run: str) -> Path:
        """Return the path of a run's funnel."""
        return self.root / "funnels" / f"{run}.jsonl"

    def funnel_paths(self) -> list[Path]:
        """Return the paths of all funnels, sorted."""
        return sorted((self.root / "funnels").glob("*.jsonl"))

    def run_path(self, run: str) -> Path:
        """Return the path of a run's record."""
        return self.root / "runs" / f"{run}.json"

    def view_folder(self, scene: str, view_id: str) -> Path:
        """Return where a view is, or where it will be.

        A new view's folder depends on dataset.json and its id only, so that shards agree without counting views.
        """
        flat = self.root / "views" / scene / view_id
        block = flat.parent / f"_{sha256_bytes(view_id.encode())[:2]}" / view_id
        new, other = (block, flat) if self.record.view_blocks else (flat, block)
        return other if (other / VIEW_RECORD).exists() else new

    def write_view(self, view: ViewRecord, payload: Mapping[str, bytes]) -> ViewRecord:
        """Write the files of a view, then its record; return the record with their sizes and hashes."""
        folder, complete = self.write_view_files(view, payload, {})
        write_json(folder / VIEW_RECORD, complete)
        return complete

    def write_view_files(
        self, view: ViewRecord, payload: Mapping[str, bytes], links: Mapping[str, Path]
    ) -> tuple[Path, ViewRecord]:
        """Write the files of a view but its record; return their folder, and the record with their sizes and hashes.

        `links` are files elsewhere that hold the bytes of the payload of these names, and which are linked to where the
        disk allows it. There is no view until its record is written.
        """
        folder = self.view_folder(view.scene, view.view_id)
        with translate_disk_errors(folder):
            if folder.exists():
                (folder / VIEW_RECORD).unlink(missing_ok=True)
                _remove_files(folder.glob(TEMPORARY_FILES))
        for name, data in payload.items():
            if name not in links or not link_file(links[name], folder / name):
                atomic_write(folder / name, data, sync_folder=False)
        entries = {name: FileEntry(len(data), sha256_bytes(data)) for name, data in payload.items()}
        return folder, replace(view, files=entries)

    def write_view_records(self, views: Mapping[Path, ViewRecord]) -> None:
        """Write the records of views, by their folders, whose files are there."""
        write_many({folder / VIEW_RECORD: encode_json(view) for folder, view in views.items()})

    def has_view(self, scene: str, view_id: str) -> bool:
        """Return whether a view is there with sound files; one that is not has to be written again."""
        folder = self.view_folder(scene, view_id)
        try:
            view = read_record(folder / VIEW_RECORD, ViewRecord)
        except BlendsetError:
            return False
        return (view.scene, view.view_id) == (scene, view_id) and not any(find_file_problems(folder, view))

    def views(self) -> Iterator[ViewRecord]:
        """Yield every view's record, by scene and id; BlendsetError names a damaged one."""
        for _, view in self.read_records():
            if isinstance(view, BlendsetError):
                raise view
            yield view

    def rgb_path(self, view: ViewRecord) -> Path:
        """Return the path of a view's picture."""
        return self.view_folder(view.scene, view.view_id) / get_picture_name(view)

    def passes(self, view: ViewRecord) -> Passes:
        """Read a view's depth, normals and object ids; BlendsetError for a file that is missing or damaged."""
        return read_passes(self.view_folder(view.scene, view.view_id) / PASSES)

    def scene(self, scene: str) -> SceneRecord:
        """Read the record of a scene; BlendsetError where it is missing or damaged."""
        return read_scene_record(self.scene_path(scene))

    def run(self, run: str) -> dict[str, Any]:
        """Read the record of a rendering run; BlendsetError where it is missing or damaged."""
        return dict(read_json(_check_record(self.run_path(run))))

    def rebuild_index(self, captions: Mapping[str, str | None] | None = None) -> int:
        """Write metadata.jsonl from the records and return its number of rows; safe beside other writers.

        Columns that are not Blendset's stay with the views whose picture is unchanged. Damaged records are left out.
        `captions` by view id become the column `caption`, None takes one away; views that they leave out keep theirs.
        """
        with lock_folder(self.root / LOCK):
            _remove_files(self.root.glob(f".{INDEX}{TEMPORARY_FILES}"))
            old = read_index(self.root / INDEX)
            rows = [
                self.make_index_row(folder, view)
                for folder, view in self.read_records()
                if isinstance(view, ViewRecord)
            ]
            foreign = dict.fromkeys(column for row in old.values() for column in row if column not in COLUMNS)
            for row in rows:
                before = old.get(row["view_id"], {})
                values = before if before.get("rgb_sha256") == row["rgb_sha256"] else {}
                row |= {column: values.get(column) for column in foreign}
                if captions is not None:
                    row[CAPTION] = captions.get(row["view_id"], row.get(CAPTION))
            lines = [json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows]
            atomic_write(self.root / INDEX, "".join(lines).encode())
        return len(rows)

    def list_view_folders(self) -> Iterator[Path]:
        """Yield the folders of all views, whether or not they hold a record, by scene and name."""
        for scene in _list_folders(self.root / "views"):
            parents = [scene, *(block for block in _list_folders(scene) if is_block(block))]
            views = [view for parent in parents for view in _list_folders(parent) if not is_block(view)]
            yield from sorted(views, key=lambda view: view.name)

    def read_records(self) -> Iterator[tuple[Path, ViewRecord | BlendsetError]]:
        """Yield the folder of every view that has a record, with the record or the reason why it cannot be read."""
        for folder in self.list_view_folders():
            if os.path.lexists(folder / VIEW_RECORD):
                try:
                    yield folder, read_record(folder / VIEW_RECORD, ViewRecord)
                except BlendsetError as error:
                    yield folder, error

    def make_index_row(self, folder: Path, view: ViewRecord) -> dict[str, Any]:
        """Return the row of metadata.jsonl for a view in this folder, without foreign columns."""
        values = to_plain(view)
        values |= values["camera"]
        folder_name, picture = folder.relative_to(self.root).as_posix(), get_picture_name(view)
        planes = view.files.get(PASSES) or view.files.get(IDS)
        return {
            "rgb_file_name": f"{folder_name}/{picture}",
            "passes_path": f"{folder_name}/{PASSES}" if PASSES in view.files else None,
            **{column: values[column] for column in RECORD_COLUMNS},
            "rgb_sha256": view.files[picture].sha256 if picture in view.files else None,
            "passes_sha256": planes.sha256 if planes else None,
        }


def get_picture_name(view: ViewRecord) -> str:
    """Return the name of a view's picture in its folder: one of PICTURES, the first where the record lists none."""
    return next((name for name in PICTURES if name in view.files), RGB)


def open_dataset(dataset: Dataset | Path | str) -> Dataset:
    """Return the dataset of a folder, or the dataset that is open already; BlendsetError for any other folder."""
    if not isinstance(dataset, Dataset | Path | str):
        raise SettingsError(f"The dataset is {dataset!r}; give the path of its folder.")
    return dataset if isinstance(dataset, Dataset) else Dataset(Path(dataset))


def read_scene_record(path: Path) -> SceneRecord:
    """Read the record of a scene from its file; BlendsetError where it is missing or damaged."""
    return read_record(_check_record(path), SceneRecord)


def _check_record(path: Path) -> Path:
    """Return the path of a record that rendering writes; BlendsetError where it is missing."""
    if not path.exists():
        raise BlendsetError(
            f"{path} is missing; restore it, or run the command that rendered its views again: that writes it, and "
            "renders no view twice."
        )
    return path


def is_block(folder: Path) -> bool:
    """Return whether a folder is one of the 256 that spread a scene's views; no view id begins as their names do."""
    return folder.name.startswith("_")


def _list_folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _remove_files(temporaries: Iterable[Path]) -> None:
    """Remove what a killed writer left; only the one who now writes these files may do so."""
    for path in temporaries:
        path.unlink(missing_ok=True)


def _refuse_foreign_folder(root: Path) -> None:
    if not root.is_dir() or any(not path.name.startswith(".") for path in root.iterdir()):
        raise BlendsetError(
            f"{root} holds something else than a Blendset dataset (it has no dataset.json); choose a new or empty one."
        )


def _refuse_other_settings(root: Path, stored: Mapping[str, Any], requested: Mapping[str, Any]) -> None:
    before, now = flatten_settings(stored), flatten_settings(requested)
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            raise BlendsetError(
                f"{root} was rendered with {name} = {before.get(name)!r} and this run has {now.get(name)!r}; "
                "use the same, choose another output folder, or mix them on purpose (--mix-settings)."
            )


def read_index(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows by view id; a damaged line is left out, for the index is derived.

    Raises BlendsetError where there is something that cannot be read.
    """
    rows: dict[str, dict[str, Any]] = {}
    with explain_read_errors(path, INDEX_CURE):
        lines = path.read_bytes().split(b"\n") if path.exists() else []
    for line in lines:
        with suppress(ValueError, TypeError, LookupError):
            row = decode_json(line)
            rows[row["view_id"]] = dict(row)
    return rows


def find_file_problems(folder: Path, view: ViewRecord) -> Iterator[Problem]:
    """Yield each file of a view that is not what its record says."""
    if get_picture_name(view) not in view.files:
        yield Problem(folder / VIEW_RECORD, f"lists no {RGB}")
    for name, entry in view.files.items():
        path = folder / name
        if path.name != name or not path.is_file():
            yield Problem(path, "is missing")
        elif path.stat().st_size != entry.bytes:
            yield Problem(path, f"has {path.stat().st_size} bytes where its record says {entry.bytes}")
        elif sha256_file(path) != entry.sha256:
            yield Problem(path, "was changed: its SHA-256 is not the one in its record")

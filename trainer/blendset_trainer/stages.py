# SPDX-License-Identifier: Apache-2.0
"""What a step of curation is, and the folder of its answers: append-only shards of rows, keyed by their inputs.

A row counts where its key is the one that today's inputs give, so nothing done is done again and nothing stale is used.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from blendset.dataset import INDEX, PASSES, RGB, VIEW_RECORD, Dataset
from blendset.errors import BlendsetError
from blendset.exr import Passes, read_passes
from blendset.records import (
    FORMAT_VERSION,
    SceneRecord,
    ViewRecord,
    as_plain,
    atomic_write,
    canonical_json,
    read_record,
    sha256_bytes,
    write_json,
)

KINDS = ("captions", "scores")
INPUTS = {"rgb": "rgb_sha256", "passes": "passes_sha256", "record": "record_sha256", "caption": "caption"}
"""Columns of `tables.index_table` that stand for what a stage reads."""
SHARD_VIEWS, BATCH_VIEWS = 256, 16
"""What a killed run loses at most, and what lies decoded in memory at a time; whole sets may make both larger."""


@dataclass(frozen=True, eq=False)
class View:
    """What a stage is given. Pixels are read when asked for; BlendsetError names a file that is not as it was written.

    `caption` is the current one, "" where there is none or the stage does not read captions.
    """

    record: ViewRecord
    folder: Path
    scene: SceneRecord
    caption: str = ""

    @cached_property
    def rgb(self) -> npt.NDArray[np.uint8]:
        """(height, width, 3), sRGB."""
        data = self._sound_bytes(RGB)
        try:
            with Image.open(io.BytesIO(data)) as picture:
                return np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise BlendsetError(f"{self.folder / RGB} is no readable picture; render it again.") from error

    @cached_property
    def passes(self) -> Passes:
        data = self._sound_bytes(PASSES)
        try:
            return read_passes(data)
        except BlendsetError as error:
            raise BlendsetError(f"{self.folder / PASSES}: {error}") from error

    @property
    def has_passes(self) -> bool:
        """Whether it was rendered; photographs and synthetic views may have colour only."""
        return PASSES in self.record.files

    @property
    def subject_mask(self) -> npt.NDArray[np.bool_] | None:
        """The subject's own pixels (height, width); None without a subject or without passes."""
        if not self.record.subject or not self.has_passes:
            return None
        return np.isin(self.passes.id, self.record.subject_objects)

    def _sound_bytes(self, name: str) -> bytes:
        path, entry = self.folder / name, self.record.files.get(name)
        if entry is None:
            raise BlendsetError(f"{self.folder} has no {name}; choose views that have one.")
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BlendsetError(f"{path} cannot be read ({error.strerror}); restore it or render it again.") from error
        if sha256_bytes(data) != entry.sha256:
            raise BlendsetError(f"{path} was changed: its SHA-256 is not the one in its record; render it again.")
        return data


@dataclass(frozen=True)
class Figure:
    """A column that a stage gives. `scale` says what its numbers mean ("cosine, -1 to 1"); "" for text."""

    type: pa.DataType
    scale: str = ""


class Stage(Protocol):
    """A step of curation: a small picklable object that holds parameters only; the model arrives in `setup`."""

    @property
    def name(self) -> str:
        """A slug; names the columns."""

    @property
    def version(self) -> str:
        """Raised when the code's answers change."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Plain data."""

    @property
    def revision(self) -> str:
        """Of the model's weights; "" without a model."""

    @property
    def kind(self) -> Literal["captions", "scores"]:
        """The folder of the dataset that its rows lie in."""

    @property
    def reads(self) -> frozenset[str]:
        """Keys of INPUTS: what goes into a row's key, and is decoded ahead."""

    @property
    def whole_sets(self) -> bool:
        """Whether the views of one view set must come in one batch."""

    @property
    def figures(self) -> Mapping[str, Figure]:
        """The columns that it gives."""

    def setup(self) -> None:
        """Once per process, before the first rows."""

    def rows(self, views: Sequence[View]) -> Sequence[dict[str, Any] | BlendsetError]:
        """One row per view, in their order: a value for each figure, None where there is none.

        BlendsetError in the place of a row says why there is none now; the next run tries that view again.
        """


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """stage.json in a stage's folder: all that its answers depend on besides the views."""

    format_version: int = FORMAT_VERSION
    name: str
    version: str
    parameters: dict[str, Any]
    revision: str
    reads: tuple[str, ...]
    whole_sets: bool


def record_of(stage: Stage) -> StageRecord:
    """What goes into the stage's keys."""
    return StageRecord(
        name=stage.name,
        version=stage.version,
        parameters=as_plain(stage.parameters),
        revision=stage.revision,
        reads=tuple(sorted(stage.reads)),
        whole_sets=stage.whole_sets,
    )


def keys(stage: StageRecord, index: pa.Table) -> list[str]:
    """The key of each view's row (hex) by today's inputs; `index` as `tables.index_table` gives it.

    Where a stage reads whole sets, the inputs of all views of the set go into each of their keys.
    """
    identity = canonical_json(stage)
    columns = (index[name].to_pylist() for name in ("view_id", *map(INPUTS.__getitem__, stage.reads)))
    own = [
        hashlib.sha256(identity + json.dumps(inputs).encode()).hexdigest()[:32] for inputs in zip(*columns, strict=True)
    ]
    if not stage.whole_sets:
        return own
    members: dict[str, list[str]] = {}
    groups = _groups(index)
    for group, key in zip(groups, own, strict=True):
        members.setdefault(group, []).append(key)
    sets = {group: "".join(sorted(found)) for group, found in members.items()}
    return [
        hashlib.sha256((key + sets[group]).encode()).hexdigest()[:32] for group, key in zip(groups, own, strict=True)
    ]


def _groups(index: pa.Table) -> list[str]:
    """The view set of each view; a view of no set is a set of its own."""
    columns = (index[name].to_pylist() for name in ("scene", "view_set", "view_id"))
    return [f"{scene}/{view_set}" if view_set else view_id for scene, view_set, view_id in zip(*columns, strict=True)]


# --- what is to be done -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Item:
    """A view whose row is to be made: what a worker needs to find it, check it and key it."""

    view_id: str
    key: str
    folder: Path
    group: str
    rgb_sha256: str
    caption: str


Shard = tuple[Item, ...]
"""Items whose rows go into one file."""


def missing_shards(
    root: Path, stage: StageRecord, index: pa.Table, have: Collection[str], shard_views: int = SHARD_VIEWS
) -> Iterator[Shard]:
    """What has no valid row yet, cut by place in the index: a resumed run makes the files of an uninterrupted one."""
    columns = (index[name].to_pylist() for name in ("view_id", "rgb_file_name", "rgb_sha256", "caption"))
    items = [
        Item(view_id, key, root / Path(rgb).parent, group, sha256 or "", caption or "")
        for view_id, rgb, sha256, caption, key, group in zip(*columns, keys(stage, index), _groups(index), strict=True)
    ]
    for shard in cut(items, shard_views, stage.whole_sets):
        if todo := tuple(item for item in shard if item.key not in have):
            yield todo


def cut(items: Sequence[Item], size: int, whole_sets: bool) -> list[Shard]:
    """Parts of at least `size` items (the last may have fewer), in order of each set's first view; sets stay whole."""
    if not whole_sets:
        return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
    first = {item.group: place for place, item in reversed(list(enumerate(items)))}
    parts: list[Shard] = []
    for _, group in groupby(sorted(items, key=lambda item: first[item.group]), key=lambda item: item.group):
        if parts and len(parts[-1]) < size:
            parts[-1] += tuple(group)
        else:
            parts.append(tuple(group))
    return parts


def read_view(dataset: Dataset, item: Item) -> View:
    """The view of an item; BlendsetError where its record is not the one that the index was made from."""
    record = read_record(item.folder / VIEW_RECORD, ViewRecord)
    entry = record.files.get(RGB)
    if entry is None or entry.sha256 != item.rgb_sha256:
        raise BlendsetError(f"{item.folder} is not what {INDEX} says; render again, which rebuilds the index.")
    return View(record, item.folder, _scene(dataset.scene_path(record.scene)), item.caption)


@lru_cache(maxsize=16)
def _scene(path: Path) -> SceneRecord:
    return read_record(path, SceneRecord)


# --- the folder -------------------------------------------------------------------------------------------------------

STAGE_RECORD, QUARANTINE = "stage.json", "quarantine.json"
ROW_COLUMNS = ("view_id", "key", "scorer", "version", "revision")
"""Of every row, before the stage's own figures."""


class StageFolder:
    """`<dataset>/<kind>/<name>-<8 hex of version, parameters, revision>`; picklable."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, root: Path, stage: Stage) -> StageFolder:
        """Where the rows of a stage lie; nothing is made."""
        told = [stage.version, as_plain(stage.parameters), stage.revision]
        return cls(root / stage.kind / f"{stage.name}-{sha256_bytes(canonical_json(told))[:8]}")

    @property
    def record(self) -> StageRecord:
        return read_record(self.path / STAGE_RECORD, StageRecord)

    def rows(self, columns: list[str] | None = None) -> pa.Table | None:
        """Every row that there is, stale ones too; None before the first shard."""
        shards = sorted(self.path.glob("*.parquet"))
        return pa.concat_tables([_read_shard(path, columns) for path in shards]) if shards else None

    def have(self) -> set[str]:
        """The keys of all rows."""
        rows = self.rows(["key"])
        return set() if rows is None else set(rows["key"].to_pylist())

    def write_shard(self, stage: Stage, items: Sequence[Item], rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write the rows of items as one file, named by their keys; whole or not at all."""
        made_by = {"scorer": stage.name, "version": stage.version, "revision": stage.revision}
        full = [
            {"view_id": item.view_id, "key": item.key, **made_by, **row} for item, row in zip(items, rows, strict=True)
        ]
        data = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(full, _schema(stage)), data, compression="zstd")
        path = self.path / f"{sha256_bytes(''.join(item.key for item in items).encode())[:32]}.parquet"
        atomic_write(path, data.getvalue())
        return path

    def begin(self, stage: Stage) -> None:
        """Say whose folder this is, and that its stage is the one of its name that was asked for last."""
        write_json(self.path / STAGE_RECORD, record_of(stage))

    def quarantine(self, reasons: Mapping[str, str]) -> None:
        """List the views that could not be read, with the reasons; the next run tries them again."""
        path = self.path / QUARANTINE
        if reasons:
            write_json(path, dict(reasons))
        else:
            path.unlink(missing_ok=True)


def _schema(stage: Stage) -> pa.Schema:
    told = [pa.field(name, pa.string()) for name in ROW_COLUMNS]
    return pa.schema(
        told + [pa.field(name, each.type, metadata={"scale": each.scale}) for name, each in stage.figures.items()]
    )


def _read_shard(path: Path, columns: list[str] | None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{path} is damaged; delete it and run the command that wrote it again.") from error

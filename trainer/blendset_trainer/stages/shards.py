# SPDX-License-Identifier: Apache-2.0
"""What of a stage is still to be done: rows are keyed by their inputs, and those without a valid one are cut in shards.

A row counts where its key is the one that today's inputs give, so nothing done is done again and nothing stale is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import INDEX, RGB, VIEW_RECORD, Dataset
from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset.records import SceneRecord, ViewRecord, canonical_json, read_record
from blendset_trainer.stages.stage import INPUTS, StageRecord, View

SHARD_VIEWS, BATCH_VIEWS = 256, 16
"""What a killed run loses at most, and what lies decoded in memory at a time; whole sets may make both larger."""


def compute_keys(stage: StageRecord, index: pa.Table) -> list[str]:
    """The key of each view's row (hex) by today's inputs; `index` as `tables.index_table` gives it.

    Where a stage reads whole sets, the inputs of all views of the set go into each of their keys.
    """
    columns = ["view_id", *(column for name, column in INPUTS.items() if name in stage.reads)]
    inputs = pc.binary_join_element_wise(
        *(index[name] for name in columns), "\0", null_handling="replace", null_replacement=""
    )
    identity = sha256_bytes(canonical_json(stage))
    own = [_key(identity, each) for each in inputs.to_pylist()]
    if not stage.whole_sets:
        return own
    members: dict[str, list[str]] = {}
    groups = _groups(index)
    for group, key in zip(groups, own, strict=True):
        members.setdefault(group, []).append(key)
    sets = {group: _key(*sorted(found)) for group, found in members.items()}
    return [_key(key, sets[group]) for group, key in zip(groups, own, strict=True)]


def _key(*parts: str) -> str:
    return sha256_bytes("".join(parts).encode())[:32]


def _groups(index: pa.Table) -> list[str]:
    """The view set of each view; a view of no set is a set of its own."""
    columns = (index[name].to_pylist() for name in ("scene", "view_set", "view_id"))
    return [f"{scene}/{view_set}" if view_set else view_id for scene, view_set, view_id in zip(*columns, strict=True)]


@dataclass(frozen=True)
class ViewItem:
    """A view whose row is to be made: what a worker needs to find it, check it and key it."""

    view_id: str
    key: str
    folder: Path
    group: str
    rgb_sha256: str
    caption: str


ViewShard = tuple[ViewItem, ...]
"""Items whose rows go into one file."""


def find_missing_shards(
    root: Path, stage: StageRecord, index: pa.Table, known_keys: Collection[str], shard_views: int = SHARD_VIEWS
) -> Iterator[ViewShard]:
    """What has no valid row yet, cut by place in the index: a resumed run makes the files of an uninterrupted one."""
    columns = (index[name].to_pylist() for name in ("view_id", "rgb_file_name", "rgb_sha256", "caption"))
    items = [
        ViewItem(view_id, key, root / Path(rgb).parent, group, sha256 or "", caption or "")
        for view_id, rgb, sha256, caption, key, group in zip(
            *columns, compute_keys(stage, index), _groups(index), strict=True
        )
    ]
    for shard in cut_shards(items, shard_views, stage.whole_sets):
        if todo := tuple(item for item in shard if item.key not in known_keys):
            yield todo


def cut_shards(items: Sequence[ViewItem], size: int, whole_sets: bool) -> list[ViewShard]:
    """Parts of at least `size` items (the last may have fewer), in order of each set's first view; sets stay whole."""
    if not whole_sets:
        return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
    first = {item.group: place for place, item in reversed(list(enumerate(items)))}
    parts: list[ViewShard] = []
    for _, group in groupby(sorted(items, key=lambda item: first[item.group]), key=lambda item: item.group):
        if parts and len(parts[-1]) < size:
            parts[-1] += tuple(group)
        else:
            parts.append(tuple(group))
    return parts


def read_view(dataset: Dataset, item: ViewItem) -> View:
    """The view of an item; BlendsetError where its record is not the one that the index was made from."""
    record = read_record(item.folder / VIEW_RECORD, ViewRecord)
    entry = record.files.get(RGB)
    if entry is None or entry.sha256 != item.rgb_sha256:
        raise BlendsetError(f"{item.folder} is not what {INDEX} says; render again, which rebuilds the index.")
    return View(record, item.folder, _scene(dataset.scene_path(record.scene)), item.caption)


@lru_cache(maxsize=16)
def _scene(path: Path) -> SceneRecord:
    return read_record(path, SceneRecord)

# SPDX-License-Identifier: Apache-2.0
"""What a stage still has to compute: the views without a valid row, cut into shards.

Each row has a key over its inputs. A row is valid where its key is the one of the view's inputs of today, so that
nothing is computed twice and no stale row is used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from blendset.dataset import INDEX, VIEW_RECORD, Dataset, get_picture_name, read_scene_record
from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset.naming import name_view_set
from blendset.records import SceneRecord, ViewRecord, encode_json, read_record
from blendset_trainer.stages.stage import INPUTS, StageRecord, View

SHARD_VIEWS, BATCH_VIEWS = 256, 16
"""Views that a killed run loses at most, and views in memory at a time; whole view sets can make both larger."""


def compute_keys(stage: StageRecord, index: pa.Table) -> list[str]:
    """Return the key (32 hex digits) of each view's row by its inputs of today; `index` is from `tables.read_index`.

    For a stage that reads whole sets, the key of a view covers the inputs of all views of its set.
    """
    columns = ["view_id", *(column for name, column in INPUTS.items() if name in stage.reads)]
    inputs = pc.binary_join_element_wise(
        *(index[name] for name in columns), "\0", null_handling="replace", null_replacement=""
    )
    identity = sha256_bytes(encode_json(stage))
    view_keys = [_hash_key(identity, text) for text in inputs.to_pylist()]
    if not stage.whole_sets:
        return view_keys
    members: dict[str, list[str]] = {}
    groups = _find_groups(index)
    for group, key in zip(groups, view_keys, strict=True):
        members.setdefault(group, []).append(key)
    set_keys = {group: _hash_key(*sorted(keys)) for group, keys in members.items()}
    return [_hash_key(key, set_keys[group]) for group, key in zip(groups, view_keys, strict=True)]


def _hash_key(*parts: str) -> str:
    return sha256_bytes("".join(parts).encode())[:32]


def _find_groups(index: pa.Table) -> list[str]:
    """Return the name of each view's set; a view of no set is a set of its own."""
    columns = (index[name].to_pylist() for name in ("scene", "view_set", "view_id"))
    return [name_view_set(*row) for row in zip(*columns, strict=True)]


@dataclass(frozen=True)
class ViewItem:
    """A view whose row is missing: what a worker needs to find, check and key it. `group` is its view set."""

    view_id: str
    key: str
    folder: Path
    group: str
    rgb_sha256: str
    caption: str


ViewShard = tuple[ViewItem, ...]
"""Views whose rows go into one file."""


def find_missing_shards(
    root: Path, stage: StageRecord, index: pa.Table, known_keys: Collection[str], shard_views: int = SHARD_VIEWS
) -> Iterator[ViewShard]:
    """Yield shards of the views without a valid row, whose keys are not in `known_keys`.

    Shards are cut by position in the index, so that a resumed run makes the same files as an uninterrupted one.
    """
    keys = compute_keys(stage, index)
    if all(key in known_keys for key in keys):
        return
    columns = (index[name].to_pylist() for name in ("view_id", "rgb_file_name", "rgb_sha256", "caption"))
    items = [
        ViewItem(view_id, key, root / Path(rgb).parent, group, sha256 or "", caption or "")
        for view_id, rgb, sha256, caption, key, group in zip(*columns, keys, _find_groups(index), strict=True)
    ]
    for shard in cut_shards(items, shard_views, stage.whole_sets):
        if missing := tuple(item for item in shard if item.key not in known_keys):
            yield missing


def cut_shards(items: Sequence[ViewItem], size: int, whole_sets: bool) -> list[ViewShard]:
    """Return shards of at least `size` items (the last may have fewer). With `whole_sets`, no set is divided.

    Sets are in the order of their first views.
    """
    if not whole_sets:
        return [tuple(items[start : start + size]) for start in range(0, len(items), size)]
    first = {item.group: position for position, item in reversed(list(enumerate(items)))}
    shards: list[ViewShard] = []
    for _, group in groupby(sorted(items, key=lambda item: first[item.group]), key=lambda item: item.group):
        if shards and len(shards[-1]) < size:
            shards[-1] += tuple(group)
        else:
            shards.append(tuple(group))
    return shards


def read_view(dataset: Dataset, item: ViewItem) -> View:
    """Return the view of an item; BlendsetError where its record is not the one that the index was made from."""
    record = read_record(item.folder / VIEW_RECORD, ViewRecord)
    entry = record.files.get(get_picture_name(record))
    if entry is None or entry.sha256 != item.rgb_sha256:
        raise BlendsetError(f"{item.folder} is not what {INDEX} says; render again, which rebuilds the index.")
    return View(record, item.folder, _read_scene(dataset.scene_path(record.scene)), item.caption)


def load_view(dataset: Dataset, scene: str, view_id: str) -> View:
    """Return a view of a dataset by its scene and id; BlendsetError where a record is missing or damaged."""
    folder = dataset.view_folder(scene, view_id)
    return View(read_record(folder / VIEW_RECORD, ViewRecord), folder, _read_scene(dataset.scene_path(scene)))


@lru_cache(maxsize=16)
def _read_scene(path: Path) -> SceneRecord:
    return read_scene_record(path)

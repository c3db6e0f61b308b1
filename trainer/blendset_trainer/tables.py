# SPDX-License-Identifier: Apache-2.0
"""The dataset as tables: its index, and the index with every score and caption that its views have today.

Reads parquet and metadata.jsonl only, no view's folder, so that a million views open in seconds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from blendset.dataset import COLUMNS, INDEX, RECORD_COLUMNS, Dataset
from blendset.errors import BlendsetError
from blendset.records import atomic_write, sha256_bytes
from blendset_trainer.shards import keys
from blendset_trainer.stage_folders import ROW_COLUMNS, STAGE_RECORD, StageFolder
from blendset_trainer.stages import CAPTIONS, KINDS

CACHE = "cache"
BLOCK_BYTES = 32 << 20
"""Of metadata.jsonl, read at a time; a row must fit."""

_TEXT, _WHOLE, _NUMBER = pa.string(), pa.int64(), pa.float64()
_SEEN = pa.struct({"id": _WHOLE, "label": _TEXT, "pixels": _WHOLE, "share": _NUMBER})
_TYPES = dict.fromkeys(COLUMNS, _TEXT) | {
    "subject_objects": pa.list_(_WHOLE),
    "visible_objects": pa.list_(_SEEN),
    "world_from_camera": pa.list_(_NUMBER),
    **dict.fromkeys(("view_index", "width", "height", "samples", "seed"), _WHOLE),
    **dict.fromkeys(("fx", "fy", "cx", "cy", "azimuth_deg", "elevation_deg", "distance"), _NUMBER),
    **dict.fromkeys(("focal_length_mm", "visible_fraction", "subject_share", "truncation", "exposure_ev"), _NUMBER),
    "caption": _TEXT,
}


def index_table(dataset: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
    """The columns of metadata.jsonl, `caption` among them (null where there is none), one row per view.

    And `record_sha256`, of all that it holds of a view's record. `columns` are those wanted; None wants all.

    Kept as parquet in the cache, where there can be one, for as long as metadata.jsonl does not change. One that an
    older Blendset wrote with fewer columns is written again first. Raises BlendsetError where there are no views.
    """
    index = dataset.root / INDEX
    if not _has_every_column(index):
        dataset.rebuild_index()  # now, not after keys were made from what it lacks
    now = index.stat()
    if not now.st_size:
        raise BlendsetError(f"{dataset.root} holds no views yet; render a scene into it first.")
    cached = dataset.root / CACHE / f"index-{now.st_size}-{now.st_mtime_ns}.parquet"
    with suppress(OSError, pa.ArrowException):
        return pq.read_table(cached, columns=columns, partitioning=None)
    table = _parsed(dataset)
    with suppress(BlendsetError, OSError):  # a dataset on a disk that is read-only is read all the same
        _keep(table, cached)
    return table if columns is None else table.select(columns)


def _keep(table: pa.Table, cached: Path) -> None:
    data = io.BytesIO()
    pq.write_table(table, data)
    atomic_write(cached, data.getvalue())
    for old in set(cached.parent.glob("index-*.parquet")) - {cached}:
        old.unlink(missing_ok=True)


def _has_every_column(index: Path) -> bool:
    """Whether it is there with today's columns; its first row tells, for all rows have the same."""
    if not index.exists():
        return False
    with index.open("rb") as rows:
        first = rows.readline()
    try:
        return not first or set(COLUMNS) <= set(json.loads(first))
    except ValueError:
        return True  # damaged, which its reader will say


def _parsed(dataset: Dataset) -> pa.Table:
    path = dataset.root / INDEX
    parse = pa.json.ParseOptions(explicit_schema=pa.schema(_TYPES))
    try:
        table = pa.json.read_json(path, pa.json.ReadOptions(block_size=BLOCK_BYTES), parse)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); delete it: the next command rebuilds it.") from error
    rows = (row for batch in table.select(RECORD_COLUMNS).to_batches(max_chunksize=10_000) for row in batch.to_pylist())
    hashes = [sha256_bytes(json.dumps(row).encode()) for row in rows]
    return table.append_column("record_sha256", pa.array(hashes, _TEXT))


def joined(dataset: Dataset) -> pa.Table:
    """The index, and a column `<stage>.<figure>` for every stage of scores and captions; null where a view has no row.

    Only rows made from today's pictures and captions count. Where a stage was run with several versions, parameters or
    revisions, the last run counts; the metadata of a column's field names its folder, beside the figure's scale.
    """
    table = index_table(dataset)
    for folder in _newest_folders(dataset):
        figures = figures_today(folder, table)
        if figures is None:
            continue
        name = folder.record.name
        for field in figures.schema:
            told = {**(field.metadata or {}), "folder": folder.path.name}
            named = pa.field(f"{name}.{field.name}", field.type, metadata=told)
            table = table.append_column(named, figures[field.name])
    return table


def figures_today(folder: StageFolder, index: pa.Table) -> pa.Table | None:
    """The figures of a stage, a row per view of the index; null where none was made from the view's inputs of today.

    None before the first row.
    """
    rows = folder.rows()
    if rows is None:
        return None
    place = pc.index_in(pa.array(keys(folder.record, index)), rows["key"].combine_chunks())
    return rows.drop_columns(list(ROW_COLUMNS)).take(place)


def captions(dataset: Dataset, index: pa.Table, forms: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """The captions of each form ("short", "dense"), by form; null where no captioner said anything of today's view.

    Where several captioners did, the one that ran last counts.
    """
    said = {form: pa.chunked_array([pa.nulls(index.num_rows, _TEXT)]) for form in forms}
    for folder in reversed(_by_last_run(dataset, CAPTIONS)):
        figures = figures_today(folder, index)
        for form in forms:
            if figures is not None and form in figures.column_names:
                said[form] = pc.coalesce(said[form], figures[form])
    return said


def _newest_folders(dataset: Dataset) -> Iterator[StageFolder]:
    """The folder of each stage in which it ran last, by kind and name."""
    for kind in KINDS:
        newest = {folder.path.name.rpartition("-")[0]: folder for folder in _by_last_run(dataset, kind)}
        yield from (newest[name] for name in sorted(newest))


def _by_last_run(dataset: Dataset, kind: str) -> list[StageFolder]:
    """All folders of stages of a kind, the one that ran last at the end."""
    records = (dataset.root / kind).glob(f"*/{STAGE_RECORD}")
    in_time = sorted(records, key=lambda path: (path.stat().st_mtime_ns, path))
    return [StageFolder(path.parent) for path in in_time]

# SPDX-License-Identifier: Apache-2.0
"""The dataset as tables: its index, and the index with every score and caption that its views have today.

Reads parquet and metadata.jsonl only, no view's folder, so that a million views open in seconds.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from blendset.dataset import COLUMNS, INDEX, RECORD_COLUMNS, Dataset
from blendset.errors import BlendsetError
from blendset.files import atomic_write, sha256_bytes
from blendset_trainer.stages.folder import ROW_COLUMNS, STAGE_RECORD, StageFolder, read_parquet
from blendset_trainer.stages.shards import compute_keys
from blendset_trainer.stages.stage import CAPTIONS, KINDS

CACHE = "cache"
BLOCK_BYTES = 32 << 20
"""Of metadata.jsonl, read at a time; a row must fit."""

_BEGIN, _END = f'"{RECORD_COLUMNS[0]}": '.encode(), f', "{COLUMNS[COLUMNS.index(RECORD_COLUMNS[-1]) + 1]}": '.encode()
"""What stands before and behind the record's columns in a line; neither can be within a string, whose quotes have
backslashes."""

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


def read_index(dataset: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
    """The columns of metadata.jsonl, `caption` among them (null where there is none), one row per view.

    And `record_sha256`, of all that it holds of a view's record. `columns` are those wanted; None wants all.

    Kept as parquet in the cache, where there can be one, for as long as metadata.jsonl does not change. One that an
    older Blendset wrote with fewer columns is written again first. Raises BlendsetError where there are no views.
    """
    return _stamped_index(dataset, columns)[1]


def _stamped_index(dataset: Dataset, columns: Sequence[str] | None = None) -> tuple[str, pa.Table]:
    """The index, and the stamp of the file that it was read from."""
    index = dataset.root / INDEX
    if not _has_every_column(index):
        dataset.rebuild_index()  # now, not after keys were made from what it lacks
    now = index.stat()
    if not now.st_size:
        raise BlendsetError(f"{dataset.root} holds no views yet; render a scene into it first.")
    stamp = f"{now.st_size}-{now.st_mtime_ns}"
    return stamp, _cached(dataset, "views", stamp, lambda: _parsed(index), columns)


def _cached(
    dataset: Dataset, name: str, stamp: str, make: Callable[[], pa.Table], columns: Sequence[str] | None = None
) -> pa.Table:
    """A table from the cache, where it lies under the stamp of all that it is made from; else made, and kept there."""
    cached = dataset.root / CACHE / f"{name}-{stamp}.parquet"
    with suppress(OSError, pa.ArrowException):
        return read_parquet(cached, columns)
    table = make()
    with suppress(BlendsetError, OSError):  # a dataset on a disk that is read-only is read all the same
        _keep(table, cached, f"{name}-*.parquet")
    return table if columns is None else table.select(columns)


def _keep(table: pa.Table, cached: Path, older: str) -> None:
    data = io.BytesIO()
    pq.write_table(table, data)
    atomic_write(cached, data.getbuffer())
    for old in set(cached.parent.glob(older)) - {cached}:
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


def _parsed(index: Path) -> pa.Table:
    parse = pa.json.ParseOptions(explicit_schema=pa.schema(_TYPES))
    try:
        table = pa.json.read_json(index, pa.json.ReadOptions(block_size=BLOCK_BYTES), parse)
    except (OSError, pa.ArrowException) as error:
        raise BlendsetError(f"{index} cannot be read ({error}); delete it: the next command rebuilds it.") from error
    return table.append_column("record_sha256", pa.array(_record_hashes(index), _TEXT))


def _record_hashes(index: Path) -> list[str]:
    """Of what each line says of a view's record, in the spelling of `Dataset.rebuild_index`.

    A line in that spelling is hashed as it stands, thirty times faster than it is parsed; the first tells whether the
    columns of all are in their order.
    """
    with index.open("rb") as rows:
        lines = (line for line in rows if not line.isspace())
        first = next(lines)
        in_order = tuple(json.loads(first))[: len(COLUMNS)] == COLUMNS
        return [sha256_bytes((in_order and _as_it_stands(line)) or _spelled(line)) for line in chain([first], lines)]


def _as_it_stands(line: bytes) -> bytes:
    """The part of a line that is of the record; empty where another spelling is possible."""
    begin = line.find(_BEGIN)
    end = line.find(_END, begin)
    return b"" if min(begin, end) < 0 or b"\\" in line[begin:end] else line[begin:end]


def _spelled(line: bytes) -> bytes:
    row = json.loads(line)
    spelled = json.dumps({column: row.get(column) for column in RECORD_COLUMNS}, ensure_ascii=False)
    return spelled[1:-1].encode(errors="replace")


def read_index_with_stages(dataset: Dataset) -> pa.Table:
    """The index, and a column `<stage>.<figure>` for every stage of scores and captions; null where a view has no row.

    Only rows made from today's pictures and captions count. Where a stage was run with several versions, parameters or
    revisions, the last run counts; the metadata of a column's field names its folder, beside the figure's scale.

    Figures are kept in the cache in the index's order, for as long as neither it nor the stage's folder changes.
    """
    stamp, index = _stamped_index(dataset)
    fields, columns = list(index.schema), list(index.columns)
    for folder in _newest_folders(dataset):
        if not folder.list_shards():
            continue
        made_from = f"{stamp} {folder.compute_stamp()}".encode()
        name = f"{folder.path.parent.name}-{folder.path.name}"
        figures = _cached(dataset, name, sha256_bytes(made_from)[:16], partial(read_valid_columns, folder, index))
        for field in figures.schema:
            told = {**(field.metadata or {}), "folder": folder.path.name}
            fields.append(pa.field(f"{folder.record.name}.{field.name}", field.type, metadata=told))
        columns += figures.columns
    return pa.table(columns, pa.schema(fields))


def read_valid_columns(folder: StageFolder, index: pa.Table) -> pa.Table | None:
    """The figures of a stage, a row per view of the index; null where none was made from the view's inputs of today.

    None before the first row.
    """
    rows = folder.read_rows()
    if rows is None:
        return None
    place = pc.index_in(pa.array(compute_keys(folder.record, index)), rows["key"].combine_chunks())
    return rows.drop_columns(list(ROW_COLUMNS)).combine_chunks().take(place)


def read_captions(dataset: Dataset, index: pa.Table, forms: Sequence[str]) -> dict[str, pa.ChunkedArray]:
    """The captions of each form ("short", "dense"), by form; null where no captioner said anything of today's view.

    Where several captioners did, the one that ran last counts.
    """
    said = {form: pa.chunked_array([pa.nulls(index.num_rows, _TEXT)]) for form in forms}
    for folder in reversed(_by_last_run(dataset, CAPTIONS)):
        figures = read_valid_columns(folder, index)
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

# SPDX-License-Identifier: Apache-2.0
"""The dataset as tables: its index, alone and joined with every score and caption that its views have today.

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

from blendset.dataset import CACHE, COLUMNS, INDEX, INDEX_CURE, RECORD_COLUMNS, Dataset
from blendset.errors import BlendsetError, describe_value
from blendset.files import atomic_write, explain_read_errors, sha256_bytes
from blendset.records import decode_json
from blendset_trainer.stages.caption_forms import DENSE
from blendset_trainer.stages.folder import ROW_COLUMNS, STAGE_RECORD, StageFolder, read_parquet
from blendset_trainer.stages.shards import compute_keys
from blendset_trainer.stages.stage import CAPTIONS, KINDS, SCORES, Stage

BLOCK_BYTES = 32 << 20
"""How much of metadata.jsonl is parsed at a time; a line must fit."""

_BEGIN, _END = f'"{RECORD_COLUMNS[0]}": '.encode(), f', "{COLUMNS[COLUMNS.index(RECORD_COLUMNS[-1]) + 1]}": '.encode()
"""What stands before and after the record's columns in a line. Neither can be within a string, where quotes have
backslashes."""

_TEXT, _INTEGER, _NUMBER = pa.string(), pa.int64(), pa.float64()
_VISIBLE_OBJECT = pa.struct({"id": _INTEGER, "label": _TEXT, "pixels": _INTEGER, "share": _NUMBER})
_TYPES = dict.fromkeys(COLUMNS, _TEXT) | {
    "subject_objects": pa.list_(_INTEGER),
    "visible_objects": pa.list_(_VISIBLE_OBJECT),
    "world_from_camera": pa.list_(_NUMBER),
    **dict.fromkeys(("view_index", "width", "height", "samples", "seed"), _INTEGER),
    **dict.fromkeys(("fx", "fy", "cx", "cy", "azimuth_deg", "elevation_deg", "distance"), _NUMBER),
    **dict.fromkeys(("focal_length_mm", "visible_fraction", "subject_share", "truncation", "exposure_ev"), _NUMBER),
    "caption": _TEXT,
}

ColumnSummary = dict[str, float | None]
"""Of one column: how many "views" have a number, and the "lowest", "mean" and "highest" of these."""


def read_index(dataset: Dataset, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the index, one row per view: the columns of metadata.jsonl, and `record_sha256`.

    `record_sha256` is the hash of all that the line holds of the view's record. `caption` is null where there is none.
    `columns` are those to read; None reads all. Raises BlendsetError where there are no views.

    The table is cached as parquet, where the disk can be written to, for as long as metadata.jsonl does not change. An
    index that an older Blendset wrote with fewer columns is rebuilt first.
    """
    return _read_stamped_index(dataset, columns)[1]


def _read_stamped_index(dataset: Dataset, columns: Sequence[str] | None = None) -> tuple[str, pa.Table]:
    """Return a stamp of metadata.jsonl, and the index that was read from it."""
    index = dataset.root / INDEX
    if not _has_every_column(index):
        dataset.rebuild_index()  # now, before keys are computed from columns that it lacks
    state = index.stat()
    if not state.st_size:
        raise BlendsetError(
            f"{dataset.root} holds no views yet, for {INDEX} is empty; render a scene into it, or delete the file."
        )
    stamp = f"{state.st_size}-{state.st_mtime_ns}"
    return stamp, _read_cached(dataset, "views", stamp, lambda: _parse_index(index), columns)


def _read_cached(
    dataset: Dataset, name: str, stamp: str, make: Callable[[], pa.Table], columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the table that is cached under this name and stamp; else make it and cache it."""
    cached = dataset.root / CACHE / f"{name}-{stamp}.parquet"
    with suppress(OSError, pa.ArrowException):
        return read_parquet(cached, columns)
    table = make()
    with suppress(BlendsetError, OSError):  # a dataset on a read-only disk is still read
        _write_cached(table, cached, f"{name}-*.parquet")
    return table if columns is None else table.select(columns)


def _write_cached(table: pa.Table, cached: Path, older: str) -> None:
    """Write a table to the cache, and delete the older ones that match a pattern."""
    data = io.BytesIO()
    pq.write_table(table, data)
    atomic_write(cached, data.getbuffer())
    for old in set(cached.parent.glob(older)) - {cached}:
        old.unlink(missing_ok=True)


def _has_every_column(index: Path) -> bool:
    """Return whether the index exists and has today's columns. Its first line decides, for all have the same."""
    if not index.exists():
        return False
    with explain_read_errors(index, INDEX_CURE), index.open("rb") as rows:
        first = rows.readline()
    with suppress(ValueError):
        row = decode_json(first)
        return not isinstance(row, dict) or set(COLUMNS) <= row.keys()
    return True  # empty or damaged, which `_parse_index` reports


def _parse_index(index: Path) -> pa.Table:
    parse = pa.json.ParseOptions(explicit_schema=pa.schema(_TYPES))
    with explain_read_errors(index, INDEX_CURE):
        hashes = _hash_records(index)
        with index.open("rb") as lines:
            table = pa.json.read_json(lines, pa.json.ReadOptions(block_size=BLOCK_BYTES), parse)
        return table.append_column("record_sha256", pa.array(hashes, _TEXT))


def _hash_records(index: Path) -> list[str]:
    """Return a hash per line over the columns of the view's record, as `Dataset.rebuild_index` writes them.

    A line in that spelling is hashed without being parsed, which is thirty times faster. The first line tells whether
    all lines have their columns in order. Raises ValueError for a line that is no object: pyarrow crashes at `null`.
    """
    with index.open("rb") as rows:
        lines = (_check_line(line) for line in rows if not line.isspace())
        first = next(lines, b"")
        in_order = tuple(decode_json(first))[: len(COLUMNS)] == COLUMNS
        return [
            sha256_bytes((in_order and _cut_record(line)) or _respell_record(line)) for line in chain([first], lines)
        ]


def _check_line(line: bytes) -> bytes:
    if not (line.startswith(b"{") and line.rstrip().endswith(b"}")):
        raise ValueError(f"a line is no object but {describe_value(line)}")
    return line


def _cut_record(line: bytes) -> bytes:
    """Return the part of a line that holds the record; empty where it could be spelled in another way."""
    begin = line.find(_BEGIN)
    end = line.find(_END, begin)
    return b"" if min(begin, end) < 0 or b"\\" in line[begin:end] else line[begin:end]


def _respell_record(line: bytes) -> bytes:
    """Parse a line and return its record in the spelling of `Dataset.rebuild_index`."""
    row = decode_json(line)
    spelled = json.dumps({column: row.get(column) for column in RECORD_COLUMNS}, ensure_ascii=False)
    return spelled[1:-1].encode(errors="replace")


def read_index_with_stages(dataset: Dataset) -> pa.Table:
    """Return the index with a column `<stage>.<column>` for each column of each scorer and captioner.

    A view has null where no row was made from its picture and caption of today. Where a stage ran with several
    versions, parameters or revisions, the last run counts. The metadata of a field holds its `scale` and the `folder`
    of its stage.

    The columns of a stage are cached in the index's order, for as long as neither it nor the stage's folder changes.
    """
    stamp, index = _read_stamped_index(dataset)
    fields, arrays = list(index.schema), list(index.columns)
    for folder in _find_newest_folders(dataset):
        if not folder.list_shards():
            continue
        sources = f"{stamp} {folder.compute_stamp()}".encode()
        name = f"{folder.path.parent.name}-{folder.path.name}"
        columns = _read_cached(dataset, name, sha256_bytes(sources)[:16], partial(read_valid_columns, folder, index))
        for field in columns.schema:
            metadata = {**(field.metadata or {}), "folder": folder.path.name}
            fields.append(pa.field(f"{folder.record.name}.{field.name}", field.type, metadata=metadata))
        arrays += columns.columns
    return pa.table(arrays, pa.schema(fields))


def read_valid_columns(folder: StageFolder, index: pa.Table) -> pa.Table | None:
    """Return a stage's columns, one row per view of the index; None where the stage has no rows at all.

    A view has null where no row was made from its inputs of today.
    """
    rows = folder.read_rows()
    if rows is None:
        return None
    positions = pc.index_in(pa.array(compute_keys(folder.record, index)), rows["key"].combine_chunks())
    return rows.drop_columns(list(ROW_COLUMNS)).combine_chunks().take(positions)


def read_captions(
    dataset: Dataset, index: pa.Table, forms: Sequence[str], of_sets: bool | None = None
) -> dict[str, pa.ChunkedArray]:
    """Return an array of captions per form (see `caption_forms`), one per view of the index, null where there is none.

    Where several captioners described today's picture of a view, the one that ran last counts. `of_sets` takes those
    that describe whole view sets (True) or single views (False) only; they may have more forms, such as "quality".
    """
    captions = {form: pa.chunked_array([pa.nulls(index.num_rows, _TEXT)]) for form in forms}
    for folder in reversed(_sort_by_last_run(dataset, CAPTIONS)):
        if of_sets is not None and folder.record.whole_sets != of_sets:
            continue
        columns = read_valid_columns(folder, index)
        for form in forms:
            if columns is not None and form in columns.column_names:
                captions[form] = pc.coalesce(captions[form], columns[form])
    return captions


def read_last_score(dataset: Dataset, index: pa.Table, prefix: str, column: str) -> tuple[str, pa.ChunkedArray] | None:
    """Return the name of the scorer that ran last of those whose names begin so, and its column, one row per view of
    the index; None where there is none.
    """
    for folder in reversed(_sort_by_last_run(dataset, SCORES)):
        columns = read_valid_columns(folder, index) if folder.record.name.startswith(prefix) else None
        if columns is not None and column in columns.column_names:
            return folder.record.name, columns[column]
    return None


def read_dense_captions(dataset: Dataset, captioner: Stage) -> dict[str, str]:
    """Return the dense captions that one captioner made of today's pictures, by view id."""
    index = read_index(dataset)
    columns = read_valid_columns(StageFolder.from_stage(dataset.root, captioner), index)
    if columns is None:
        return {}
    captions = zip(index["view_id"].to_pylist(), columns[DENSE].to_pylist(), strict=True)
    return {view_id: dense for view_id, dense in captions if dense}


def summarize_columns(table: pa.Table, names: Sequence[str]) -> dict[str, ColumnSummary]:
    """Return a summary of each named column that holds numbers; null and what is not finite do not count.

    True is 1 and false is 0, so that the mean is the share of what is true.
    """
    summaries: dict[str, ColumnSummary] = {}
    for name in names:
        column = table[name] if name in table.column_names else pa.array([], pa.float64())
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        if pa.types.is_floating(column.type):
            column = column.filter(pc.is_finite(column))
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            ends = pc.min_max(column).as_py()
            summaries[name] = {
                "views": len(column) - column.null_count,
                "lowest": ends["min"],
                "mean": pc.mean(column).as_py(),
                "highest": ends["max"],
            }
    return summaries


def _find_newest_folders(dataset: Dataset) -> Iterator[StageFolder]:
    """Yield, by kind and name of stage, the folder in which that stage ran last."""
    for kind in KINDS:
        newest = {folder.path.name.rpartition("-")[0]: folder for folder in _sort_by_last_run(dataset, kind)}
        yield from (newest[name] for name in sorted(newest))


def _sort_by_last_run(dataset: Dataset, kind: str) -> list[StageFolder]:
    """Return the folders of all stages of a kind; the one that ran last comes last."""
    records = (dataset.root / kind).glob(f"*/{STAGE_RECORD}")
    in_time = sorted(records, key=lambda path: (path.stat().st_mtime_ns, path))
    return [StageFolder(path.parent) for path in in_time]

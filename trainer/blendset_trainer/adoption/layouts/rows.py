# SPDX-License-Identifier: Apache-2.0
"""Files of rows, Arrow's and parquet: columns of all rows without the pictures, and single rows with them."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.errors import BlendsetError, describe_error
from blendset.files import READ_ERRORS
from blendset_trainer.adoption.layouts.local_files import describe_damage

ROW_ERRORS = (*READ_ERRORS, pa.ArrowException)
"""What is raised over a damaged file of rows."""
BATCH_ROWS, KEPT_BATCHES = 16, 4
"""Rows of a parquet file that are read at once, and how many such batches stay in memory."""
LISTED_ROWS = 4096
_BUFFER_BYTES = 1 << 20
_FILE_MARK = b"ARROW1"


@dataclass(frozen=True)
class RowFiles:
    """The files of a dataset, each with the split that it is of, and the folder in which pictures beside them lie.

    What is in a cache may go at any time, so that pictures there are copied.
    """

    title: str
    folder: Path
    files: Sequence[tuple[str, Path]]
    licence: str = ""
    is_cache: bool = False


class RowFile(Protocol):
    """A file of rows; `fault` says why it holds fewer than it did, "" where it is sound."""

    schema: pa.Schema
    num_rows: int
    fault: str

    def iterate(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows with these columns, which parquet names to the field: "image.path"; raises ROW_ERRORS."""

    def read_row(self, number: int, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return the row with this number, counted from 0; may be called in any thread; raises ROW_ERRORS."""


def open_rows(path: Path) -> RowFile:
    """Open a file of rows by the ending of its name; BlendsetError where it cannot be read."""
    try:
        rows: RowFile = ParquetRows(path) if path.suffix.lower() == ".parquet" else ArrowRows(path)
        _decode_names(rows.schema)
        return rows
    except ROW_ERRORS as error:
        raise BlendsetError(
            f"{path} cannot be read ({describe_damage(path, error)}); write or fetch it again."
        ) from error


def _decode_names(fields: Iterable[pa.Field]) -> None:
    """Raise UnicodeDecodeError where the name of a column, or of a part of one, is no text: pyarrow does so late."""
    for field in fields:
        if field.name and pa.types.is_struct(field.type):
            _decode_names(field.type)


class ArrowRows:
    """The rows of an Arrow file, which lie in memory only where they are looked at."""

    def __init__(self, path: Path) -> None:
        source = pa.memory_map(str(path))
        is_file = source.read(len(_FILE_MARK)) == _FILE_MARK
        source.seek(0)
        self.schema, self.fault = pa.schema([]), ""
        self._batches: list[pa.RecordBatch] = []
        reader = pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)
        self.schema = reader.schema
        try:
            for batch in (reader.get_batch(each) for each in range(reader.num_record_batches)) if is_file else reader:
                batch.validate(full=True)  # or a damaged file would be read outside of itself
                self._batches.append(batch)
        except ROW_ERRORS as error:
            if not self._batches:
                raise
            self.fault = describe_error(error)
        self._ends = list(accumulate(batch.num_rows for batch in self._batches))
        self.num_rows = self._ends[-1] if self._ends else 0

    def iterate(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows with these columns."""
        names = list(dict.fromkeys(column.partition(".")[0] for column in columns))
        yield from (batch.select(names) for batch in self._batches)

    def read_row(self, number: int, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return the row with this number."""
        index = bisect_right(self._ends, number)
        batch = self._batches[index]
        start = self._ends[index] - batch.num_rows
        return dict(batch.select(list(columns)).slice(number - start, 1).to_pylist()[0])


class ParquetRows:
    """The rows of a parquet file, which are read in batches, for a row of a parquet file cannot be read alone.

    Rows that are asked for nearly in order are read once.
    """

    def __init__(self, path: Path) -> None:
        self.fault = ""
        self._path = path
        self._file = pq.ParquetFile(path.open("rb"), buffer_size=_BUFFER_BYTES)
        self.schema = self._file.schema_arrow
        metadata = self._file.metadata
        self.num_rows = metadata.num_rows
        self._ends = list(accumulate(metadata.row_group(each).num_rows for each in range(metadata.num_row_groups)))
        self._lock = threading.Lock()
        self._kept: deque[tuple[int, pa.RecordBatch]] = deque(maxlen=KEPT_BATCHES)
        self._forget()

    def _forget(self) -> None:
        self._kept.clear()
        self._group, self._next = -1, 0
        self._coming: Iterator[pa.RecordBatch] = iter(())

    def iterate(self, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """Yield all rows with these columns."""
        with pq.ParquetFile(self._path.open("rb")) as file:  # its own, for single rows are read in between
            yield from file.iter_batches(LISTED_ROWS, columns=list(columns))

    def read_row(self, number: int, columns: Sequence[str]) -> Mapping[str, Any]:
        """Return the row with this number."""
        with self._lock:
            try:
                start, batch = self._find_batch(number, columns)
            except ROW_ERRORS:
                self._forget()
                raise
        return dict(batch.slice(number - start, 1).to_pylist()[0])

    def _find_batch(self, number: int, columns: Sequence[str]) -> tuple[int, pa.RecordBatch]:
        """The batch with a row, and the number of its first row."""
        for start, batch in self._kept:
            if start <= number < start + batch.num_rows:
                return start, batch
        group = bisect_right(self._ends, number)
        if group != self._group or number < self._next:
            self._coming = self._file.iter_batches(BATCH_ROWS, row_groups=[group], columns=list(columns))
            self._group, self._next = group, self._ends[group - 1] if group else 0
        while True:
            start, batch = self._next, next(self._coming, None)
            if batch is None:
                raise EOFError("its rows end too early")
            self._kept.append((start, batch))
            self._next += batch.num_rows
            if number < self._next:
                return start, batch

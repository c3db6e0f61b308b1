# SPDX-License-Identifier: Apache-2.0
"""Tables of captions beside pictures: metadata.jsonl, .csv or .parquet, as `load_dataset("imagefolder")` names them."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from blendset.errors import BlendsetError, describe_error
from blendset.files import read_text_file
from blendset.records import decode_json
from blendset_trainer.readers.images import read_image_bytes

OnGuess = Callable[[str], None]
"""Called with a sentence about an encoding that had to be guessed."""
Rows = Iterator[tuple[str, Any]]
"""Each row after its place in words, such as "metadata.csv, line 3"."""

FILE_NAME = "file_name"
CAPTION_COLUMNS = ("text", "caption")
"""What the column of captions may be called: by others, and in our own datasets. The first that there is counts."""
SEPARATORS = ",;\t"
"""Between the cells of a .csv: of most programs, of spreadsheets where the comma is in numbers, of others."""


def read_caption_table(path: Path, on_guess: OnGuess) -> Iterator[tuple[str, str]]:
    """The file names and captions of a table, "" where a row has none; a name may come more than once.

    Raises BlendsetError, which names the line, for what is no table of these.
    """
    for where, row in READERS[path.suffix](path, on_guess):
        name = row.get(FILE_NAME) if isinstance(row, Mapping) else None
        column = next((column for column in CAPTION_COLUMNS if isinstance(row, Mapping) and column in row), None)
        if not name or not isinstance(name, str) or column is None:
            raise BlendsetError(f"{where}, has no file_name and text (or caption); mend or remove it.")
        caption = row[column]
        if caption is not None and not isinstance(caption, str):
            raise BlendsetError(f"{where}, has {caption!r:.40} where a caption should be; mend or remove it.")
        yield name, (caption or "").strip()


def _read_json_lines(path: Path, on_guess: OnGuess) -> Rows:
    for number, line in enumerate(read_text_file(path, on_guess).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = decode_json(line)
            except ValueError as error:
                raise BlendsetError(f"{where}, is no JSON ({error}); mend or remove it.") from error
            yield where, row


def _read_csv(path: Path, on_guess: OnGuess) -> Rows:
    text = read_text_file(path, on_guess)
    head = text.partition("\n")[0]
    separator = max(SEPARATORS, key=head.count)
    reader = csv.DictReader(io.StringIO(text), delimiter=separator, strict=True)
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row:
                raise BlendsetError(
                    f"{where}, has more cells than the first line; put quotes around text that holds '{separator}'."
                )
            yield where, row
    except csv.Error as error:
        raise BlendsetError(f"{path}, line {reader.line_num}, is no CSV ({error}); mend or remove it.") from error


def _read_parquet(path: Path, on_guess: OnGuess) -> Rows:
    try:
        table = pq.read_table(pa.BufferReader(read_image_bytes(path)))
        known = [name for name in (FILE_NAME, *CAPTION_COLUMNS) if name in table.column_names]
        rows = table.select(known).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BlendsetError(f"{path} is no readable parquet file ({describe_error(error)}); write it again.") from error
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


READERS: Mapping[str, Callable[[Path, OnGuess], Rows]] = {
    ".jsonl": _read_json_lines,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""By the ending of a table's name."""
TABLES = tuple(f"metadata{ending}" for ending in READERS)
"""The names of such tables."""

# SPDX-License-Identifier: Apache-2.0
"""Tables of texts: captions beside pictures, as `load_dataset("imagefolder")` names them (metadata.jsonl, .csv or
.parquet), and texts alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
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
LICENCE_COLUMNS = ("licence", "license")
ORIGIN_COLUMNS = ("url", "coco_url", "flickr_url", "source_url", "image_url", "origin")
CREATOR_COLUMNS = ("creator", "author", "artist", "photographer")
FACT_COLUMNS = (*LICENCE_COLUMNS, *ORIGIN_COLUMNS, *CREATOR_COLUMNS)
"""What else tables say of a picture, under the names that others give it. The first that says something counts."""
SEPARATORS = ",;\t"
"""Between the cells of a .csv: of most programs, of spreadsheets where the comma is in numbers, of others."""


def read_caption_table(path: Path, on_guess: OnGuess) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """The file names and captions of a table, "" where a row has none, each with its row; a name may come again.

    Of a row at least the captions and FACT_COLUMNS are read. Raises BlendsetError, which names the line, for what is no
    table of these.
    """
    for where, row in READERS[path.suffix](path, on_guess, (FILE_NAME, *CAPTION_COLUMNS, *FACT_COLUMNS)):
        name = row.get(FILE_NAME) if isinstance(row, Mapping) else None
        if not name or not isinstance(name, str) or find_column(row, CAPTION_COLUMNS) is None:
            raise BlendsetError(f"{where}, has no file_name and text (or caption); mend or remove it.")
        yield name, read_text(where, row, CAPTION_COLUMNS, "caption"), row


def find_column(row: Any, columns: Sequence[str]) -> str | None:
    """The first of the columns that a row has; None where it has none, or is no row."""
    return next((column for column in columns if isinstance(row, Mapping) and column in row), None)


def read_text(where: str, row: Any, columns: Sequence[str], what: str) -> str:
    """The text in the first of the columns that a row has, "" for none; BlendsetError for no such column, and for what
    is no text. `what` is what it should be, in words.
    """
    column = find_column(row, columns)
    if column is None:
        raise BlendsetError(f"{where}, has no {what}; give it under {' or '.join(columns)}, or remove it.")
    if row[column] is not None and not isinstance(row[column], str):
        raise BlendsetError(f"{where}, has {row[column]!r:.40} where a {what} should be; mend or remove it.")
    return (row[column] or "").strip()


def _read_json_lines(path: Path, on_guess: OnGuess | None, columns: Sequence[str]) -> Rows:
    for number, line in enumerate(read_text_file(path, on_guess).split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                row = decode_json(line)
            except ValueError as error:
                raise BlendsetError(f"{where}, is no JSON ({error}); mend or remove it.") from error
            yield where, row


def _read_csv(path: Path, on_guess: OnGuess | None, columns: Sequence[str]) -> Rows:
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


def _read_parquet(path: Path, on_guess: OnGuess | None, columns: Sequence[str]) -> Rows:
    try:
        table = pq.read_table(pa.BufferReader(read_image_bytes(path)))
        rows = table.select([name for name in columns if name in table.column_names]).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BlendsetError(f"{path} is no readable parquet file ({describe_error(error)}); write it again.") from error
    yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


READERS: Mapping[str, Callable[[Path, OnGuess | None, Sequence[str]], Rows]] = {
    ".jsonl": _read_json_lines,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""By the ending of a table's name: a reader of at least these columns. Without `OnGuess` no encoding is guessed."""
TABLES = tuple(f"metadata{ending}" for ending in READERS)
"""The names of such tables."""

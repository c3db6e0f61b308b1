# SPDX-License-Identifier: Apache-2.0
"""Hugging Face datasets: what save_to_disk made, parquet files with pictures inside, or a dataset on the Hub.

The library `datasets` only fetches what is on the Hub; its Arrow files, and parquet, are read here, row by row.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from textwrap import shorten

import pyarrow as pa
import pyarrow.compute as pc

from blendset.errors import BlendsetError, describe_error
from blendset.files import READ_ERRORS
from blendset.records import decode_json
from blendset_trainer.adoption.layouts.huggingface_files import find_row_files
from blendset_trainer.adoption.layouts.local_files import find_inside, stamp_file
from blendset_trainer.adoption.layouts.rows import ROW_ERRORS, RowFile, RowFiles, open_rows
from blendset_trainer.adoption.layouts.tally import Tally
from blendset_trainer.adoption.layouts.words import (
    CAPTION_KEYS,
    CREATOR_KEYS,
    LICENCE_KEYS,
    ORIGIN_KEYS,
    build_content,
    collect_words,
    read_text,
)
from blendset_trainer.adoption.pictures import PictureContent, SourcePicture
from blendset_trainer.readers.images import read_image_bytes

OPEN_FILES = 4
"""Files of rows that are open at once."""
PICTURE_COLUMNS = ("image", "img", "picture", "jpg", "jpeg", "png", "webp")
"""Names of columns of bytes that are taken for pictures; columns of the library's type Image are, under any name."""
WORD_COLUMNS = (*CAPTION_KEYS, *LICENCE_KEYS, *ORIGIN_KEYS, *CREATOR_KEYS)


def open_source(source: str) -> HuggingFaceSource:
    """Return the pictures of a dataset: a folder, a file, or an id of the Hub, each with #SPLIT behind it or without.

    Raises SettingsError where there is no such dataset or split, and BlendsetError where it cannot be fetched.
    """
    return HuggingFaceSource(find_row_files(source))


class HuggingFaceSource:
    """The pictures in the rows of some files."""

    is_picklable = False

    def __init__(self, found: RowFiles) -> None:
        self.title = found.title
        self.licence = found.licence
        self.found = found
        self.tally = Tally()
        self.splits = list(dict.fromkeys(split for split, _ in found.files))
        self._open = lru_cache(maxsize=OPEN_FILES)(open_rows)

    @property
    def findings(self) -> tuple[str, ...]:
        """Sentences about rows and files that are not used."""
        several = f"all splits are adopted, {', '.join(filter(None, self.splits))}; add #SPLIT to adopt one"
        return self.tally.format_sentences() + ((several,) if len(self.splits) > 1 else ())

    def list_pictures(self) -> Iterator[SourcePicture]:
        """Yield the pictures of all rows, in order."""
        self.tally = Tally()
        for split in self.splits:
            count = 0
            for path in (path for name, path in self.found.files if name == split):
                try:
                    rows = self._open(path)
                except BlendsetError as error:
                    self.tally.add("files of rows that cannot be read", str(error).rpartition(";")[0])
                    continue
                yield from self._list_rows(path, rows, f"{split}/" if len(self.splits) > 1 else "", count)
                count += rows.num_rows

    def _list_rows(self, path: Path, rows: RowFile, prefix: str, count: int) -> Iterator[SourcePicture]:
        """The pictures of a file that comes behind `count` rows of its split."""
        column, stamp = self._find_column(path, rows.schema), stamp_file(path)
        for number, name in enumerate(self._list_names(path, rows, column)):
            if name is None:
                self.tally.add("rows without a picture", f"{prefix}row {count + number + 1}")
                continue
            read = partial(self._read, path, number, column)
            yield SourcePicture(prefix + (name or f"row {count + number + 1}"), f"{stamp} {number}", read)

    def _list_names(self, path: Path, rows: RowFile, column: str) -> Iterator[str | None]:
        """The file name of the picture of each row, "" where it has none; None for a row without a picture."""
        if not pa.types.is_struct(rows.schema.field(column).type):
            yield from [""] * rows.num_rows
            return
        try:
            for batch in rows.iterate([f"{column}.path"]):
                pictures = batch.column(0)
                names = pc.struct_field(pictures, "path").to_pylist()
                yield from (
                    _shorten(name) if there else None
                    for name, there in zip(names, pictures.is_valid().to_pylist(), strict=True)
                )
        except ROW_ERRORS as error:
            rows.fault = describe_error(error)
        if rows.fault:
            what = "damaged files of rows, of which only what lies before the damage is used"
            self.tally.add(what, f"{path.name}: {rows.fault}")

    def _find_column(self, path: Path, schema: pa.Schema) -> str:
        """The column with pictures; BlendsetError where there is none."""
        columns = find_picture_columns(schema)
        if not columns:
            addresses = [name for name in ORIGIN_KEYS if name in schema.names]
            cure = "fetch the pictures with img2dataset first" if addresses else "choose one whose rows hold pictures"
            names = shorten(", ".join(schema.names), 200) or "none at all"
            raise BlendsetError(f"{path} has no column of pictures, but {names}; {cure}.")
        if not any(name in schema.names for name in CAPTION_KEYS):
            names = ", ".join(name for name in schema.names if name not in columns)
            self.tally.add(f"files of rows without a column of captions ({', '.join(CAPTION_KEYS)})", names)
        if columns[1:]:
            self.tally.add("columns of pictures that are not used", f"{columns[1]}")
        return columns[0]

    def _read(self, path: Path, number: int, column: str) -> PictureContent:
        try:
            rows = self._open(path)
            columns = [column, *(name for name in WORD_COLUMNS if name in rows.schema.names and name != column)]
            row = rows.read_row(number, columns)
        except ROW_ERRORS as error:
            raise BlendsetError(
                f"{path}, row {number + 1}, cannot be read ({describe_error(error)}); write or fetch the file again."
            ) from error
        data, file = self._read_picture(row[column], f"{path}, row {number + 1},")
        return build_content(data, collect_words({name: row[name] for name in columns[1:]}), file)

    def _read_picture(self, value: object, where: str) -> tuple[bytes, Path | None]:
        """The bytes of a picture, and the file beside the rows that they come from, if they do."""
        inside = value if isinstance(value, Mapping) else {"bytes": value}
        data, name = inside.get("bytes"), inside.get("path")
        if isinstance(data, bytes):
            return data, None
        if not isinstance(name, str) or not name:
            raise BlendsetError(f"{where} holds no picture; take it out, or fill it.")
        folder = self.found.folder.absolute()
        here = find_inside(folder, os.path.relpath(name, folder) if Path(name).is_relative_to(folder) else name)
        data = read_image_bytes(here, "put it there, or save the dataset with its pictures inside")
        return data, None if self.found.is_cache else here


def find_picture_columns(schema: pa.Schema) -> list[str]:
    """Return the columns that hold pictures, those called as PICTURE_COLUMNS first."""
    pictures = [field.name for field in schema if _holds_pictures(field, _list_image_features(schema))]
    known = [name for name in PICTURE_COLUMNS if name in pictures]
    return known + [name for name in pictures if name not in known]


def _holds_pictures(field: pa.Field, features: Collection[str]) -> bool:
    """Whether a column holds the library's pictures, or bytes under the name of a picture."""
    if pa.types.is_struct(field.type):
        names = {inner.name for inner in field.type}
        return {"bytes", "path"} <= names and (not features or field.name in features)
    is_bytes = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
    return is_bytes and (field.name in features or field.name.lower() in PICTURE_COLUMNS)


def _list_image_features(schema: pa.Schema) -> set[str]:
    """The columns that the library marks as pictures; a sound, too, is bytes and a path."""
    try:
        described = decode_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = described["info"]["features"].items()
        return {name for name, feature in features if feature.get("_type") == "Image"}
    except READ_ERRORS:
        return set()


def _shorten(name: str | None) -> str:
    """A file name without the folder of the machine that it was on; "" for none, and for what is no text."""
    text = read_text(name)
    path = PurePosixPath(text.replace("\\", "/"))
    return path.name if path.is_absolute() or ".." in path.parts else text

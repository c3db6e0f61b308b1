# SPDX-License-Identifier: Apache-2.0
"""JSON files of any size, read one item after another; where an item lies in its file is enough to read it again."""

from __future__ import annotations

import codecs
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from blendset.errors import BlendsetError, describe_error
from blendset.files import explain_read_errors
from blendset.records import decode_json

CHUNK_BYTES = 1 << 20
HEAD_BYTES = 1 << 16
"""How much of a file is looked at to see what is in it."""
CURE = "restore it, or mend it"
_DECODER = json.JSONDecoder()
_SPACES = " \t\r\n"


class Extent(NamedTuple):
    """Where the text of an item begins in its file, its length in bytes, and a checksum of it."""

    start: int
    size: int
    checksum: int


class JsonItem(NamedTuple):
    """An item of the list that a file is ("" for `key`), or of a list under a key; or all that is under a key."""

    key: str
    value: Any
    extent: Extent


def read_head(path: Path) -> bytes:
    """Return the first bytes of a file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def scan_json(path: Path) -> Iterator[JsonItem]:
    """Yield the items of a JSON file, which is a list or an object, or of a .jsonl, in order.

    Raises BlendsetError, which names the file and where in it, for what is no JSON.
    """
    is_lines = path.suffix.lower() == ".jsonl"
    with explain_read_errors(path, CURE), path.open("rb") as file:
        yield from _scan_lines(path, file) if is_lines else _scan_document(_Scanner(file))


def read_item(path: Path, extent: Extent) -> Any:
    """Return an item again; BlendsetError where the file is another one now."""
    with explain_read_errors(path, "run the command again, for the file was changed"), path.open("rb") as file:
        file.seek(extent.start)
        data = file.read(extent.size)
        if zlib.crc32(data) != extent.checksum:
            raise ValueError("its text has moved")
        return decode_json(data)


def _scan_lines(path: Path, file: BinaryIO) -> Iterator[JsonItem]:
    start = 0
    for number, line in enumerate(file, 1):
        if line.strip():
            try:
                value = decode_json(line.removeprefix(codecs.BOM_UTF8).decode())
            except ValueError as error:
                raise BlendsetError(f"{path}, line {number}, is no JSON ({describe_error(error)}); {CURE}.") from error
            yield JsonItem("", value, Extent(start, len(line), zlib.crc32(line)))
        start += len(line)


def _scan_document(scanner: _Scanner) -> Iterator[JsonItem]:
    yield from _scan_array(scanner, "") if scanner.peek() == "[" else _scan_object(scanner)
    if scanner.peek():
        scanner.fail("more follows behind its end")


def _scan_array(scanner: _Scanner, key: str) -> Iterator[JsonItem]:
    scanner.expect("[")
    if scanner.peek() == "]":
        scanner.expect("]")
        return
    while True:
        yield JsonItem(key, *scanner.read_value())
        if scanner.expect(",]") == "]":
            return


def _scan_object(scanner: _Scanner) -> Iterator[JsonItem]:
    scanner.expect("{")
    if scanner.peek() == "}":
        scanner.expect("}")
        return
    while True:
        key, _ = scanner.read_value()
        scanner.expect(":")
        if scanner.peek() == "[":
            yield from _scan_array(scanner, str(key))
        else:
            yield JsonItem(str(key), *scanner.read_value())
        if scanner.expect(",}") == "}":
            return


class _Scanner:
    """A place in a JSON text, of which only a part is in memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._text = ""
        self._at = 0
        self._is_whole = False
        mark = file.read(len(codecs.BOM_UTF8))
        self._offset = len(mark) if mark == codecs.BOM_UTF8 else 0
        file.seek(self._offset)

    def peek(self) -> str:
        """Return the next sign that is no space; "" at the end."""
        while True:
            sign = self._text[self._at : self._at + 1]
            if sign and sign not in _SPACES:
                return sign
            if sign:
                self._at, self._offset = self._at + 1, self._offset + 1
            elif self._is_whole:
                return ""
            else:
                self._read_more()

    def expect(self, signs: str) -> str:
        """Return the next sign and go on behind it; ValueError where it is none of these."""
        sign = self.peek()
        if not sign or sign not in signs:
            self.fail(f"there is {sign!r} where {' or '.join(signs)} should be" if sign else "it ends too early")
        self._at, self._offset = self._at + 1, self._offset + 1
        return sign

    def read_value(self) -> tuple[Any, Extent]:
        """Return the next value, and go on behind it; ValueError where there is none."""
        self.peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
                if end < len(self._text) or self._is_whole:  # else a number may go on
                    break
            except json.JSONDecodeError as error:
                if self._is_whole:
                    self.fail(error.msg)
            self._read_more()
        data = self._text[self._at : end].encode()
        extent = Extent(self._offset, len(data), zlib.crc32(data))
        self._at, self._offset = end, self._offset + len(data)
        return value, extent

    def fail(self, what: str) -> None:
        """Raise ValueError that says where in the file this is so."""
        raise ValueError(f"{what}, at byte {self._offset}")

    def _read_more(self) -> None:
        data = self._file.read(max(CHUNK_BYTES, len(self._text) - self._at))
        self._is_whole = not data
        self._text = self._text[self._at :] + self._decoder.decode(data, final=not data)
        self._at = 0

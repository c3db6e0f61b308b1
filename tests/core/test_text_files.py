# SPDX-License-Identifier: Apache-2.0
"""Text is read as whatever editor wrote it, and what was guessed is said."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.errors import BlendsetError
from blendset.files import decode_text, read_text_file

WORDS = "Ein Café in Łódź, 東京"


@pytest.mark.parametrize(
    "data",
    [
        WORDS.encode(),
        WORDS.encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + WORDS.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + WORDS.encode("utf-16-be"),
        WORDS.encode("utf-32"),
    ],
)
def test_text_with_and_without_a_mark(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_bytes(data)
    assert read_text_file(tmp_path / "words.txt") == WORDS


def test_what_is_no_utf_8_is_read_as_windows_wrote_it_and_said() -> None:
    said: list[str] = []
    assert decode_text("Ein “Café” für 3 €".encode("cp1252"), "a.txt", said.append) == "Ein “Café” für 3 €"
    assert said == ["a.txt is no UTF-8 and was read as Windows-1252; save it as UTF-8 if letters came out wrong."]
    with pytest.raises(BlendsetError, match=r"a\.txt is no text in UTF-8; save it as UTF-8\."):
        decode_text("Café".encode("cp1252"), "a.txt")


@pytest.mark.parametrize("data", [b"a\0c\0", "words".encode("utf-16-le"), codecs.BOM_UTF16_LE + b"a", b"\x89\x81\x00"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(BlendsetError, match=r"a\.txt .*; save it as UTF-8\."):
        decode_text(data, "a.txt", lambda sentence: None)


def test_line_ends_of_all_systems() -> None:
    assert decode_text(b"one\r\ntwo\rthree\nfour", "a.txt") == "one\ntwo\nthree\nfour"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none", tmp_path / "a\0b"):
        with pytest.raises(BlendsetError, match=r" cannot be read \(.+\); give the path of a text file\."):
            read_text_file(path)


@given(st.binary(max_size=50))
def test_any_bytes_are_text_or_one_sentence(data: bytes) -> None:
    try:
        assert "\0" not in decode_text(data, "a.txt", lambda sentence: None)
    except BlendsetError as error:
        assert "\n" not in str(error)

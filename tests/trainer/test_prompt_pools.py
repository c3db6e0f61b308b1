# SPDX-License-Identifier: Apache-2.0
"""Pools of prompts of any origin: read as they are, and what is none said in one sentence with its line."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from blendset.errors import BlendsetError
from blendset_trainer.synthesis.prompts.pools import read_pool
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, write_prompts

TEXTS = ["A red fox, asleep.", "une théière", '"Two" owls']


@pytest.mark.parametrize("column", ["prompt", "text", "caption"])
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_table_of_any_library_is_read(tmp_path: Path, suffix: str, column: str) -> None:
    path = tmp_path / f"pool{suffix}"
    table = pa.table({"id": [1, 2, 3], column: TEXTS})
    if suffix == ".parquet":
        pq.write_table(table, path)
    elif suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        table.to_pandas().to_json(path, orient="records", lines=True)
    assert read_pool(path) == [Prompt(text, "", "free", {}, path.name, 0) for text in TEXTS]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_text_file_has_a_prompt_to_a_line(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "pool.TXT"
    path.write_bytes("\r\n".join(["", *TEXTS, "  ", "last "]).encode(encoding))
    assert [each.prompt for each in read_pool(path)] == [*TEXTS, "last"]


def test_our_prompts_stay_what_they_are(tmp_path: Path) -> None:
    ours = [Prompt("a", "x", "deformable", {"set": "x 0"}, "grammar", 3), Prompt("b", "", "free", {}, "me", 0)]
    path = tmp_path / "prompts.jsonl"
    write_prompts(path, ours)
    with path.open("a", encoding="utf-8") as file:
        file.write('\n{"caption": null}\n{"prompt": " c ", "model": "z"}\n')
    assert read_pool(path) == [
        *ours,
        Prompt("", "", "free", {}, path.name, 0),
        Prompt("c", "", "free", {}, path.name, 0),
    ]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("pool.txt", b"", "holds no prompt; give a file with a prompt to a line"),
        ("pool.jsonl", b" \n", "holds no prompt"),
        ("pool.csv", b"caption\n", "holds no prompt"),
        ("pool.docx", b"one", "is no pool of prompts; give a .txt, .json, .tsv, .jsonl, .csv or .parquet"),
        ("pool.parquet", b"PAR1", "is no readable parquet file"),
        ("pool.txt", b"one\ntwo\0\n", "holds no text, or text without a mark of its encoding (null byte in line 2)"),
        ("pool.jsonl", b'{"prompt": "a"}\n{"prompt": "b\\u0000"}', "line 2, has a null byte"),
        ("pool.jsonl", b'{"prompt": "b\\ud83d"}', "line 1, has a null byte or half of a character"),
        ("pool.jsonl", b'{"prompt": "a"}\n\n{"prompt": 3}', "line 3, has 3 where a prompt should be"),
        ("pool.jsonl", b'{"prompt": "a"}\n["b"]', "line 2, has no prompt; give it under prompt or text or caption"),
        ("pool.jsonl", b'{"promt": "a"}', "line 1, has no prompt"),
        ("pool.jsonl", b'{"prompt"', "line 1, is no JSON"),
        ("pool.csv", b"id,name\n1,a\n", "line 2, has no prompt"),
        ("pool.csv", b"id,text\n1,a,b\n", "line 2, has more cells than the first line"),
        ("pool.txt", b"th\xe9", "is no text in UTF-8; save it as UTF-8"),
        ("pool.jsonl", b'{"prompt": "a", "label": "", "kind": "fee", "parts": {}, "by": "", "seed": 0}', "'free'?"),
    ],
)
def test_what_is_no_pool_is_one_sentence(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BlendsetError, match=re.escape(says)) as caught:
        read_pool(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def test_a_pool_that_is_not_there(tmp_path: Path) -> None:
    for name in ("none.txt", "none.jsonl", "none.parquet"):
        with pytest.raises(BlendsetError, match="cannot be read"):
            read_pool(tmp_path / name)

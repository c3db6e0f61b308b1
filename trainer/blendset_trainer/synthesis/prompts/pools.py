# SPDX-License-Identifier: Apache-2.0
"""Pools of prompts of any origin: what `blendset prompts` wrote, a text file with a prompt to a line, and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.files import read_text_file
from blendset.options import structure
from blendset_trainer.readers.tables import CAPTION_COLUMNS, READERS, read_text
from blendset_trainer.synthesis.prompts.prompt_files import FREE, Prompt

PROMPT_COLUMNS = ("prompt", *CAPTION_COLUMNS)
"""What the column of prompts may be called; the first that there is counts."""
CURE = "give a file with a prompt to a line"
FORMATS = (".txt", *READERS)
_FIELDS = {field.name for field in fields(Prompt)}


def read_pool(path: Path) -> list[Prompt]:
    """The prompts of a file in their order: .txt with a prompt to a line, or .jsonl, .csv or .parquet with a column
    prompt, text or caption. A line that `blendset prompts` wrote stays what it is; any other is a prompt of kind "free"
    by the file's name. A row of a table may be empty, an empty line counts for nothing.

    Raises BlendsetError, which names the line, for what is no prompt, and for a file without any.
    """
    if path.suffix.lower() not in FORMATS:
        raise BlendsetError(f"{path} is no pool of prompts; give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    if not (prompts := [_check_text(where, prompt) for where, prompt in _read_prompts(path)]):
        raise BlendsetError(f"{path} holds no prompt; {CURE}.")
    return prompts


def read_texts(path: Path) -> list[str]:
    """The texts of a pool, or the lines of any other text file; BlendsetError for what cannot be read."""
    if path.suffix.lower() in FORMATS:
        return [prompt.prompt for prompt in read_pool(path)]
    return [line.strip() for line in read_text_file(path, cure=CURE).split("\n") if line.strip()]


def _read_prompts(path: Path) -> Iterator[tuple[str, Prompt]]:
    """The prompts of a file, each after its place in words."""
    for where, row in _read_rows(path):
        if path.suffix.lower() == ".jsonl" and isinstance(row, Mapping) and row.keys() >= _FIELDS:
            yield where, structure(Prompt, row, where)
        else:
            yield where, Prompt(read_text(where, row, PROMPT_COLUMNS, "prompt"), "", FREE, {}, path.name, 0)


def _read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    if path.suffix.lower() != ".txt":
        return READERS[path.suffix.lower()](path, None, PROMPT_COLUMNS)
    lines = read_text_file(path, cure=CURE).split("\n")
    return ((f"{path}, line {number}", {"text": line}) for number, line in enumerate(lines, 1) if line.strip())


def _check_text(where: str, prompt: Prompt) -> Prompt:
    """The prompt; BlendsetError for what JSON can hold and no text: a null byte, half of a character."""
    if "\0" in prompt.prompt or any("\ud800" <= letter <= "\udfff" for letter in prompt.prompt):
        raise BlendsetError(f"{where}, has a null byte or half of a character in its prompt; mend or remove it.")
    return prompt

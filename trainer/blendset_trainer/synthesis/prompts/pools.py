# SPDX-License-Identifier: Apache-2.0
"""Pools of prompts of any origin: what `blendset prompts` wrote, and any list of prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.options import structure
from blendset_trainer.readers.prompt_lists import CURE, FORMATS, read_prompt_rows
from blendset_trainer.synthesis.prompts.prompt_files import FREE, Prompt

_FIELDS = {field.name for field in fields(Prompt)}


def read_pool(path: Path) -> list[Prompt]:
    """The prompts of a file in their order, in any layout of `read_prompt_rows` with an ending of FORMATS. A line that
    `blendset prompts` wrote stays what it is; any other is a prompt of kind "free" by the file's name. A row of a table
    may be empty, an empty line counts for nothing.

    Raises BlendsetError, which names the line, for what is no prompt, and for a file without any.
    """
    if path.suffix.lower() not in FORMATS:
        raise BlendsetError(f"{path} is no pool of prompts; give a {', '.join(FORMATS[:-1])} or {FORMATS[-1]}.")
    has_own = path.suffix.lower() == ".jsonl"
    prompts = [
        structure(Prompt, row, where)
        if has_own and isinstance(row, Mapping) and row.keys() >= _FIELDS
        else Prompt(listed.prompt, "", FREE, {}, path.name, 0)
        for where, listed, row in read_prompt_rows(path)
    ]
    if not prompts:
        raise BlendsetError(f"{path} holds no prompt; {CURE}.")
    return prompts

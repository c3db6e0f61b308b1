# SPDX-License-Identifier: Apache-2.0
"""Prompts on disk: JSONL, one prompt to a line with what it was made from. A file that exists is never replaced."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.files import atomic_write, explain_read_errors, read_text_file
from blendset.options import REQUIRED, option, structure
from blendset.records import decode_json

RESTYLE, TEXT_TO_IMAGE, DEFORMABLE, FREE = KINDS = ("restyle", "text-to-image", "deformable", "free")
GRAMMAR, CAPTIONS = "grammar", "captions"
"""Who writes prompts without a model."""
SET_SIZE = 3
"""Prompts of one deformable subject that share a description (SynCD, arXiv 2502.01720)."""
SET, VIEW = "set", "view"
"""Parts of a prompt: the set of images that it belongs to, and the view that the caption is of."""


@dataclass(frozen=True)
class Prompt:
    """A prompt for a generator. `label` is that of the subjects it was written for, "" where it is for any."""

    prompt: str = option(REQUIRED, "what is to be seen")
    label: str = option(REQUIRED, "the subjects that it is for, or an empty text")
    kind: str = option(REQUIRED, "what it was written for", choices=KINDS)
    parts: Mapping[str, str] = option(REQUIRED, "what it was made from")
    by: str = option(REQUIRED, "who wrote it")
    seed: int = option(REQUIRED, "the seed that it was written with")


def read_prompts(path: Path) -> list[Prompt]:
    """Read the prompts that `write_prompts` wrote; BlendsetError names the file and the line that is wrong."""
    lines = _read_text(path).split("\n")
    return [structure(Prompt, _parse_object(line, where), where) for where, line in _number_lines(path, lines)]


def write_prompts(path: Path, prompts: Sequence[Prompt]) -> None:
    """Write prompts to a file. BlendsetError where the file holds other prompts already."""
    data = "".join(json.dumps(asdict(prompt), ensure_ascii=False) + "\n" for prompt in prompts).encode()
    if path.is_file() and path.read_bytes() != data:
        raise make_overwrite_error(path)
    atomic_write(path, data)


def make_overwrite_error(path: Path) -> BlendsetError:
    """The error for a file that holds other prompts."""
    return BlendsetError(f"{path} holds other prompts; choose another --out, or delete it first.")


def _read_text(path: Path) -> str:
    return read_text_file(path, cure="give a file with a prompt to a line")


def _number_lines(path: Path, lines: Sequence[str]) -> list[tuple[str, str]]:
    """The lines that are not empty, each after its file and number in words."""
    return [(f"{path}, line {number}", line) for number, line in enumerate(lines, 1) if line.strip()]


def _parse_object(line: str, where: str) -> dict[str, Any]:
    with explain_read_errors(where, "mend the line or write the file again"):
        value = decode_json(line)
    if not isinstance(value, dict):
        raise BlendsetError(f"{where} holds no prompt; mend the line or write the file again.")
    return value

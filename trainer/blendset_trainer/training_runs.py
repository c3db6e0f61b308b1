# SPDX-License-Identifier: Apache-2.0
"""The files of a training run that others read: its log, its timestep plan, pictures of its validation prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from blendset.errors import BlendsetError
from blendset.files import READ_ERRORS, explain_read_errors
from blendset.records import FORMAT_VERSION, decode_json, read_record

LOG = "log.jsonl"
"""One JSON object a line: means over some steps ("loss", "loss_by" source/band) or a validation ("held_out").

Each has "samples", the number of training samples so far.
"""
PLAN_JSON, PLAN_PNG = "timestep_plan.json", "timestep_plan.png"
VALIDATION = "validation"
"""The folder of picture grids, one for each validation, named by optimizer step."""
LINEAGE = "lineage.json"
"""Beside the weights: what they were trained on, and by which rules that was selected."""


@dataclass(frozen=True, kw_only=True)
class TrainedSource:
    """A source of a training: the name of its dataset or folder, its selection, and the rules of that as TOML; "" where
    there is none."""

    name: str
    kind: str
    dataset: str
    selection: str = ""
    selection_sha256: str = ""
    rules: str = ""


@dataclass(frozen=True, kw_only=True)
class LineageRecord:
    """The content of lineage.json; `base` is that of the base model, where it has one."""

    format_version: int = FORMAT_VERSION
    base_model: str
    sources: tuple[TrainedSource, ...]
    base: LineageRecord | None = None


def read_lineage(folder: Path) -> LineageRecord | None:
    """Return what the weights in a folder were trained on; None where nothing says it, BlendsetError for damage."""
    path = folder / LINEAGE
    return read_record(path, LineageRecord) if path.is_file() else None


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log but for a last one that a crash cut short; empty where there is no log.

    Raises BlendsetError where the log or another line cannot be read.
    """
    with explain_read_errors(path, "check the disk"):
        lines = path.read_bytes().splitlines() if path.exists() else []
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_parse_row(line))
        except READ_ERRORS as error:
            if number < len(lines):
                raise BlendsetError(f"{path}, line {number}, is damaged; remove the line.") from error
    return rows


def _parse_row(line: bytes) -> dict[str, Any]:
    """The object in a line; TypeError and others of READ_ERRORS for one that training does not write."""
    row: dict[str, Any] = decode_json(line)
    numbers = [row["step"], row["samples"], *row.get("loss_by", {}).values(), *row.get("held_out", {}).values()]
    if not all(type(number) in (int, float) for number in numbers):
        raise TypeError("it holds no numbers")
    return row


def read_loss_curves(log: Path, of: Literal["loss_by", "held_out"] = "loss_by") -> dict[str, list[tuple[int, float]]]:
    """Return, by "source/band", points of training samples and mean loss; `of` is the loss to take.

    "loss_by" is the loss of the training samples, "held_out" that of the held-out ones.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_log(log):
        for name, loss in row.get(of, {}).items():
            curves.setdefault(name, []).append((row["samples"], loss))
    return dict(sorted(curves.items()))

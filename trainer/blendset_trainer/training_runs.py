# SPDX-License-Identifier: Apache-2.0
"""What a training run leaves for others to read: its log, its plan, pictures of its validation prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from blendset.errors import BlendsetError

LOG = "log.jsonl"
"""Means over some steps ("loss", "loss_by" source/band, ...) and validations ("held_out"), each with "samples" seen."""
PLAN_JSON, PLAN_PNG = "timestep_plan.json", "timestep_plan.png"
VALIDATION = "validation"
"""Grids of the validation prompts, named by optimizer step."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log, without one that a crash cut short; empty where there is no log."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise BlendsetError(f"{path} cannot be read ({error}); check the disk.") from error
    rows = []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def read_loss_curves(log: Path, of: Literal["loss_by", "held_out"] = "loss_by") -> dict[str, list[tuple[int, float]]]:
    """Pictures seen and mean loss, by "source/band": of what was trained, or of the held-out samples."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_log(log):
        for name, loss in row.get(of, {}).items():
            curves.setdefault(name, []).append((row["samples"], loss))
    return dict(sorted(curves.items()))

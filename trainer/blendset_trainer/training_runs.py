# SPDX-License-Identifier: Apache-2.0
"""The files of a training run that others read: its log, its timestep plan, pictures of its validation prompts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from blendset.errors import BlendsetError

LOG = "log.jsonl"
"""One JSON object a line: means over some steps ("loss", "loss_by" source/band) or a validation ("held_out").

Each has "samples", the number of training samples so far.
"""
PLAN_JSON, PLAN_PNG = "timestep_plan.json", "timestep_plan.png"
VALIDATION = "validation"
"""The folder of picture grids, one for each validation, named by optimizer step."""


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log up to one that a crash cut short; empty where there is no log.

    Raises BlendsetError where the log cannot be read.
    """
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
    """Return, by "source/band", points of training samples and mean loss; `of` is the loss to take.

    "loss_by" is the loss of the training samples, "held_out" that of the held-out ones.
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in read_log(log):
        for name, loss in row.get(of, {}).items():
            curves.setdefault(name, []).append((row["samples"], loss))
    return dict(sorted(curves.items()))

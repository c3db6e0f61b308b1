# SPDX-License-Identifier: Apache-2.0
"""What the report shows of a training run: its plan, its losses by source and band, and pictures of its prompts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.records import read_json
from blendset_trainer.training_runs import LOG, PLAN_JSON, VALIDATION, read_log, read_loss_curves

MOST_PICTURES = 4
"""Grids of prompts: the last ones."""
Curve = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Training:
    """A run as the page shows it. `rows` are the plan's: source, band and shares; curves are pictures seen and mean
    loss, by "source/band"; `pictures` are grids of the prompts, named by the pictures seen, as data URIs."""

    name: str
    samples: int
    bands: Sequence[str]
    sources: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    trained: Mapping[str, Curve]
    held_out: Mapping[str, Curve]
    pictures: Sequence[tuple[int, str]]


def training_of(folder: Path) -> Training:
    """Read a run's folder; BlendsetError where it holds no run that has logged anything."""
    log = read_log(folder / LOG)
    if not log:
        raise BlendsetError(f"{folder} holds no log of a training run; give the 'out' folder of 'blendset train'.")
    plan = read_json(folder / PLAN_JSON)
    seen = {row["step"]: row["samples"] for row in log}
    grids = {int(path.stem.rpartition("-")[2]): path for path in folder.glob(f"{VALIDATION}/step-*.png")}
    shown = sorted(step for step in grids if step in seen)[-MOST_PICTURES:]
    return Training(
        name=folder.resolve().name,
        samples=log[-1]["samples"],
        bands=plan["bands"],
        sources=list(plan["sources"]),
        rows=plan["rows"],
        trained=read_loss_curves(folder / LOG),
        held_out=read_loss_curves(folder / LOG, "held_out"),
        pictures=[(seen[step], _data_uri(grids[step])) for step in shown],
    )


def _data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"

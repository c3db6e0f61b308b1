# SPDX-License-Identifier: Apache-2.0
"""The report's section on a training run: its plan, its losses by source and band, and pictures of its prompts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.records import read_json
from blendset_trainer.training_runs import LOG, PLAN_JSON, VALIDATION, read_log, read_loss_curves

MAX_GRIDS = 4
"""The most grids of validation prompts that the page shows: the last ones."""
Curve = Sequence[tuple[int, float]]
"""Samples trained and mean loss."""


@dataclass(frozen=True)
class TrainingSection:
    """A training run on the page.

    `rows` are the timestep plan's: source, band and shares. `trained` and `held_out` are curves by "source/band".
    `pictures` are grids of the validation prompts: samples trained until then, and a data URI.
    """

    name: str
    samples: int
    bands: Sequence[str]
    sources: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    trained: Mapping[str, Curve]
    held_out: Mapping[str, Curve]
    pictures: Sequence[tuple[int, str]]


def read_training_section(folder: Path) -> TrainingSection:
    """Read the section from a run's folder; BlendsetError where it holds no run that has logged anything."""
    log = read_log(folder / LOG)
    if not log:
        raise BlendsetError(f"{folder} holds no log of a training run; give the 'out' folder of 'blendset train'.")
    plan = read_json(folder / PLAN_JSON)
    samples_at = {row["step"]: row["samples"] for row in log}
    grids = {int(path.stem.rpartition("-")[2]): path for path in folder.glob(f"{VALIDATION}/step-*.png")}
    last_steps = sorted(step for step in grids if step in samples_at)[-MAX_GRIDS:]
    return TrainingSection(
        name=folder.resolve().name,
        samples=log[-1]["samples"],
        bands=plan["bands"],
        sources=list(plan["sources"]),
        rows=plan["rows"],
        trained=read_loss_curves(folder / LOG),
        held_out=read_loss_curves(folder / LOG, "held_out"),
        pictures=[(samples_at[step], _encode_data_uri(grids[step])) for step in last_steps],
    )


def _encode_data_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"

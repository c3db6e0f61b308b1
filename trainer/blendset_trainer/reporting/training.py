# SPDX-License-Identifier: Apache-2.0
"""The report's section on a training run: its plan, its losses by source and band, and pictures of its prompts."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.files import explain_read_errors
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
    bands, sources, rows = _read_plan(folder / PLAN_JSON)
    samples_at = {f"step-{row['step']:08d}": row["samples"] for row in log}
    grids = [path for path in sorted(folder.glob(f"{VALIDATION}/step-*.png")) if path.stem in samples_at]
    return TrainingSection(
        name=folder.resolve().name,
        samples=log[-1]["samples"],
        bands=bands,
        sources=sources,
        rows=rows,
        trained=read_loss_curves(folder / LOG),
        held_out=read_loss_curves(folder / LOG, "held_out"),
        pictures=[(samples_at[path.stem], _encode_data_uri(path)) for path in grids[-MAX_GRIDS:]],
    )


def _read_plan(path: Path) -> tuple[list[str], list[str], list[dict[str, Any]]]:
    """The bands, the sources and the rows of a run's plan."""
    plan = read_json(path)
    with explain_read_errors(path, "run 'blendset train --dry-run', which writes it anew"):
        rows = [{name: row[name] for name in ("source", "band", "responsibility")} for row in plan["rows"]]
        bands, sources = list(plan["bands"]), list(plan["sources"])
        known = {*bands, *sources}
        if not all({row["source"], row["band"]} <= known and row["responsibility"] >= 0 for row in rows):
            raise ValueError("it names a band or source that it does not have")
        return bands, sources, rows


def _encode_data_uri(path: Path) -> str:
    with explain_read_errors(path, "delete it, for only the page shows it"):
        return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"

# SPDX-License-Identifier: Apache-2.0
"""A plan as people and programs get it: the table, the JSON, the plot."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blendset_trainer.cli.console import print_table
from blendset_trainer.diffusion.noise import axis_from_name
from blendset_trainer.style import SERIES_COLOURS
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training.timesteps.report import PLAN_COLUMNS, format_plan_rows, write_timestep_plan
from blendset_trainer.training.timesteps.settings import (
    BandSettings,
    SourcePlanSettings,
    TimestepPlanSettings,
    timestep_plan_from_settings,
)
from blendset_trainer.training_runs import PLAN_JSON, PLAN_PNG

SAMPLES, DRAWS = {"render": 1200, "synthetic": 10_000}, 100_000


@pytest.fixture(scope="module")
def plan() -> TimestepPlan:
    settings = TimestepPlanSettings(reference="pixart-linear", loss_weighting="min-snr")
    bands = {"render": (BandSettings(),), "synthetic": (BandSettings(200, 1000, weight=4.0),)}
    return timestep_plan_from_settings(settings, bands, axis_from_name("sd-scaled-linear"), "epsilon")


def test_the_table_says_what_each_source_trains(plan: TimestepPlan, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(PLAN_COLUMNS, format_plan_rows(plan, SAMPLES, DRAWS))
    head, *rows = ([cell.strip() for cell in line.split("  ") if cell] for line in capsys.readouterr().out.splitlines())
    assert head[:5] == ["source", "samples", "share", "epochs", "levels"]
    assert rows[0][:7] == ["render", "1,200", "40.88%", "34.1", "t 0-260", "above 0.65", "0.000 to 0.420"]
    assert rows[1][:4] == ["t 261-999", "below 0.65", "0.420 to 1.000", "20.00%"]
    assert rows[2][:4] == ["synthetic", "10,000", "59.12%", "5.91"]
    assert rows[2][-2:] == ["59.12%", "59.12%"], "weights take nothing from a source"


def test_the_record_adds_up(plan: TimestepPlan, tmp_path: Path) -> None:
    write_timestep_plan(tmp_path, plan, SAMPLES, DRAWS)
    record = json.loads((tmp_path / PLAN_JSON).read_text(encoding="utf-8"))
    assert record["axis"] == "sd-scaled-linear"
    assert record["sources"]["render"]["epochs"] == pytest.approx(DRAWS * 0.4088 / 1200)
    for figure in ("mass", "effective_mass"):
        assert sum(row[figure] for row in record["rows"]) == pytest.approx(1)
    low, *_ = record["rows"]
    assert (low["source"], low["band"], low["log_snr"][0]) == ("render", "t 0-260", None)
    assert low["mass"] == pytest.approx(0.261)
    assert low["effective_mass"] < 0.9 * low["mass"], "min-SNR weighs the low-noise band down within its source"


def test_the_same_plan_gives_the_same_bytes(plan: TimestepPlan, tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_timestep_plan(tmp_path / name, plan, SAMPLES, DRAWS)
    for file in (PLAN_JSON, PLAN_PNG):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("axis", ["sd-scaled-linear", "sd-zero-snr", "flow", "edm"])
def test_the_plot_shows_who_trains_what(axis: str, tmp_path: Path) -> None:
    """Render alone covers the left of the upper plot, the synthetic source three quarters of the right."""
    bands = {"render": (BandSettings(),), "synthetic": (BandSettings(200, 1000, weight=3.0),)}
    base = {"flow": "logit-normal", "edm": "log-normal"}.get(axis, "uniform")
    write_timestep_plan(
        tmp_path,
        timestep_plan_from_settings(
            TimestepPlanSettings(reference="pixart-linear"), bands, axis_from_name(axis), "sample", base
        ),
        SAMPLES,
        DRAWS,
    )
    with Image.open(io.BytesIO((tmp_path / PLAN_PNG).read_bytes())) as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    render, synthetic = (_like(pixels[: len(pixels) // 2], colour) for colour in SERIES_COLOURS[:2])
    columns = np.flatnonzero(render.any(0))
    left, right = columns[len(columns) // 50], columns[-len(columns) // 50]
    assert synthetic[:, left].sum() == 0
    assert synthetic[:, right].sum() == pytest.approx(3 * render[:, right].sum(), rel=0.1)


def _like(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Where a picture has a colour, be it somewhat paler."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return np.asarray(np.abs(pixels - (0.85 * wanted + 0.15 * 247)).max(-1) < 12)


def test_a_hole_of_a_free_plan_is_told(tmp_path: Path) -> None:
    shares = {"render": SourcePlanSettings(0.5), "synthetic": SourcePlanSettings(0.5)}
    bands = {"render": (BandSettings(0, 0.2, "sigma"),), "synthetic": (BandSettings(0.5, 1, "sigma"),)}
    plan = timestep_plan_from_settings(
        TimestepPlanSettings(mode="free", sources=shares), bands, axis_from_name("flow"), "flow"
    )
    write_timestep_plan(tmp_path, plan, SAMPLES, DRAWS)
    said = json.loads((tmp_path / PLAN_JSON).read_text(encoding="utf-8"))["warnings"]
    assert said == ["sigma 0.2-0.5 is never trained."]

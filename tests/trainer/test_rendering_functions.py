# SPDX-License-Identifier: Apache-2.0
"""`plan`, `render` and `verify` as functions: options over settings over a configuration, progress, and no printing.

Workers are the stub of tests/core, as in test_cli.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blendset.config import Config, config_from_dict
from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.jobs.supervisor import Update
from blendset_trainer import PlanSettings, RenderSettings, plan, render, verify
from blendset_trainer.rendering import worker
from blendset_trainer.rendering.run_options import resolve_run_options
from tests.trainer.test_cli import scene, stub_command

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def stubbed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "find_worker", lambda choice: stub_command)


def test_render_and_verify_say_how_far_they_are_and_print_nothing(tmp_path: Path, capsys: Capture) -> None:
    updates: list[Update] = []
    steps: list[tuple[str, int, int]] = []
    summary = render(
        [scene(tmp_path, "room"), scene(tmp_path, "hall", views=4)],
        out=tmp_path / "data",
        views=9,
        on_update=updates.append,
        on_progress=lambda *step: steps.append(step),
    )
    assert summary.done
    assert [each.views for each in summary.scenes] == [3, 4]
    assert [update.kind for update in updates].count("view") == 7
    assert len(steps) == len(updates)
    assert steps[0][1:] == (0, 18)  # as many as were asked for, until it is known
    assert steps[-1] == (f"hall: {updates[-1].text}", 7, 7)
    assert verify(str(tmp_path / "data")).views == verify(Dataset(tmp_path / "data")).views == 7
    assert capsys.readouterr() == ("", "")


def test_plan_compares_presets_and_keeps_one(tmp_path: Path, capsys: Capture) -> None:
    path = scene(tmp_path, "room")
    report = plan(path, presets=("blendset", "random"))
    assert [each.preset for each in report.presets] == ["blendset", "random"]
    assert report.done
    assert not report.cancelled
    kept = plan(path, PlanSettings(out=tmp_path / "plan.json"), preset="random", seed=3)
    assert [each.preset for each in kept.presets] == ["random"]
    assert (tmp_path / "plan.json").is_file()
    assert capsys.readouterr() == ("", "")


def test_options_go_over_settings_and_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "small.toml").write_text("seed = 2\n[render]\nresolution = 64\n[cameras]\nviews = 5\n", "utf-8")
    given = RenderSettings(out=tmp_path / "first", mix_settings=True)
    options: dict[str, Any] = {"out": str(tmp_path / "second"), "views": 7, "frame": 3}
    settings, config = resolve_run_options(RenderSettings, given, str(tmp_path / "small.toml"), options)
    assert settings == RenderSettings(out=tmp_path / "second", mix_settings=True)
    wanted = {"seed": 2, "frame": 3, "render": {"resolution": 64}, "cameras": {"views": 7}}
    assert config == config_from_dict(wanted)
    assert resolve_run_options(RenderSettings, given, config, {"frame": None})[1].frame is None
    assert resolve_run_options(RenderSettings, given, None, {})[1] == Config()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda path: render(path), "RenderSettings lacks the option 'out'"),
        (lambda path: render(path, out="d", vews=3), "no option 'vews'; did you mean 'views'?"),
        (lambda path: render(path, out="d", mix_setting=True), "did you mean 'mix_settings'?"),
        (lambda path: render(path, out="d", views=0), "cameras.views is 0; it must be at least 1"),
        (lambda path: render(path, out="d", views="many"), "cameras.views is 'many'; it must be a whole number"),
        (lambda path: render(path, out="d", shard="3/2"), "must be I/N"),
        (lambda path: render(path, out="d", plan="nowhere.json"), "nowhere.json does not exist"),
        (lambda path: render(path, out="d", config="nowhere.toml"), "nowhere.toml cannot be read"),
        (lambda path: render("nowhere.blend", out="d"), "nowhere.blend does not exist; check the path"),
        (lambda path: plan(path, presets="blendst"), "presets is 'blendst'; did you mean 'blendset'?"),
        (lambda path: plan(path, out="p.json", presets=["random", "blendset"]), "--out keeps one plan"),
    ],
)
def test_what_cannot_be_asked_for_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[str], object], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = scene(tmp_path, "room")
    with pytest.raises(SettingsError) as error:
        call(path)
    assert said in str(error.value)
    assert os.listdir(tmp_path) == ["room.blend"]


def test_what_is_broken_is_a_failure_and_no_wrong_setting(tmp_path: Path) -> None:
    path, broken = scene(tmp_path, "room"), tmp_path / "plan.json"
    broken.write_text("{}", encoding="utf-8")
    calls: dict[str, Callable[[], object]] = {
        "give the folder of a dataset": lambda: verify(tmp_path / "nowhere"),
        "is no Blendset plan": lambda: render(path, out=tmp_path / "data", plan=broken),
    }
    for said, call in calls.items():
        with pytest.raises(BlendsetError, match=said) as error:
            call()
        assert not isinstance(error.value, SettingsError)


@pytest.mark.parametrize(
    ("lines", "absent"),
    [
        ("from blendset_trainer import plan, render, verify", {"torch", "rich", "pyarrow", "ray"}),
        ("from blendset_trainer.cli.main import main; main(['verify', DATASET])", {"torch", "ray", "scipy"}),
        ("from blendset_trainer.cli.main import build_parser; build_parser().format_help()", {"torch", "ray", "scipy"}),
        ("from blendset_trainer import sample, train, CalibrateSettings", {"torch", "rich", "diffusers"}),
    ],
)
def test_a_fresh_interpreter_loads_only_what_it_needs(tmp_path: Path, lines: str, absent: set[str]) -> None:
    render(scene(tmp_path, "room"), out=tmp_path / "data")
    program = f"import sys; DATASET = {str(tmp_path / 'data')!r}\n{lines}\nassert not {absent} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)

# SPDX-License-Identifier: Apache-2.0
"""`blender -b SCENE --command blendset ...` as Blender calls it: what is written, what is said, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import pytest

from blendset.dataset import Dataset
from blendset.verification import verify_dataset
from tests.addon import scenes
from tests.addon.runs import import_addon, read_scene_state

CONFIG = """
[cameras]
candidates = 32
[preview]
resolution = 48
samples = 4
"""


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """The options of a small run into tmp_path/dataset, with the tidy scene open."""
    scenes.tidy(tmp_path / "tidy.blend")
    (tmp_path / "small.toml").write_text(CONFIG, encoding="utf-8")
    sizes = ["--views", "3", "--resolution", "64", "--samples", "2", "--device", "cpu"]
    return ["render", "--out", str(tmp_path / "dataset"), "--config", str(tmp_path / "small.toml"), *sizes]


def read_lines(capfd: pytest.CaptureFixture[str]) -> tuple[list[str], list[str]]:
    """Our own lines on the two streams, without what Blender itself says."""
    streams = capfd.readouterr()
    own = [[line for line in text.splitlines() if line.startswith("blendset: ")] for text in streams]
    return own[0], own[1]


def run_command(arguments: list[str]) -> int:
    """The exit code of `--command blendset` with these arguments."""
    return int(import_addon("command").main(arguments))


def test_the_open_file_becomes_a_dataset(options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = read_scene_state(bpy.context.scene)
    assert run_command(options) == 0
    dataset = Dataset(tmp_path / "dataset")
    report = verify_dataset(dataset)
    assert report.views == 3 and not report.problems
    assert len((dataset.root / "metadata.jsonl").read_text(encoding="utf-8").splitlines()) == 3
    lines, errors = read_lines(capfd)
    assert not errors and "3 views of tidy-" in lines[-1] and str(dataset.root) in lines[-1]
    assert sum("/view" in line or "views/" in line for line in lines) >= 3
    after = read_scene_state(bpy.context.scene)
    assert [name for name in before if after[name] != before[name]] == []


def test_the_same_command_again_renders_nothing_twice(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(options) == 0
    files = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "dataset" / "views").rglob("*.*")
    }
    read_lines(capfd)
    assert run_command(options) == 0
    again = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in (tmp_path / "dataset" / "views").rglob("*.*")
    }
    assert len(files) == 9 and again == files
    assert not [line for line in read_lines(capfd)[0] if " s " in line]


def test_a_damaged_view_is_rendered_again_and_is_what_it_was(options: list[str], tmp_path: Path) -> None:
    assert run_command(options) == 0
    victims = sorted((tmp_path / "dataset" / "views").rglob("*.*"))
    whole = {path: path.read_bytes() for path in victims if path.name != "view.json"}
    damaged = [next(path for path in victims if path.name == name) for name in ("rgb.png", "passes.exr")]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:-100])
    assert run_command(options) == 0
    assert {path: path.read_bytes() for path in whole} == whole
    assert not verify_dataset(Dataset(tmp_path / "dataset")).problems


def test_other_settings_are_refused_until_asked_for(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(options) == 0
    read_lines(capfd)
    other = [*options, "--samples", "3"]
    assert run_command(other) == 1
    lines, (error,) = read_lines(capfd)
    assert "samples" in error and error.endswith(".") and not [line for line in lines if "views/" in line]
    assert run_command([*other, "--mix-settings"]) == 0
    assert "3 of them pass" in read_lines(capfd)[0][-1]  # though another run rendered them


@pytest.mark.parametrize(
    "wrong",
    [
        ["render"],
        ["render", "--out", "x", "--view", "3"],
        ["render", "--out", "x", "--preset", "nice"],
        ["render", "--out", "x", "--views", "many"],
        ["paint"],
        [],
    ],
    ids=" ".join,
)
def test_a_wrong_option_is_usage(wrong: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(wrong) == 2
    assert not list(tmp_path.iterdir())


def test_help_is_no_failure(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["render", "--help"]) == 0
    assert "--resolution" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("more", "about"),
    [
        (["--views", "0"], "--views"),
        (["--resolution", "1"], "--resolution"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--scene", "Attic"], "Attic"),
    ],
    ids=["views", "resolution", "config", "scene"],
)
def test_a_wrong_value_is_one_sentence(
    options: list[str], more: list[str], about: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command([*options, *more]) == 1
    _, (error,) = read_lines(capfd)
    assert about in error and error.endswith(".") and ". " not in error
    assert not list((tmp_path / "dataset").rglob("rgb.png"))


def test_with_no_scene_open_one_sentence_says_so(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["render", "--out", str(tmp_path / "dataset")]) == 1
    _, (error,) = read_lines(capfd)
    assert "No scene is open" in error and "blender -b" in error and error.endswith(".")
    assert not (tmp_path / "dataset").exists()


def test_an_output_that_is_no_folder_is_one_sentence(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for out in (tmp_path / "file", tmp_path / "file" / "dataset"):
        assert run_command([*options, "--out", str(out)]) == 1
        _, (error,) = read_lines(capfd)
        assert str(out) in error and error.endswith(".")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "in the way"


def test_a_folder_with_other_things_in_it_is_left_alone(
    options: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "beach.jpg").touch()
    assert run_command([*options, "--out", str(holiday)]) == 1
    _, (error,) = read_lines(capfd)
    assert "holiday" in error and [path.name for path in holiday.iterdir()] == ["beach.jpg"]


def test_debug_tells_where_an_error_comes_from(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--debug", "render", "--out", str(tmp_path / "dataset")]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_the_run_tells_what_it_was_made_of(options: list[str], tmp_path: Path) -> None:
    assert run_command(options) == 0
    (path,) = (tmp_path / "dataset" / "runs").glob("*.json")
    run = json.loads(path.read_text(encoding="utf-8"))
    assert run["blender"] == bpy.app.version_string and run["device"].startswith("CPU") and run["lighting"] == "scene"
    assert run["config"]["cameras"]["views"] == 3 and run["config"]["render"]["samples"] == 2

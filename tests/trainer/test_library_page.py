# SPDX-License-Identifier: Apache-2.0
"""docs/library.md: its code runs, as one notebook from the first block to the last, and shows every function."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import blendset_trainer
from blendset.dataset import Dataset
from blendset_trainer.rendering import worker
from tests.trainer.golden_inputs import make_rooms
from tests.trainer.test_cli import stub_command
from tests.trainer.tiny_pipelines import maker

PAGE = (Path(__file__).parents[2] / "docs/library.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SCENE = "SCENE.blend"


def run_blocks(blocks: list[str]) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "library"}
    for block in blocks:
        exec(compile(block, "docs/library.md", "exec"), names)
    return names


def test_what_needs_blender_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the stub of tests/core instead of a Blender."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "find_worker", lambda choice: stub_command)
    Path(SCENE).write_text(json.dumps({"name": "kitchen", "views": 3}), encoding="utf-8")
    names = run_blocks([block for block in BLOCKS if SCENE in block])
    assert [each.preset for each in names["funnels"].presets] == ["blendset", "blendfusion"]
    assert (names["summary"].done, names["checked"].views, names["checked"].problems) == (True, 3, ())


def test_all_else_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    make_rooms(Path("kitchen"))
    Path("prompts.txt").write_text("a red chair\na blue lamp\n", encoding="utf-8")
    shutil.copytree(maker(tmp_path / "models")("flux_depth"), "FLUX-DEPTH-MODEL")
    shutil.copytree(maker(tmp_path / "models")("pixart_sigma"), "MODEL")
    [config] = re.findall(r"^```toml\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    Path("kitchen.toml").write_text(config, encoding="utf-8")
    names = run_blocks([block for block in BLOCKS if SCENE not in block])
    out = capsys.readouterr().out
    promised = re.findall(r"print\(error\)  # (.*)", PAGE)
    assert len(promised) == 2
    assert all(sentence in out for sentence in promised)
    assert names["drawn"].failed == {}
    assert (names["made"].made, names["made"].failed, names["drawn"].made) == (24, {}, 4)
    assert (names["alone"].made, Dataset(Path("pictures")).record.name) == (2, "pictures")
    assert names["views"].num_rows == names["best"].selected == 6
    assert Dataset(Path("kitchen-again")).record == Dataset(Path("kitchen")).record
    assert Path("report.html").is_file()


def test_every_function_has_its_place() -> None:
    functions = {name for name in dir(blendset_trainer) if name.islower()}
    imported = {name for block in BLOCKS for line in re.findall(r"^from blendset_trainer import (.*)$", block, re.M)
                for name in line.split(", ")}  # fmt: skip
    assert functions <= imported


def test_the_script_is_as_short_as_it_says() -> None:
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 20

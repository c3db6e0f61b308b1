# SPDX-License-Identifier: Apache-2.0
"""Whole runs of `blendset` with a real Blender, for tests: how to start one, and what a dataset says when it is done.

The Blender is the one that `make` puts beside the trainer's environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from blendset.dataset import INDEX, Dataset
from blendset.files import sha256_file
from blendset.jobs.blenders import find_python
from blendset.verification import verify_dataset

ROOT = Path(__file__).resolve().parent.parent
BLENDER = find_python(ROOT / ".venv-blender")
BLENDSET = (sys.executable, "-m", "blendset_trainer.cli")
SETTINGS = """
[cameras]
views = {views}
candidates = 24
[preview]
resolution = 32
samples = 2
[render]
resolution = 48
samples = 2
device = "cpu"
[jobs]
views_per_child = {views_per_child}
"""


def require_blender() -> None:
    """Skip where there is no Blender, and fail where one must be there."""
    if BLENDER.exists():
        return
    missing = f"there is no {BLENDER.relative_to(ROOT)}; 'make test' makes it"
    if os.environ.get("BLENDSET_REQUIRE_BLENDERS") == "1":
        pytest.fail(missing)
    pytest.skip(missing)


def save_scene(path: Path, name: str = "tidy") -> Path:
    """A scene of tests/addon/scenes.py as a file."""
    code = (
        "import os, sys, bpy; from pathlib import Path; from tests.addon import scenes\n"
        f"scenes.{name}(Path(sys.argv[1])); os._exit(0)"
    )
    subprocess.run([BLENDER, "-c", code, path], cwd=ROOT, check=True, capture_output=True)
    return path


def settings(path: Path, *, views: int = 18, views_per_child: int = 200) -> Path:
    """A configuration file for runs of a few seconds."""
    path.write_text(SETTINGS.format(views=views, views_per_child=views_per_child), encoding="utf-8")
    return path


def command(*words: str | Path) -> list[str]:
    return [*BLENDSET, *map(str, words), *(("--blender", str(BLENDER)) if words[0] != "verify" else ())]


def blendset(*words: str | Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    """Run `blendset` to its end, which is to be this exit code."""
    done = subprocess.run(command(*words), cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=300)
    assert code in (None, done.returncode), f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def contents(root: Path) -> dict[str, Any]:
    """All that a dataset says, timings aside, with the hash of every picture and pass."""
    found: dict[str, Any] = {}
    for path in sorted((root / "views").rglob("*.*")):
        name = path.relative_to(root).as_posix()
        found[name] = sha256_file(path) if path.suffix != ".json" else json.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".json":
            del found[name]["timings"]
    for path in sorted(each for folder in ("scenes", "funnels") for each in (root / folder).glob("*.json*")):
        found[path.relative_to(root).as_posix()] = path.read_bytes()
    for path in sorted((root / "plans").glob("*.json")):
        plan = found[path.relative_to(root).as_posix()] = json.loads(path.read_text(encoding="utf-8"))
        plan.get("config", {}).pop("jobs", None)
    found[INDEX] = (root / INDEX).read_text(encoding="utf-8").splitlines()
    return found


def assert_same(root: Path, other: Path) -> None:
    """Two datasets say the same; names the first things that differ."""
    left, right = contents(root), contents(other)
    differ = sorted(name for name in {*left, *right} if left.get(name) != right.get(name))
    assert not differ, f"{len(differ)} of {len(right)} differ: {differ[:6]}"


def assert_sound(root: Path, views: int) -> None:
    report = verify_dataset(Dataset(root))
    assert (report.views, report.problems, report.debris) == (views, (), ())

# SPDX-License-Identifier: Apache-2.0
"""Crash safety with a real Blender: killed at twenty random moments and started again, a run ends as if undisturbed.

Slow; `make test-acceptance` runs it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blendset.dataset import VIEW_RECORD, Dataset
from tests.real_runs import ROOT, assert_same, blendset, command, require_blender, save_scene, settings

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are looked up in /proc")

SCENES = ("tidy", "no_light", "missing_textures")
VIEWS = 24
EARLY, LATE = 10, 10
"""Kills while a worker starts, opens its scene and plans; kills while it renders."""
PATIENCE_S = 120.0


class Run:
    """A command that is killed and started again. Its workers are known by its folder for temporary files."""

    def __init__(self, folder: Path, *words: str | Path) -> None:
        self.words = words
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        self._log = (folder / "log.txt").open("wb")
        self._process: subprocess.Popen[bytes] | None = None

    def go_on(self) -> None:
        """The same command again, unless it still runs."""
        if self._process is None or self._process.poll() is not None:
            environment = os.environ | {"TMPDIR": str(self._temporary)}
            self._process = subprocess.Popen(
                command(*self.words), cwd=ROOT, env=environment, stdout=self._log, stderr=subprocess.STDOUT
            )

    def living(self) -> list[int]:
        """Workers that live now, orphans too. One was asked for, so two would be writers at once."""
        parents = {
            int(folder.name): _parent(folder) for folder in Path("/proc").glob("[0-9]*") if self._is_worker(folder)
        }
        found = [pid for pid, parent in parents.items() if parent not in parents]
        assert len(found) <= 1, f"two workers live at once: {parents}"
        return found

    def _is_worker(self, process: Path) -> bool:
        """Whether it runs with a worker's words; so does, for a moment, what a worker forks to start a program."""
        words = _said(process / "cmdline")
        return "--events" in words and str(self._temporary) in words and _state(process)[:1] not in ([], ["Z"])

    def worker(self) -> int:
        """The worker, waited for."""
        until = time.monotonic() + PATIENCE_S
        while not (found := self.living()):
            assert time.monotonic() < until, "no worker comes"
            self.go_on()
            time.sleep(0.01)
        return found[0]

    def kill_worker(self) -> None:
        os.kill(self.worker(), signal.SIGKILL)

    def kill_supervisor(self) -> None:
        """Its worker is to end by itself."""
        self.worker()
        self.close()
        until = time.monotonic() + 2
        while self.living():
            assert time.monotonic() < until, "a worker outlived its supervisor by two seconds"
            time.sleep(0.01)

    def close(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait()


def _said(path: Path) -> str:
    """What a file in /proc says; nothing once its process is gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _state(process: Path) -> list[str]:
    """State, parent and more; a process that has ended and waits to be collected is in state Z."""
    return _said(process / "stat").rpartition(")")[2].split()


def _parent(process: Path) -> int:
    return int((_state(process) or "00")[1])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A run of three scenes into "out", not started yet; "calm" beside it is what an undisturbed one gives."""
    require_blender()
    (tmp_path / "scenes").mkdir()
    for name in SCENES:
        save_scene(tmp_path / "scenes" / f"{name}.blend", name)
    words = ("render", tmp_path / "scenes", "--config", settings(tmp_path / "small.toml", views=VIEWS), "--out")
    blendset(*words, tmp_path / "calm")
    disturbed = Run(tmp_path, *words, tmp_path / "out")
    disturbed.go_on()
    yield disturbed
    disturbed.close()


def test_killed_at_twenty_random_moments_it_ends_as_if_undisturbed(run: Run, tmp_path: Path) -> None:
    out, calm, chance = tmp_path / "out", tmp_path / "calm", random.Random(0)
    whole = {(view.scene, view.view_id) for view in Dataset(calm).views()}
    kills = [run.kill_worker, run.kill_supervisor] * ((EARLY + LATE) // 2)
    moments = ["early"] * (EARLY - 4) + chance.sample(["early"] * 4 + ["late"] * LATE, 4 + LATE)
    chance.shuffle(kills)
    for moment, kill in zip(moments, kills, strict=True):
        _wait_for_moment(run, out, moment, chance)
        assert len(_views(out)) < len(whole), "it was done before it was killed"
        kill()
        done = {(path.parent.parent.name, path.parent.name) for path in _views(out)}
        assert done <= whole
        assert all(Dataset(out).has_view(scene, view) for scene, view in done)
    print(f"{len(_views(out))} of {len(whole)} views were there after the last kill")
    run.close()
    blendset(*run.words)
    assert blendset("verify", out).stdout == f"{len(whole)} views are sound, 0 problems\n"
    assert_same(out, calm)
    assert _names(out / "runs") == _names(out / "plans") == _names(calm / "plans")


def _wait_for_moment(run: Run, out: Path, moment: str, chance: random.Random) -> None:
    """Early: some time after a worker was started, or with the first view. Late: a few views later."""
    run.worker()
    wanted = len(_views(out)) + (1 if moment == "early" else chance.randint(1, 5))
    until = time.monotonic() + (chance.uniform(0, 2.5) if moment == "early" else PATIENCE_S)
    while len(_views(out)) < wanted and time.monotonic() < until:
        run.go_on()
        run.living()
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.06))


def _views(root: Path) -> list[Path]:
    """Everything that is named as a view that exists."""
    return list((root / "views").glob(f"*/*/{VIEW_RECORD}"))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*.json")}

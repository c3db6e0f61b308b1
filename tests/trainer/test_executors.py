# SPDX-License-Identifier: Apache-2.0
"""Worker processes give the bytes that this process gives, whoever is killed among them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.run import run_stage
from tests.processes import is_running
from tests.trainer.tiny_datasets import files, thirty_views
from tests.trainer.tiny_stages import Mortal, Redness, Refusing


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return thirty_views(tmp_path / "data")


@pytest.fixture
def here(dataset: Dataset) -> dict[str, bytes]:
    """The files that this process makes; they are gone again."""
    folder = run_stage(dataset, Redness(), LocalExecutor(), shard_views=4).folder
    made = files(folder)
    shutil.rmtree(folder)
    return made


def mortal(folder: Path, lives: int) -> Mortal:
    folder.mkdir()
    for number in range(lives):
        (folder / str(number)).touch()
    return Mortal(dies_at="lamp-attic-0009", lives=folder)


def test_processes_give_the_same_bytes(dataset: Dataset, here: dict[str, bytes]) -> None:
    progress: list[tuple[str, int, int]] = []
    report = run_stage(dataset, Redness(), ProcessExecutor(2), lambda *each: progress.append(each), shard_views=4)
    assert files(report.folder) == here
    assert progress == sorted(progress)
    assert (progress[0], progress[-1]) == (("redness", 0, 30), ("redness", 30, 30))


def test_the_shard_of_a_killed_worker_is_done_by_another(dataset: Dataset, here: dict[str, bytes]) -> None:
    report = run_stage(dataset, mortal(dataset.root / "lives", 2), ProcessExecutor(2), shard_views=4)
    assert not list((dataset.root / "lives").iterdir()), "no worker was killed"
    assert files(report.folder) == here


def test_views_that_kill_every_worker_are_named(dataset: Dataset) -> None:
    stage = mortal(dataset.root / "lives", 9)
    with pytest.raises(BlendsetError, match="lamp-attic-0008 on ended 3 worker processes"):
        run_stage(dataset, stage, ProcessExecutor(1), shard_views=4)


def test_what_a_worker_cannot_do_is_said_by_its_parent(dataset: Dataset) -> None:
    with pytest.raises(BlendsetError, match="no model here"):
        run_stage(dataset, Refusing(), ProcessExecutor(2), shard_views=4)


def test_workers_end_in_their_shard_when_their_parent_is_killed(dataset: Dataset, tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from blendset.dataset import Dataset
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.run import run_stage
from tests.trainer.tiny_stages import Sleeping
if __name__ == "__main__":
    run_stage(Dataset(Path({str(dataset.root)!r})), Sleeping(log=Path({str(tmp_path)!r})), ProcessExecutor(2))
"""
    script = tmp_path / "script.py"
    script.write_text(code, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    parent = subprocess.Popen([sys.executable, str(script)], env=environment)
    wait_until(lambda: list(tmp_path.glob("*.pid")))
    workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
    parent.kill()
    parent.wait()
    wait_until(lambda: not any(map(is_running, workers)))


def wait_until(holds: Callable[[], object]) -> None:
    """Returns when something holds; fails after a minute."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)

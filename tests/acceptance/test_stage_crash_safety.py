# SPDX-License-Identifier: Apache-2.0
"""Stages whose whole run, workers or nodes are killed at random moments end with the bytes of an undisturbed run.

Slow; `make test-acceptance` runs it.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from blendset.dataset import Dataset
from blendset_trainer.scoring.image_stats import ImageStats
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.executors.ray import RayExecutor
from blendset_trainer.stages.run import run_stage
from tests.processes import is_running
from tests.real_runs import ROOT
from tests.run import REQUIRED
from tests.trainer.tiny_datasets import add_picture, add_scene, files, make_dataset

VIEWS, SHARD_VIEWS, KILLS = 720, 6, 10
PATIENCE_S = 120.0
RUN = f"""
import sys
from pathlib import Path
from blendset.dataset import Dataset
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.run import run_stage
from blendset_trainer.scoring.image_stats import ImageStats
run_stage(Dataset(Path(sys.argv[1])), ImageStats(), ProcessExecutor(2), shard_views={SHARD_VIEWS})
"""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Noise in all strengths, with a subject in each picture."""
    made, chance = make_dataset(tmp_path_factory.mktemp("stages") / "data"), np.random.default_rng(0)
    add_scene(made, "attic")
    ids = np.zeros((128, 128), np.uint32)
    ids[32:96, 32:96] = 1
    for number in range(VIEWS):
        picture = chance.integers(0, 1 + 255 * number // VIEWS, (128, 128, 3), np.uint8, endpoint=True)
        add_picture(made, "attic", "lamp", number, picture, ids, subject_objects=(1,))
    made.rebuild_index()
    return made


@pytest.fixture
def undisturbed(dataset: Dataset) -> dict[str, bytes]:
    """The files of a run that nobody disturbs; they are gone again."""
    shutil.rmtree(dataset.root / "scores", ignore_errors=True)
    folder = run_stage(dataset, ImageStats(), LocalExecutor(), shard_views=SHARD_VIEWS).folder
    made = files(folder)
    shutil.rmtree(folder)
    return made


def finished(folder: Path) -> dict[str, bytes]:
    """The files in a folder, without what killed writers left."""
    return {name: data for name, data in files(folder).items() if not name.endswith(".tmp")}


def shards(dataset: Dataset) -> int:
    return len(list((dataset.root / "scores").glob("*/*.parquet")))


def children(process: int) -> list[int]:
    listed = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in listed.read_text().split()] if listed.exists() else []


def wait_until(ready: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < until, what
        time.sleep(0.002)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="processes are looked up in /proc")
def test_killed_ten_times_a_run_ends_with_the_same_bytes(dataset: Dataset, undisturbed: dict[str, bytes]) -> None:
    chance, command = random.Random(0), [sys.executable, "-c", RUN, str(dataset.root)]
    for number in range(KILLS):
        before = shards(dataset)
        run = subprocess.Popen(command, cwd=ROOT)
        if number % 2:
            wait_until(lambda: shards(dataset) > before, "no shard comes")  # noqa: B023
        time.sleep(chance.uniform(0, 0.05 if number % 2 else 1))
        workers = children(run.pid)
        run.kill()
        run.wait()
        wait_until(lambda: not any(map(is_running, workers)), "workers outlive their parent")  # noqa: B023
    assert shards(dataset) < VIEWS / SHARD_VIEWS, "it was done before the last kill"
    subprocess.run(command, cwd=ROOT, check=True)
    folder = next((dataset.root / "scores").iterdir())
    assert finished(folder) == undisturbed


# --- Ray --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def lose_node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Two nodes on loopback, and the driver connected to them. Gives what removes the second.

    The first has room for one actor, so that the second always has one, and one has to wait when that is lost.
    """
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # looked at when ray is imported
    monkeypatch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    if not REQUIRED:
        pytest.importorskip("ray", reason="ray is not installed (the extra [ray])")
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    spare = made.add_node(num_cpus=3)
    made.connect()
    yield lambda: made.remove_node(spare, allow_graceful=False)
    ray.shutdown()
    made.shutdown()


def test_a_killed_actor_and_a_lost_node_change_nothing(
    dataset: Dataset, undisturbed: dict[str, bytes], lose_node: Callable[[], None]
) -> None:
    losses = {SHARD_VIEWS * 4: "actor", SHARD_VIEWS * 12: "node"}

    def disturb(what: str, done: int, total: int) -> None:
        loss = losses.pop(done, "")
        if loss == "actor":
            os.kill(_an_actor(), signal.SIGKILL)
        if loss == "node":
            lose_node()

    report = run_stage(dataset, ImageStats(), RayExecutor(), disturb, shard_views=SHARD_VIEWS)
    assert not losses
    assert finished(report.folder) == undisturbed


def _an_actor() -> int:
    """The process of one that is at work, among those that this process has started."""
    found = [os.getpid()]
    for process in found:
        found += children(process)
    return next(each for each in found if Path(f"/proc/{each}/cmdline").read_text().startswith("ray::_Actor"))

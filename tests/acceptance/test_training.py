# SPDX-License-Identifier: Apache-2.0
"""Training is killed with -9, at random and where it hurts, and ends with the weights of a run that never was; shared
by two processes it sees what one sees."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from blendset_trainer.training import loop, losses
from blendset_trainer.training.checkpoints import find_newest_checkpoint
from blendset_trainer.training.data.loader import Batch
from blendset_trainer.training.settings import TrainConfig
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training_runs import read_log
from tests.trainer import tiny_pipelines
from tests.trainer.tiny_datasets import thirty_views
from tests.trainer.tiny_runs import config_of, prepared

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="runs are forked, so that not each imports torch anew")
FORKED = multiprocessing.get_context("fork")
STEPS, BATCH, MICRO = 18, 4, 2
EPOCH_BOUNDARY = 30 // MICRO
"""The micro-batch that begins with the first view to be seen for the second time."""
SCHEDULES = {
    "epsilon": tiny_pipelines.stable_diffusion,
    "v": tiny_pipelines.stable_diffusion_2,
    "flow": tiny_pipelines.stable_diffusion_3,
}


def configured(folder: Path, out: str, method: str, epsilon: float = 1e-8) -> TrainConfig:
    return config_of(
        folder / "model",
        folder / "dataset",
        folder / out,
        model={"method": method, "rank": 4},
        train={"samples": STEPS * BATCH, "micro_batch": MICRO, "checkpoint_every": BATCH, "ema": 0.9},
        optimizer={"learning_rate": 1e-3, "epsilon": epsilon},
        source=[{"name": "render", "dataset": str(folder / "dataset"), "captions": {"short": 0.0, "dense": 0.0}}],
    )


Watch = Callable[[Batch, torch.Tensor], None]
"""Called before every forward pass with the batch and its noise levels."""


def in_a_process(config: TrainConfig, watch: Watch = lambda batch, levels: None, **environment: str) -> Any:
    """Start a run in a process of its own."""

    def work() -> None:
        torch.set_num_threads(1)
        os.environ.update(environment)
        drawn = losses.sample_levels

        def watched(plan: TimestepPlan, batch: Batch, seed: int) -> torch.Tensor:
            levels = drawn(plan, batch, seed)
            watch(batch, levels)
            return levels

        setattr(loop, "sample_levels", watched)  # noqa: B010 - a name that the loop imports, not one that it offers
        loop.run_training_loop(*prepared(config))

    process = FORKED.Process(target=work)
    process.start()
    return process


def finished(folder: Path, out: str) -> dict[str, torch.Tensor]:
    found = find_newest_checkpoint(folder / out / "checkpoints")
    assert found is not None and found.step == STEPS
    return {
        f"{part}/{name}": value for part in ("weights", "averaged") for name, value in found.load_tensors(part).items()
    }


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("schedule", list(SCHEDULES))
def test_killed_runs_end_as_one_that_never_was(tmp_path: Path, schedule: str, method: str) -> None:
    SCHEDULES[schedule](tmp_path / "model")
    thirty_views(tmp_path / "dataset")
    whole = in_a_process(configured(tmp_path, "whole", method))
    whole.join()
    assert whole.exitcode == 0
    chosen = random.Random(f"{schedule} {method}")
    inside_accumulation = 2 * chosen.randrange(STEPS) + 1
    deaths = {EPOCH_BOUNDARY, inside_accumulation, *(chosen.randrange(2 * STEPS) for _ in range(10))}
    for death in sorted(deaths):
        told, tells = FORKED.Pipe(duplex=False)

        def tell(batch: Batch, levels: torch.Tensor, death: int = death, tells: Any = tells) -> None:
            if batch.number == death:
                tells.send(death)
                FORKED.Event().wait()  # for the kill

        process = in_a_process(configured(tmp_path, "killed", method), tell)
        assert told.poll(300)
        process.kill()
        process.join()
        assert process.exitcode == -9
    in_a_process(configured(tmp_path, "killed", method)).join()
    one, other = finished(tmp_path, "whole"), finished(tmp_path, "killed")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_two_processes_see_what_one_sees(tmp_path: Path) -> None:
    tiny_pipelines.stable_diffusion(tmp_path / "model")
    thirty_views(tmp_path / "dataset")
    one, seen_by_one = shared(tmp_path, "one", 1)
    two, seen_by_two = shared(tmp_path, "two", 2)
    assert seen_by_one == seen_by_two
    assert all(torch.allclose(one[name], two[name], atol=1e-5) for name in one)
    logs = (read_log(tmp_path / out / "log.jsonl") for out in ("one", "two"))
    losses = [[row["loss"] for row in rows if "loss" in row] for rows in logs]
    assert len(losses[0]) == STEPS and losses[0] == pytest.approx(losses[1], rel=1e-4)


def shared(folder: Path, out: str, processes: int) -> tuple[dict[str, torch.Tensor], list[Any]]:
    """The weights of a run that processes shared, and what they saw: number, samples, repeats, levels."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(processes)}
    notes = [folder / f"{out}-{rank}.jsonl" for rank in range(processes)]

    def watching(path: Path) -> Watch:
        def note(batch: Batch, levels: torch.Tensor) -> None:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([batch.number, batch.ids, batch.repeats, levels.tolist()]) + "\n")

        return note

    running = [
        in_a_process(
            configured(folder, out, "full", epsilon=1e-3),  # with less, rounding decides where gradients are nearly 0
            watching(path),
            **place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {},
        )
        for rank, path in enumerate(notes)
    ]
    for each in running:
        each.join(300)
        assert each.exitcode == 0
    lines = [json.loads(line) for path in notes for line in path.read_text(encoding="utf-8").splitlines()]
    return finished(folder, out), sorted(lines)

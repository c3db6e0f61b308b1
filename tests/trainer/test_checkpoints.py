# SPDX-License-Identifier: Apache-2.0
"""A checkpoint is whole or not there, whatever ends its writer, and an optimizer comes back bit by bit."""

from __future__ import annotations

import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import prodigyopt
import pytest
import torch

from blendset.errors import BlendsetError
from blendset_trainer.training.checkpoints import (
    find_newest_checkpoint,
    load_optimizer_state,
    save_checkpoint,
    split_optimizer_state,
)
from tests.disks import mounted


def saved(folder: Path, step: int, size: int = 1000, keep: int = 9) -> Path:
    return save_checkpoint(folder, step, {"weights": {"w": torch.full((size,), float(step))}}, {"seed": 7}, keep)


def test_the_newest_is_found_with_its_facts_and_old_ones_go(tmp_path: Path) -> None:
    assert find_newest_checkpoint(tmp_path) is None
    for step in (5, 10, 9_999_999, 123_456_789):
        saved(tmp_path, step, keep=2)
    found = find_newest_checkpoint(tmp_path)
    assert found is not None and found.step == 123_456_789 and found.facts == {"seed": 7}
    assert found.load_tensors("weights")["w"][0] == 123_456_789
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("damage", ["truncated", "missing", "no manifest", "half a manifest"])
def test_a_damaged_one_is_never_picked(tmp_path: Path, damage: str) -> None:
    saved(tmp_path, 1)
    path = saved(tmp_path, 2)
    weights, manifest = path / "weights.safetensors", path / "manifest.json"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-1])
    elif damage == "missing":
        weights.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(manifest.read_text()[:40])
    found = find_newest_checkpoint(tmp_path)
    assert found is not None and found.step == 1
    saved(tmp_path, 2)  # the run comes by there again
    found = find_newest_checkpoint(tmp_path)
    assert found is not None and found.step == 2


def write_on_and_on(folder: Path, told: Any) -> None:
    torch.set_num_threads(1)  # a fork has none of its parent's threads
    for step in range(1, 100_000):
        saved(folder, step, size=500_000, keep=3)
        told.send(step)


@pytest.mark.skipif(sys.platform != "linux", reason="a writer is forked here, for a new one would import torch first")
def test_killed_writers_leave_whole_ones(tmp_path: Path) -> None:
    forked = multiprocessing.get_context("fork")
    interrupted = 0
    for attempt in range(12):
        folder = tmp_path / str(attempt)
        told, tells = forked.Pipe(duplex=False)
        writer = forked.Process(target=write_on_and_on, args=(folder, tells))
        writer.start()
        assert told.poll(60)
        said = told.recv()
        time.sleep(0.003 * attempt)
        writer.kill()
        writer.join()
        while told.poll():
            said = told.recv()
        interrupted += any(path.name.endswith(".unfinished") for path in folder.iterdir())
        found = find_newest_checkpoint(folder)
        assert found is not None and found.step >= said
        assert bool((found.load_tensors("weights")["w"] == found.step).all())
        assert not any(path.name.endswith(".unfinished") for path in folder.iterdir())
    assert interrupted, "no kill fell into a write: the test proves nothing"


def test_a_full_disk_leaves_the_one_before(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 3_000_000) as disk:
        saved(disk, 1, size=400_000)
        with pytest.raises(BlendsetError, match=r"step-00000002 could not be written \(No space left.*\); free space"):
            saved(disk, 2, size=400_000)
        found = find_newest_checkpoint(disk)
        assert found is not None and found.step == 1 and len(list(disk.iterdir())) == 1


@pytest.mark.parametrize("kind", [torch.optim.AdamW, prodigyopt.Prodigy])
def test_an_optimizer_goes_on_as_if_nothing_had_been(tmp_path: Path, kind: Any) -> None:
    def fresh() -> tuple[torch.nn.Linear, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = torch.nn.Linear(6, 3)
        return model, kind(model.parameters(), lr=0.01, betas=(0.8, 0.95))

    def step(model: torch.nn.Linear, optimizer: torch.optim.Optimizer, number: int) -> None:
        optimizer.zero_grad()
        model(torch.full((2, 6), float(number))).square().sum().backward()
        optimizer.step()

    whole, its_optimizer = fresh()
    half, half_optimizer = fresh()
    for number in range(4):
        step(whole, its_optimizer, number)
        step(half, half_optimizer, number)
    tensors, rest = split_optimizer_state(half_optimizer)
    save_checkpoint(tmp_path, 4, {"weights": half.state_dict(), "optimizer": tensors}, {"optimizer": rest}, keep=1)
    found = find_newest_checkpoint(tmp_path)
    assert found is not None
    again, again_optimizer = fresh()
    again.load_state_dict(found.load_tensors("weights"))
    load_optimizer_state(again_optimizer, found.load_tensors("optimizer"), found.facts["optimizer"])
    for number in range(4, 9):
        step(whole, its_optimizer, number)
        step(again, again_optimizer, number)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), again.parameters(), strict=True))

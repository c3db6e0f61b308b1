# SPDX-License-Identifier: Apache-2.0
"""A run learns, is the same run however it was interrupted and shared, and stops in one sentence over what is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.training.checkpoints import newest_checkpoint
from blendset_trainer.training.log import read_log
from blendset_trainer.training.loop import learning_rate_factor, train
from blendset_trainer.training.settings import OptimizerSettings
from tests.trainer.tiny_datasets import thirty_views
from tests.trainer.tiny_pipelines import stable_diffusion
from tests.trainer.tiny_training import config_of, prepared, run_of, weights_of

UNCAPTIONED = {"captions": {"short": 0.0, "dense": 0.0, "none": 1.0}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return thirty_views(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("model"))


@pytest.fixture
def configured(dataset: Dataset, model: Path, tmp_path: Path) -> Any:
    def make(out: str = "run", **changes: Any) -> Any:
        changes = {"source": [{"name": "render", "dataset": str(dataset.root), **UNCAPTIONED}]} | changes
        return config_of(model, dataset.root, tmp_path / out, **changes)

    return make


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_learns_and_says_how(configured: Any) -> None:
    config = configured(train={"samples": 128}, optimizer={"learning_rate": 3e-3})
    run = run_of(config)
    rows = [row for row in read_log(run.folder / "log.jsonl") if "loss" in row]
    assert [row["samples"] for row in rows] == list(range(4, 132, 4))
    losses = [row["loss"] for row in rows]
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    assert set(rows[-1]["loss_by"]) <= {f"render/{band}" for band in run.plan.band_names}


@pytest.mark.parametrize("cache", [False, True])
def test_an_interrupted_run_is_the_same_run(configured: Any, cache: bool) -> None:
    whole = run_of(configured("whole", train={"cache": cache, "ema": 0.9, "checkpoint_every": 12}))
    run_of(configured("parts", train={"cache": cache, "ema": 0.9, "samples": 12}))
    again = run_of(configured("parts", train={"cache": cache, "ema": 0.9}))
    assert same(weights_of(whole), weights_of(again))
    found = newest_checkpoint(whole.folder / "checkpoints"), newest_checkpoint(again.folder / "checkpoints")
    assert found[0] and found[1]
    assert same(found[0].tensors("averaged"), found[1].tensors("averaged"))
    logs = [[row.get("loss") for row in read_log(run.folder / "log.jsonl")] for run in (whole, again)]
    assert [each for each in logs[0] if each] == [each for each in logs[1] if each]

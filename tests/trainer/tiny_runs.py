# SPDX-License-Identifier: Apache-2.0
"""Training runs of a few steps on tiny models and pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

from blendset_trainer.diffusion.families import Family
from blendset_trainer.training.data.train_data import TrainData
from blendset_trainer.training.loop import run_training_loop
from blendset_trainer.training.settings import TrainConfig, make_train_config
from blendset_trainer.training.setup import prepare
from blendset_trainer.training.state import TrainState


class Run(NamedTuple):
    """The three parts of a training run."""

    model: Family
    data: TrainData
    state: TrainState


def run_of(config: TrainConfig) -> Run:
    """A run, trained to its end."""
    run = prepared(config)
    run_training_loop(*run)
    return run


def prepared(config: TrainConfig) -> Run:
    """A run, ready for its next step."""
    return Run(*prepare(config, Accelerator(cpu=True), report=print, on_progress=lambda what, done, total: None))


def config_of(model: Path, dataset: Path, out: Path, /, **changes: Any) -> TrainConfig:
    """Eight steps of four pictures; `changes` are sections of the TOML."""
    sections: dict[str, Any] = {
        "out": str(out),
        "model": {"path": str(model), "method": "full"},
        "train": {"samples": 32, "batch": 4, "micro_batch": 2, "resolution": 32, "log_every": 1, "cache": False},
        "source": [{"name": "render", "dataset": str(dataset)}],
    }
    for name, change in changes.items():
        sections[name] = sections.get(name, {}) | change if isinstance(change, dict) else change
    return make_train_config(sections, "run.toml")


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in run.state.named_parameters.items()}

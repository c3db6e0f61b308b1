# SPDX-License-Identifier: Apache-2.0
"""The state of a training run: trained parameters, their average, the optimizer, the step, and their checkpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.options import flatten_settings, unstructure
from blendset_trainer.diffusion.families import Family
from blendset_trainer.training.checkpoints import (
    Checkpoint,
    find_newest_checkpoint,
    load_optimizer_state,
    save_checkpoint,
    split_optimizer_state,
)
from blendset_trainer.training.data.sources import hash_sources
from blendset_trainer.training.data.train_data import TrainData
from blendset_trainer.training.log import TrainLog
from blendset_trainer.training.optimizers import make_optimizer
from blendset_trainer.training.settings import TrainConfig

CHECKPOINTS = "checkpoints"
MAY_CHANGE = (
    "out",
    "train.samples",
    "train.checkpoint_every",
    "train.keep",
    "train.log_every",
    "train.cache",
    "validation",
)
"""Settings that may change when a run is resumed: the weights at a given step do not depend on them."""


class TrainState:
    """Where a run stands. `step` counts the optimizer steps taken; `named_parameters` are the trained ones.

    Begins where the newest checkpoint in the run's folder ends. `loader` gives the batches from there on; `log` writes
    the run's log. Raises BlendsetError where that checkpoint is of a run with other settings or other data.
    """

    def __init__(self, config: TrainConfig, accelerator: Accelerator, model: Family, data: TrainData) -> None:
        train = config.train
        self.config, self.accelerator, self.folder = config, accelerator, Path(config.out)
        self._data_hash = hash_sources(data.sources)
        self.micro_batches = train.batch // train.micro_batch // accelerator.num_processes
        self.named_parameters = {name: value for name, value in model.module.named_parameters() if value.requires_grad}
        self.parameters = list(self.named_parameters.values())
        optimizer = make_optimizer(self.parameters, config.optimizer)
        model.denoiser, self.optimizer = accelerator.prepare(model.module, optimizer)
        self._ema = [parameter.detach().clone() for parameter in self.parameters] if train.ema else []
        self.step = 0
        if checkpoint := find_newest_checkpoint(self.folder / CHECKPOINTS):
            self._restore(checkpoint)
        self.loader = data.make_loader(self.samples_seen // train.micro_batch)
        self.log = TrainLog(self.folder, accelerator, data.plan, self.step, train.batch, train.log_every)

    @property
    def samples_seen(self) -> int:
        """How many images were trained on so far, over all processes."""
        return self.step * self.config.train.batch

    def is_due(self, every: int) -> bool:
        """Whether the last step passed a multiple of `every` samples, or was the last of the run."""
        batch = self.config.train.batch
        return self.step == self.config.steps or self.samples_seen // every > (self.step - 1) * batch // every

    def gradient_sync(self, model: Family, last: bool) -> AbstractContextManager[Any]:
        """A context in which processes add up their gradients, if this micro-batch is the `last` of a step."""
        return nullcontext() if last else self.accelerator.no_sync(model.denoiser)

    def any_rank(self, flag: bool) -> bool:
        """Whether the flag is true in any process."""
        if self.accelerator.num_processes == 1:
            return flag
        local = torch.tensor([float(flag)], device=self.accelerator.device)
        return bool(self.accelerator.gather(local).any())

    # ---- exponential moving average of the weights -----------------------------------------------------------------

    def update_ema(self) -> None:
        """Move the averaged weights towards the trained ones, where the run averages."""
        if self._ema:
            torch._foreach_lerp_(self._ema, [value.detach() for value in self.parameters], 1 - self.config.train.ema)

    @contextmanager
    def swap_weights(self, model: Family) -> Iterator[None]:
        """Within it the model has the averaged weights, where the run averages, and is not wrapped for training."""
        trained = [value.detach().clone() for value in self.parameters] if self._ema else []
        wrapped, model.denoiser = model.denoiser, model.module
        self._set_weights(self._ema)
        try:
            yield
        finally:
            self._set_weights(trained)
            model.denoiser = wrapped

    @torch.no_grad()
    def _set_weights(self, values: list[Tensor]) -> None:
        """Copy values into the parameters; an empty list changes nothing."""
        for parameter, value in zip(self.parameters, values, strict=False):
            parameter.copy_(value)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the last step. The main process does; the others wait."""
        if self.accelerator.is_main_process:
            tensors, rest = split_optimizer_state(self.optimizer.optimizer)
            parts = {"weights": self.named_parameters, "optimizer": tensors}
            if self._ema:
                parts["averaged"] = dict(zip(self.named_parameters, self._ema, strict=True))
            facts = {"config": unstructure(self.config), "samples": self._data_hash, "optimizer": rest}
            if self.accelerator.scaler is not None:
                facts["scaler"] = self.accelerator.scaler.state_dict()
            save_checkpoint(self.folder / CHECKPOINTS, self.step, parts, facts, self.config.train.keep)
        self.accelerator.wait_for_everyone()

    @torch.no_grad()
    def _restore(self, checkpoint: Checkpoint) -> None:
        self._refuse_another_run(checkpoint)
        weights = checkpoint.load_tensors("weights")
        self._set_weights([weights[name] for name in self.named_parameters])
        if self._ema:
            averaged = checkpoint.load_tensors("averaged")
            self._ema = [averaged[name].to(value.device) for name, value in self.named_parameters.items()]
        load_optimizer_state(
            self.optimizer.optimizer, checkpoint.load_tensors("optimizer"), checkpoint.facts["optimizer"]
        )
        if self.accelerator.scaler is not None and "scaler" in checkpoint.facts:
            self.accelerator.scaler.load_state_dict(checkpoint.facts["scaler"])
        self.step = checkpoint.step

    def _refuse_another_run(self, checkpoint: Checkpoint) -> None:
        """BlendsetError where the checkpoint's run had other settings or other data."""
        before = flatten_settings(checkpoint.facts["config"], lists=True)
        now = flatten_settings(unstructure(self.config), lists=True)
        changed = [
            f"{name} was {before.get(name)} and is {now.get(name)}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and not name.startswith(MAY_CHANGE)
        ]
        if checkpoint.facts["samples"] != self._data_hash:
            changed.append("the sources hold other pictures or captions")
        if changed:
            raise BlendsetError(
                f"{self.folder} holds a run that began differently ({'; '.join(changed[:3])}); "
                "change it back, or give another out."
            )

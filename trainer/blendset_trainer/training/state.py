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
from blendset_trainer.api.progress import OnReport
from blendset_trainer.diffusion.families import Family
from blendset_trainer.training.checkpoints import (
    Checkpoint,
    is_finite,
    load_optimizer_state,
    save_checkpoint,
    split_optimizer_state,
)
from blendset_trainer.training.data.train_data import TrainData
from blendset_trainer.training.log import TrainLog
from blendset_trainer.training.optimizers import make_optimizer
from blendset_trainer.training.resuming import CHECKPOINTS, RunIdentity

EMA_HEADSTART = 10
"""Of n updates the average forgets as if its horizon were (n + 10) / 9 steps, until that is longer than the set one."""


class TrainState:
    """Where a run stands. `step` counts the optimizer steps taken; `named_parameters` are the trained ones.

    Begins where the checkpoint ends, if there is one. `loader` gives the batches from there on; `log` writes the run's
    log; `report` takes sentences for a person. Raises BlendsetError where the checkpoint does not fit the model.
    """

    def __init__(
        self,
        identity: RunIdentity,
        accelerator: Accelerator,
        model: Family,
        data: TrainData,
        checkpoint: Checkpoint | None,
        report: OnReport,
    ) -> None:
        config = identity.config
        train = config.train
        self.config, self.accelerator, self.folder = config, accelerator, Path(config.out)
        self.report = report
        self._identity = identity
        self.micro_batches = train.batch // train.micro_batch // accelerator.num_processes
        self.named_parameters = {name: value for name, value in model.module.named_parameters() if value.requires_grad}
        self.parameters = list(self.named_parameters.values())
        optimizer = make_optimizer(self.parameters, config.optimizer)
        model.denoiser, self.optimizer = accelerator.prepare(model.module, optimizer)
        self._ema = [parameter.detach().clone() for parameter in self.parameters] if train.ema else []
        self._ema_updates = 0
        self.step = 0
        self.skipped_steps = 0
        """How many steps in a row GradScaler has skipped."""
        self.learns = checkpoint is not None
        """Whether any gradient was not 0."""
        if checkpoint:
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
            decay = compute_ema_decay(self.config.train.ema, self._ema_updates)
            torch._foreach_lerp_(self._ema, [value.detach() for value in self.parameters], 1 - decay)
            self._ema_updates += 1

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
        """Write a checkpoint of the last step. The main process does; the others wait.

        Raises BlendsetError, in every process, where a number in it is not finite; then none is written.
        """
        tensors, rest = split_optimizer_state(self.optimizer.optimizer)
        parts = {"weights": self.named_parameters, "optimizer": tensors}
        if self._ema:
            parts["averaged"] = dict(zip(self.named_parameters, self._ema, strict=True))
        bad = [f"{part}: {name}" for part, group in parts.items() for name in group if not is_finite(group[name])]
        if self.any_rank(bool(bad)):
            raise make_divergence_error(
                self, self.step, f"numbers of the checkpoint ({', '.join(bad[:2]) or 'of another process'})"
            )
        if self.accelerator.is_main_process:
            facts = self._identity.facts | {"ema_updates": self._ema_updates, "optimizer": rest}
            if self.accelerator.scaler is not None:
                facts["scaler"] = self.accelerator.scaler.state_dict()
            save_checkpoint(self.folder / CHECKPOINTS, self.step, parts, facts, self.config.train.keep)
        self.accelerator.wait_for_everyone()

    @torch.no_grad()
    def _restore(self, checkpoint: Checkpoint) -> None:
        """Take what a checkpoint holds; BlendsetError where it does not fit the model."""
        try:
            weights = checkpoint.load_tensors("weights")
            self._set_weights([weights[name] for name in self.named_parameters])
            if self._ema:
                averaged = checkpoint.load_tensors("averaged")
                self._ema = [averaged[name].to(value.device) for name, value in self.named_parameters.items()]
            load_optimizer_state(
                self.optimizer.optimizer, checkpoint.load_tensors("optimizer"), checkpoint.facts["optimizer"]
            )
        except (LookupError, RuntimeError, ValueError, OSError) as error:
            raise BlendsetError(
                f"{checkpoint.path} does not fit the model, as if another version of its libraries had written it; go "
                "on with that version, or give another out."
            ) from error
        if self.accelerator.scaler is not None and "scaler" in checkpoint.facts:
            self.accelerator.scaler.load_state_dict(checkpoint.facts["scaler"])
        self._ema_updates = int(checkpoint.facts.get("ema_updates", 0))
        self.step = checkpoint.step


def compute_ema_decay(highest: float, updates: int) -> float:
    """The decay of the average after so many updates: it rises to the `highest`.

    So the weights that training began with are forgotten within a short run too. The average of any run keeps nine
    tenths at least of what training learned evenly.
    """
    return min(highest, (1 + updates) / (EMA_HEADSTART + updates))


def make_divergence_error(state: TrainState, step: int, what: str, where: str = "") -> BlendsetError:
    """The error that something of a step is not finite; `where` says more of what to look at."""
    config = state.config
    cures = [f"lower optimizer.learning_rate (it is {config.optimizer.learning_rate:g})"]
    if config.optimizer.clip == 0:
        cures.append("set optimizer.clip to 1")
    if state.accelerator.mixed_precision == "fp16":
        cures.append("set model.precision to bf16 or fp32")
    kept = state.folder / CHECKPOINTS
    sound = f" The checkpoints in {kept} are sound." if any(kept.glob("step-*")) else ""
    return BlendsetError(
        f"Step {step}: {what} are not finite{where}; {', or '.join(cures)}, and give another out.{sound}"
    )

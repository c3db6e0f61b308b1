# SPDX-License-Identifier: Apache-2.0
"""A training run with everything in it: the model, the plan, the data, the optimizer, and where it stands."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.options import unstructure
from blendset_trainer.diffusion.families import Family
from blendset_trainer.training.checkpoints import (
    Checkpoint,
    load_optimizer,
    newest_checkpoint,
    optimizer_parts,
    save_checkpoint,
)
from blendset_trainer.training.data.loader import Batch, Feed
from blendset_trainer.training.data.sources import Source
from blendset_trainer.training.log import TrainLog
from blendset_trainer.training.losses import Texts
from blendset_trainer.training.optimizers import make_optimizer
from blendset_trainer.training.settings import TrainConfig
from blendset_trainer.training.timesteps.plan import TimestepPlan

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
"""What a run may go on with another value of: nothing that the weights depend on at a given step."""


class Run:
    """What the loop works on. Parameters that are trained are `parameters`; `step` counts optimizer steps taken.

    `feed_from` makes the feed that begins with a micro-batch; `held_out` are batches that are never trained on.
    """

    def __init__(
        self,
        config: TrainConfig,
        accelerator: Accelerator,
        family: Family,
        texts: Texts,
        plan: TimestepPlan,
        feed_from: Callable[[int], Feed],
        held_out: Sequence[Batch],
        sources: Sequence[Source],
    ) -> None:
        self.config, self.accelerator, self.folder = config, accelerator, Path(config.out)
        self.family, self.texts, self.plan, self.held_out, self.sources = family, texts, plan, held_out, sources
        self._digest = digest_of(sources)
        self.micro_batches = config.train.batch // config.train.micro_batch // accelerator.num_processes
        self.named = {name: each for name, each in family.module.named_parameters() if each.requires_grad}
        self.parameters = list(self.named.values())
        optimizer = make_optimizer(self.parameters, config.optimizer)
        family.denoiser, self.optimizer = accelerator.prepare(family.module, optimizer)
        self._averaged = [each.detach().clone() for each in self.parameters] if config.train.ema else []
        self.step = 0
        if found := newest_checkpoint(self.folder / CHECKPOINTS):
            self._restore(found)
        self.feed = feed_from(self.step * config.train.batch // config.train.micro_batch)
        self.log = TrainLog(self.folder, accelerator, plan, self.step, config.train.batch, config.train.log_every)

    def due(self, every: int) -> bool:
        """Whether the step just taken passed a multiple of so many samples, or was the last."""
        batch = self.config.train.batch
        return self.step == self.config.steps or self.step * batch // every > (self.step - 1) * batch // every

    def meeting(self, last: bool) -> AbstractContextManager[Any]:
        """Processes add up their gradients in the last micro-batch of a step only."""
        return nullcontext() if last else self.accelerator.no_sync(self.family.denoiser)

    def anywhere(self, true_here: bool) -> bool:
        """Whether something is true in any process."""
        if self.accelerator.num_processes == 1:
            return true_here
        flag = torch.tensor([float(true_here)], device=self.accelerator.device)
        return bool(self.accelerator.gather(flag).any())

    # ---- averaged weights ------------------------------------------------------------------------------------------

    def average(self) -> None:
        """Move the averaged weights towards the trained ones."""
        if self._averaged:
            torch._foreach_lerp_(self._averaged, [each.detach() for each in self.parameters], 1 - self.config.train.ema)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Have the model wear the averaged weights, where a run keeps them, in this process alone."""
        trained = [each.detach().clone() for each in self.parameters] if self._averaged else []
        wrapped, self.family.denoiser = self.family.denoiser, self.family.module
        self._wear(self._averaged)
        try:
            yield
        finally:
            self._wear(trained)
            self.family.denoiser = wrapped

    @torch.no_grad()
    def _wear(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=False):
            parameter.copy_(value)

    # ---- checkpoints -----------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write a checkpoint of the step just taken; the main process does, the others wait."""
        if self.accelerator.is_main_process:
            tensors, rest = optimizer_parts(self.optimizer.optimizer)
            parts = {"weights": self.named, "optimizer": tensors}
            if self._averaged:
                parts["averaged"] = dict(zip(self.named, self._averaged, strict=True))
            facts = {"config": unstructure(self.config), "samples": self._digest, "optimizer": rest}
            if self.accelerator.scaler is not None:
                facts["scaler"] = self.accelerator.scaler.state_dict()
            save_checkpoint(self.folder / CHECKPOINTS, self.step, parts, facts, self.config.train.keep)
        self.accelerator.wait_for_everyone()

    @torch.no_grad()
    def _restore(self, found: Checkpoint) -> None:
        self._refuse_another_run(found)
        weights = found.tensors("weights")
        self._wear([weights[name] for name in self.named])
        if self._averaged:
            averaged = found.tensors("averaged")
            self._averaged = [averaged[name].to(each.device) for name, each in self.named.items()]
        load_optimizer(self.optimizer.optimizer, found.tensors("optimizer"), found.facts["optimizer"])
        if self.accelerator.scaler is not None and "scaler" in found.facts:
            self.accelerator.scaler.load_state_dict(found.facts["scaler"])
        self.step = found.step

    def _refuse_another_run(self, found: Checkpoint) -> None:
        """Going on with other settings or pictures would be neither run."""
        before, now = flat(found.facts["config"]), flat(unstructure(self.config))
        changed = [
            f"{name} was {before.get(name)} and is {now.get(name)}"
            for name in sorted(before.keys() | now.keys())
            if before.get(name) != now.get(name) and not name.startswith(MAY_CHANGE)
        ]
        if found.facts["samples"] != self._digest:
            changed.append("the sources hold other pictures or captions")
        if changed:
            raise BlendsetError(
                f"{self.folder} holds a run that began differently ({'; '.join(changed[:3])}); "
                "change it back, or give another out."
            )


def digest_of(sources: Sequence[Source]) -> str:
    """A hash over every picture, caption, weight and bound of the sources."""
    hasher = hashlib.sha256()
    for source in sources:
        for rows in source.rows.to_batches():
            hasher.update(rows.serialize())
    return hasher.hexdigest()


def flat(table: Any, prefix: str = "") -> dict[str, Any]:
    """The leaves of nested tables and lists by their dotted names."""
    inner = table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list | tuple) else None
    if inner is None:
        return {prefix: table}
    return {
        name: leaf
        for key, value in inner
        for name, leaf in flat(value, f"{prefix}.{key}" if prefix else str(key)).items()
    }

# SPDX-License-Identifier: Apache-2.0
"""The training loop: one page for every family, source, precision and number of processes.

What is random in a step follows from the seed and the samples that it sees, never from what ran before: a run that goes
on from a checkpoint is the run that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from accelerate.utils import gather_object
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.reference_attention import reference_attention
from blendset_trainer.training.data.loader import Batch
from blendset_trainer.training.log import StepReport
from blendset_trainer.training.losses import levels_of, loss_weights, sample_losses
from blendset_trainer.training.settings import OptimizerSettings
from blendset_trainer.training.state import Run
from blendset_trainer.training.stopping import stopping_between_steps
from blendset_trainer.training.validation import validate


def train(run: Run, on_step: Callable[[int, int], None] = lambda seen, wanted: None) -> None:
    """Take the optimizer steps that are left of a run, saving, logging and validating on the way.

    `on_step` hears how many pictures of how many were seen. Raises KeyboardInterrupt once a step that was asked to be
    the last is saved, and BlendsetError where a loss is not finite, before it reaches the weights.
    """
    config = run.config
    with run.feed as feed, stopping_between_steps() as asked:
        while run.step < config.steps:
            started = time.perf_counter()
            batches = [next(feed) for _ in range(run.micro_batches)]
            waited = time.perf_counter() - started
            set_learning_rate(run.optimizer, config.optimizer, run.step, config.steps)
            passes = [_forward_and_backward(run, batch, last=batch is batches[-1]) for batch in batches]
            losses, levels = (torch.cat(each) for each in zip(*passes, strict=True))
            _refuse_what_is_not_finite(losses, batches)
            norm = run.accelerator.clip_grad_norm_(run.parameters, config.optimizer.clip or math.inf)
            run.optimizer.step()
            run.optimizer.zero_grad(set_to_none=True)
            run.average()
            run.step += 1
            run.log.add(StepReport(run.step, batches, losses, levels, norm, time.perf_counter() - started, waited))
            on_step(run.step * config.train.batch, config.steps * config.train.batch)
            stop = run.anywhere(asked())
            if stop or run.due(config.train.checkpoint_every):
                run.save()
            if stop:
                raise KeyboardInterrupt
            if run.due(config.validation.every):
                validate(run)


def _forward_and_backward(run: Run, batch: Batch, last: bool) -> tuple[Tensor, Tensor]:
    """Add a micro-batch's gradients; its losses and noise levels, (B,) each. Processes meet in the step's last one."""
    levels = levels_of(run.plan, batch, run.config.seed)
    with run.meeting(last), run.accelerator.autocast(), reference_attention(run.family, batch.seen):
        losses = sample_losses(run.family, run.texts, batch, levels, run.config.seed)
        weights = loss_weights(run.plan, batch, levels)
        share = run.accelerator.num_processes / run.config.train.batch  # processes' gradients are averaged
        run.accelerator.backward((losses * weights.to(losses)).sum() * share)
    return losses.detach(), levels


def _refuse_what_is_not_finite(losses: Tensor, batches: Sequence[Batch]) -> None:
    """Stop every process where one has a loss that is no number."""
    ids = [name for batch in batches for name in batch.ids]
    bad = gather_object([name for name, finite in zip(ids, losses.isfinite().tolist(), strict=True) if not finite])
    if bad:
        raise BlendsetError(
            f"The loss is not finite for {', '.join(bad[:4])}; look at those pictures, lower the learning rate, or use "
            "train.precision bf16 or fp32. The checkpoints so far are sound."
        )


def set_learning_rate(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, step: int, steps: int) -> None:
    """Give all groups the learning rate of an optimizer step, counted from 0 of `steps`."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * learning_rate_factor(settings, step, steps)


def learning_rate_factor(settings: OptimizerSettings, step: int, steps: int) -> float:
    """The share of the highest learning rate that a step has: a linear warm-up, then constant or half a cosine."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps))

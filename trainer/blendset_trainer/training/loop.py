# SPDX-License-Identifier: Apache-2.0
"""The training loop: one page for every family, source, precision and number of processes.

Train, or go on where the run in the configuration's `out` was interrupted:

    blendset train kitchen.toml

On several accelerators, from Python, and from Python in parts:

    accelerate launch -m blendset_trainer.cli train kitchen.toml
    blendset_trainer.train("kitchen.toml")
    model, data, state = prepare(config, accelerator, report, on_progress); run_training_loop(model, data, state)

Everything random in a step follows from the seed and the samples of the step, never from what ran before: a run that is
resumed from a checkpoint is bit for bit the run that was never interrupted.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import torch
from accelerate.utils import gather_object
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.api.stopping import catch_stop_signals
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.reference_attention import reference_attention
from blendset_trainer.training.data.loader import Batch
from blendset_trainer.training.data.train_data import TrainData
from blendset_trainer.training.log import StepReport
from blendset_trainer.training.losses import compute_loss_weights, compute_losses, sample_levels
from blendset_trainer.training.settings import OptimizerSettings
from blendset_trainer.training.state import TrainState, make_divergence_error
from blendset_trainer.training.validation import validate

MAX_SKIPPED_STEPS = 40
"""Steps in a row that GradScaler may skip: from its first scale, 2^16, it would have come to 2^-24."""
IDLE_STEPS = 100
"""Steps after which a run that has learned nothing will learn nothing."""


def run_training_loop(
    model: Family,
    data: TrainData,
    state: TrainState,
    on_step: Callable[[int, int], None] = lambda samples, total: None,
) -> None:
    """Take the optimizer steps that are left of a run; save, log and validate on the way.

    `on_step` is called with the samples seen, and of how many. A stop signal ends the run after a step: its checkpoint
    is written, then KeyboardInterrupt is raised. Raises BlendsetError where a loss or a gradient is not finite, before
    it reaches the weights, and where weights are not finite, before they reach a checkpoint.
    """
    config = state.config
    with state.loader as loader, catch_stop_signals() as stop_requested:
        while state.step < config.steps:
            started = time.perf_counter()
            batches = [next(loader) for _ in range(state.micro_batches)]
            waited = time.perf_counter() - started
            set_learning_rate(state.optimizer, config.optimizer, state.step, config.steps)
            passes = [_forward_and_backward(model, data, state, batch, batch is batches[-1]) for batch in batches]
            losses, levels = (torch.cat(values) for values in zip(*passes, strict=True))
            _refuse_infinite_losses(losses, batches, data, state)
            norm = state.accelerator.clip_grad_norm_(state.parameters, config.optimizer.clip or math.inf)
            _check_gradients(float(norm), state)
            state.optimizer.step()
            state.optimizer.zero_grad(set_to_none=True)
            state.update_ema()
            state.step += 1
            state.log.add(StepReport(state.step, batches, losses, levels, norm, time.perf_counter() - started, waited))
            on_step(state.samples_seen, config.steps * config.train.batch)
            stop = state.any_rank(stop_requested())
            if stop or state.is_due(config.train.checkpoint_every):
                state.save()
            if stop:
                raise KeyboardInterrupt
            if state.is_due(config.validation.every):
                validate(model, data, state)


def _forward_and_backward(
    model: Family, data: TrainData, state: TrainState, batch: Batch, last: bool
) -> tuple[Tensor, Tensor]:
    """Add the gradients of a micro-batch, and return its losses and noise levels, (B,) each.

    Processes exchange gradients in the `last` micro-batch of a step only.
    """
    seed, accelerator = state.config.seed, state.accelerator
    levels = sample_levels(data.plan, batch, seed)
    with state.gradient_sync(model, last), accelerator.autocast(), reference_attention(model, batch.visibility):
        losses = compute_losses(model, data.encode_prompts, batch, levels, seed)
        weights = compute_loss_weights(data.plan, batch, levels)
        scale = accelerator.num_processes / state.config.train.batch  # the gradients of processes are averaged
        accelerator.backward((losses * weights.to(losses)).sum() * scale)
    return losses.detach(), levels


def _refuse_infinite_losses(losses: Tensor, batches: Sequence[Batch], data: TrainData, state: TrainState) -> None:
    """Raise BlendsetError in every process where any has a loss that is not finite."""
    refs = [ref for batch in batches for ref in batch.refs]
    bad = [ref for ref, finite in zip(refs, losses.isfinite().tolist(), strict=True) if not finite]
    files = gather_object([str(data.sources[ref.source][ref.sample].pictures[0]) for ref in bad])
    if files:
        raise make_divergence_error(state, state.step + 1, "the losses", f" (look at {', '.join(files[:3])})")


def _check_gradients(norm: float, state: TrainState) -> None:
    """Raise BlendsetError, before the step, for a gradient norm that is not finite, and in a run that learns nothing.

    GradScaler skips steps that are not finite and tries smaller scales; only many in a row mean that no scale will do.
    """
    state.skipped_steps = 0 if math.isfinite(norm) else state.skipped_steps + 1
    if state.skipped_steps > (MAX_SKIPPED_STEPS if state.accelerator.scaler else 0):
        raise make_divergence_error(state, state.step + 1, "the gradients")
    state.learns |= 0 < norm < math.inf
    if not state.learns and state.step + 1 == min(state.config.steps, IDLE_STEPS):
        raise BlendsetError(
            f"Nothing is learned: the gradients of the first {state.step + 1} steps are 0; give the samples weight "
            "(in selections and bands, and source.background), and give another out."
        )


def set_learning_rate(optimizer: torch.optim.Optimizer, settings: OptimizerSettings, step: int, steps: int) -> None:
    """Give every parameter group the learning rate of optimizer step `step` (from 0) of `steps`."""
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * learning_rate_factor(settings, step, steps)


def learning_rate_factor(settings: OptimizerSettings, step: int, steps: int) -> float:
    """The learning rate of a step over the highest: a linear warm-up, then constant or half a cosine."""
    if step < settings.warmup_steps:
        return (step + 1) / settings.warmup_steps
    if settings.schedule == "constant":
        return 1.0
    return 0.5 + 0.5 * math.cos(math.pi * (step - settings.warmup_steps) / max(1, steps - settings.warmup_steps))

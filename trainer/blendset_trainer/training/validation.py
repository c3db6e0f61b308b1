# SPDX-License-Identifier: Apache-2.0
"""Validation while training: losses of held-out samples by source and noise band, and images of fixed prompts."""

from __future__ import annotations

import math
from collections import defaultdict

import torch

from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset.randomness import sample_uniform
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.images import make_grid
from blendset_trainer.diffusion.reference_attention import reference_attention
from blendset_trainer.diffusion.sampling import SamplingSettings, sample_images
from blendset_trainer.readers.images import encode_png
from blendset_trainer.training.data.train_data import TrainData
from blendset_trainer.training.losses import compute_losses
from blendset_trainer.training.settings import TrainConfig
from blendset_trainer.training.state import TrainState, make_divergence_error
from blendset_trainer.training_runs import VALIDATION

SEED = 0
"""The seed of every validation of every run, so that runs compare."""


def validate(model: Family, data: TrainData, state: TrainState) -> None:
    """Log the held-out losses and write images of the prompts, with the averaged weights where the run averages.

    The main process does; the others wait. Raises BlendsetError, in every process, for losses that are not finite.
    """
    bad: list[str] = []
    if state.accelerator.is_main_process:
        with state.swap_weights(model), torch.no_grad():
            with state.accelerator.autocast():
                losses = compute_held_out_losses(model, data)
            state.log.add_validation(state.step, losses)
            bad = [name for name, loss in losses.items() if not math.isfinite(loss)]
            write_images(model, state)
    if state.any_rank(bool(bad)):
        raise make_divergence_error(state, state.step, f"the held-out losses{f' ({bad[0]})' if bad else ''}")
    state.accelerator.wait_for_everyone()


def write_images(model: Family, state: TrainState) -> None:
    """Write a grid of the validation prompts, made from the same noise at every validation.

    What cannot be drawn is reported, and ends no run.
    """
    prompts = state.config.validation.prompts
    if prompts:
        try:
            grid = make_grid(list(sample_images(model, prompts, make_sampling_settings(state.config))))
        except BlendsetError as error:
            state.report(f"Step {state.step} has no validation pictures: {error}")
        else:
            atomic_write(state.folder / VALIDATION / f"step-{state.step:08d}.png", encode_png(grid))


def make_sampling_settings(config: TrainConfig) -> SamplingSettings:
    """How the validation pictures of a run are made."""
    settings, side = config.validation, config.train.resolution
    return SamplingSettings(SEED, settings.steps, side, side, settings.cfg_scale, settings.embedded_guidance)


def compute_held_out_losses(model: Family, data: TrainData) -> dict[str, float]:
    """The mean loss over held-out samples by "source/band", each sample at its own level of what its source trains in
    that band; levels and noise are the same at every validation.
    """
    losses = defaultdict(list)
    for batch in data.held_out:
        source = batch.sources[0]  # held-out batches have one
        mass = data.plan.sum_by_band(data.plan.pdf(source))
        fractions = torch.tensor([sample_uniform(SEED, "held-out", name) for name in batch.ids], dtype=torch.float64)
        for name, low, size in zip(data.plan.band_names, (mass.cumsum(0) - mass).tolist(), mass.tolist(), strict=True):
            if size > 0:
                levels = data.plan.sample_levels(source, low + size * fractions)
                with reference_attention(model, batch.visibility):
                    losses[f"{source}/{name}"].append(compute_losses(model, data.encode_prompts, batch, levels, SEED))
    return {name: torch.cat(values).mean().item() for name, values in sorted(losses.items())}

# SPDX-License-Identifier: Apache-2.0
"""Looking at a model in training: what held-out samples lose in each source and band, and pictures of fixed prompts."""

from __future__ import annotations

from collections import defaultdict

import torch

from blendset.files import atomic_write
from blendset_trainer.diffusion.reference_attention import reference_attention
from blendset_trainer.diffusion.sampling import SamplingSettings, grid, png_of, sample
from blendset_trainer.training.draws import uniform
from blendset_trainer.training.losses import sample_losses
from blendset_trainer.training.state import Run
from blendset_trainer.training_runs import VALIDATION

SEED = 0
"""Of validation, the same in every run, so that runs compare."""


def validate(run: Run) -> None:
    """Log the held-out losses and write pictures of the prompts, with the averaged weights where a run keeps them; the
    main process does, others wait."""
    if run.accelerator.is_main_process:
        with run.averaged_weights(), torch.no_grad():
            with run.accelerator.autocast():
                run.log.validated(run.step, held_out_losses(run))
            write_pictures(run)
    run.accelerator.wait_for_everyone()


def write_pictures(run: Run) -> None:
    """A grid of the validation prompts, from the same noise at every validation."""
    settings, side = run.config.validation, run.config.train.resolution
    if settings.prompts:
        how = SamplingSettings(SEED, settings.steps, side, side, settings.cfg_scale)
        sheet = grid(list(sample(run.family, settings.prompts, how)))
        atomic_write(run.folder / VALIDATION / f"step-{run.step:08d}.png", png_of(sheet))


def held_out_losses(run: Run) -> dict[str, float]:
    """Mean loss by "source/band" over the held-out samples, each at its own place in the noise that its source trains
    there; levels and noise are the same at every validation."""
    losses = defaultdict(list)
    for batch in run.held_out:
        source = batch.sources[0]  # held-out batches have one
        mass = run.plan.by_band(run.plan.pdf(source))
        places = torch.tensor([uniform(SEED, "held-out", name) for name in batch.ids], dtype=torch.float64)
        for name, low, size in zip(run.plan.band_names, (mass.cumsum(0) - mass).tolist(), mass.tolist(), strict=True):
            if size > 0:
                levels = run.plan.level(source, low + size * places)
                with reference_attention(run.family, batch.seen):
                    losses[f"{source}/{name}"].append(sample_losses(run.family, run.texts, batch, levels, SEED))
    return {name: torch.cat(each).mean().item() for name, each in sorted(losses.items())}

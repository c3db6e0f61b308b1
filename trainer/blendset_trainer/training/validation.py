# SPDX-License-Identifier: Apache-2.0
"""Looking at a model in training: what held-out samples lose in each source and band, and pictures of fixed prompts."""

from __future__ import annotations

from collections import defaultdict

import torch

from blendset_trainer.training.losses import sample_losses
from blendset_trainer.training.runs import Run
from blendset_trainer.training.sampling import SampleSettings, sample_to

SEED = 0
"""Of validation, the same in every run, so that runs compare."""


def validate(run: Run) -> None:
    """Log the held-out losses and write the pictures of the validation prompts, with the averaged weights if any."""
    with run.averaged_weights():
        run.log.validated(run.step, held_out_losses(run))
        settings = run.config.validation
        if settings.prompts and run.accelerator.is_main_process:
            folder = run.folder / "validation" / f"step-{run.step:08d}"
            sample_to(run.family.pipeline, settings.prompts, SampleSettings(...), folder)
    run.accelerator.wait_for_everyone()


@torch.no_grad()
def held_out_losses(run: Run) -> dict[str, float]:
    """Mean loss by "source/band" over the held-out samples, each at the middle of the band's levels that its source
    trains; noise is the same at every validation."""
    losses = defaultdict(list)
    for batch in run.held_out:
        for band, name in enumerate(run.plan.band_names):
            ...
    return {}

# SPDX-License-Identifier: Apache-2.0
"""A few steps of training, and a few of sampling, with tiny pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.families import Conditions, Family, load_family
from blendset_trainer.diffusion.noise import add_noise, compute_target
from blendset_trainer.models.loading import choose_device
from tests.trainer.tiny_pipelines import PIXELS

DEVICE = choose_device()
CAPTIONS = ["a red chair", "the blue lamp"]


def load(folder: Path, dtype: torch.dtype = torch.float32, *, full: bool = False) -> Family:
    """The family of a pipeline, on the accelerator where there is one."""
    family = load_family(str(folder), dtype=dtype, full=full)
    family.pipeline.to(DEVICE)
    return family


def pictures() -> Tensor:
    return torch.rand(2, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0)) * 2 - 1


def levels(family: Family) -> Tensor:
    return torch.tensor([40, 700]) if family.axis.discrete else torch.tensor([0.2, 0.9], dtype=torch.float64)


def noise_for(moments: Tensor, seed: int) -> Tensor:
    count, channels, height, width = moments.shape
    noise = torch.randn(count, channels // 2, height, width, generator=torch.Generator().manual_seed(seed))
    return noise.to(moments.device)


def train(family: Family, steps: int = 5, *, autocast: bool = False) -> list[float]:
    """The loop of the trainer in a few lines, the same batch and noise over and over; the losses."""
    trained = [each for each in family.module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(trained, 1e-3)
    moments, texts, level = family.encode_images(pictures()), family.encode_prompts(CAPTIONS), levels(family)
    latents, noise = family.sample_latents(moments, noise_for(moments, 1)), noise_for(moments, 2)
    noisy = add_noise(family.axis, latents, noise, level)
    wanted = compute_target(family.prediction, family.axis, latents, noise, level)
    losses = []
    for _ in range(steps):
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=autocast):
            predicted = family.predict(noisy, level, texts, Conditions.from_size(2, PIXELS, PIXELS))
        loss = torch.nn.functional.mse_loss(predicted, wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def drawn(pipeline: Any, family: Family, **more: Any) -> Any:
    """The latents that a pipeline samples in two steps, as one row of numbers."""
    options = {"height": PIXELS, "width": PIXELS, "num_inference_steps": 2} | family.build_sampling_options(None) | more
    generator = torch.Generator().manual_seed(3)
    return (
        pipeline("a red chair", generator=generator, output_type="latent", **options)
        .images.flatten()
        .float()
        .cpu()
        .numpy()
    )

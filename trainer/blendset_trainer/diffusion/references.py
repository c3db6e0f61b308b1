# SPDX-License-Identifier: Apache-2.0
"""Images of prompts that show what reference images show.

The denoising loop is our own, because no pipeline of diffusers guides by references and prompt at once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.densities import shift_from_scheduler
from blendset_trainer.diffusion.families import Conditions, Family
from blendset_trainer.diffusion.families.family import ReferenceDefaults
from blendset_trainer.diffusion.guidance import normalise_guidance
from blendset_trainer.diffusion.images import load_reference_image, to_image
from blendset_trainer.diffusion.noise import FlowAxis, add_noise
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.diffusion.reference_attention import (
    NoisyReferences,
    predict_with_references,
    reference_attention,
)
from blendset_trainer.diffusion.sampling import SamplingSettings, choose_size

DEFAULT_STEPS = 30
"""Steps where the settings name none."""
GUIDED = 3
"""Predictions of a step: with neither, with the references, with references and prompt."""


@dataclass(frozen=True)
class ReferenceGuidance:
    """Paths of reference images, whose transparent parts are ignored, and the scales of guidance by them and by the
    prompt; None leaves a scale to the family.
    """

    references: tuple[str, ...]
    image_scale: float | None = None
    text_scale: float | None = None


@torch.no_grad()
def sample_with_references(
    model: Family, prompts: Sequence[str], settings: SamplingSettings, guidance: ReferenceGuidance
) -> Iterator[Image.Image]:
    """One image of each prompt; the n-th has seed + n. They are made one at a time, so that none depends on the others.

    Raises BlendsetError for a family without references, a reference that cannot be read, sides that the family
    cannot make.
    """
    scales = resolve_scales(model, guidance)
    size = choose_size(model, settings)
    latents, visibility = encode_references(model, guidance.references, (size["width"], size["height"]))
    visibility = visibility.repeat(GUIDED, 1, 1, 1)
    visibility[0] = False
    for number, prompt in enumerate(prompts):
        generator = seed_generator(settings.seed + number)
        noise, *reference_noise = torch.randn(1 + len(latents), *latents.shape[1:], generator=generator).to(latents)
        features = model.encode_prompts(["", "", prompt])
        null_prompt = model.encode_prompts([""])
        predict = GuidedPrediction(model, scales, latents, torch.stack(reference_noise), features, null_prompt)
        with reference_attention(model, visibility):
            denoised = denoise(model, predict, noise[None], settings.steps or DEFAULT_STEPS, generator)
        yield to_image(model.decode_latents(denoised)[0])


def encode_references(model: Family, paths: Sequence[str], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The clean latents (k, C, h, w) of reference images, and where they are opaque (k, height, width), bool.

    `size` is width and height in pixels. Raises BlendsetError for a file that cannot be read.
    """
    images = [load_reference_image(Path(path), size) for path in paths]
    pixels = torch.from_numpy(np.stack([image for image, _ in images]).transpose(0, 3, 1, 2) / np.float32(127.5) - 1)
    posterior = model.encode_images(pixels)
    latents = model.sample_latents(posterior, torch.zeros_like(posterior.float().chunk(2, dim=1)[0]))
    return latents, torch.from_numpy(np.stack([opaque for _, opaque in images]))


def resolve_scales(model: Family, guidance: ReferenceGuidance) -> ReferenceDefaults:
    """The family's defaults with the scales that are set; BlendsetError for a family that takes no references."""
    if model.references is None:
        raise BlendsetError(
            f"{model.name} cannot be shown references; leave them out, or give a model of FLUX or SDXL."
        )
    scales = {name: getattr(guidance, name) for name in ("image_scale", "text_scale")}
    return replace(model.references, **{name: scale for name, scale in scales.items() if scale is not None})


@dataclass(frozen=True, eq=False)
class GuidedPrediction:
    """The guided prediction (1, C, h, w) of noisy latents (1, C, h, w) at a level (1,), within `reference_attention`.

    `latents` are the references', `noise` their noise, (k, C, h, w) each; `features` are of the empty prompt, again of
    it, and of the prompt; `null_prompt` of the empty prompt.
    """

    model: Family
    scales: ReferenceDefaults
    latents: Tensor
    noise: Tensor
    features: Mapping[str, Tensor]
    null_prompt: Mapping[str, Tensor]

    def __call__(self, noisy: Tensor, level: Tensor) -> Tensor:
        model, scales = self.model, self.scales
        height, width = (side * model.pixels_per_latent for side in noisy.shape[-2:])
        levels, sizes = level.repeat(GUIDED), Conditions.from_size(1, height, width).sizes
        reference_levels = torch.zeros_like(levels) if scales.noise == "clean" else levels
        clean, noise = (values.expand(GUIDED, *values.shape) for values in (self.latents, self.noise))
        references = NoisyReferences(
            add_noise(model.axis, clean, noise, reference_levels),
            reference_levels,
            self.null_prompt,
            sizes.expand(GUIDED, len(self.latents), -1),
        )
        neither, image, full = predict_with_references(
            model,
            noisy.repeat(GUIDED, 1, 1, 1),
            levels,
            self.features,
            Conditions(sizes.repeat(GUIDED, 1), scales.guidance),
            references,
        )
        guided = normalise_guidance(neither, image, full, scales.image_scale, scales.text_scale, dims=(-1, -2, -3))
        return guided[None]


def denoise(
    model: Family,
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """Latents (1, C, h, w) that the pipeline's scheduler makes of noise (1, C, h, w) in `steps` steps.

    `predict` gets noisy latents (1, C, h, w) and a level (1,).
    """
    scheduler, flows = model.pipeline.scheduler, isinstance(model.axis, FlowAxis)
    if flows:
        tokens = noise[0, 0].numel() * model.pixels_per_latent**2 // model.pixels_per_token**2
        sigmas = np.linspace(1, 1 / steps, steps)
        mu = math.log(shift_from_scheduler(scheduler, tokens))
        scheduler.set_timesteps(sigmas=sigmas, mu=mu, device=noise.device)
    else:
        scheduler.set_timesteps(steps, device=noise.device)
        noise = noise * scheduler.init_noise_sigma
    options = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents = noise
    for time in scheduler.timesteps:
        scaled = latents if flows else scheduler.scale_model_input(latents, time)
        predicted = predict(scaled, time[None] / scheduler.config.num_train_timesteps if flows else time[None])
        latents = scheduler.step(predicted, time, latents, **options, return_dict=False)[0]
    return latents

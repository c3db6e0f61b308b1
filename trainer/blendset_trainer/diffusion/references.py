# SPDX-License-Identifier: Apache-2.0
"""Pictures of prompts that show what reference pictures show: a denoising loop of our own, since no pipeline guides by
references and caption at once.
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
from blendset_trainer.diffusion.noise import FlowAxis, add_noise
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.diffusion.reference_attention import NoisyReferences, predict_with_references, reference_attention
from blendset_trainer.diffusion.sampling import SamplingSettings, choose_size, to_image
from blendset_trainer.training.data.transforms import load_reference_picture

STEPS = 30
"""Where none are asked for."""
GUIDED = 3
"""Predictions of a step: of neither, of the references, of references and caption."""


@dataclass(frozen=True)
class ReferenceGuidance:
    """Pictures to refer to, whose transparent parts are not seen, and how far they and the caption are followed; None
    leaves it to the family.
    """

    references: tuple[str, ...]
    image_scale: float | None = None
    text_scale: float | None = None


@torch.no_grad()
def sample_with_references(
    family: Family, prompts: Sequence[str], settings: SamplingSettings, guidance: ReferenceGuidance
) -> Iterator[Image.Image]:
    """One picture of each prompt, one at a time, so that it does not depend on the others; the n-th has seed + n.

    Raises BlendsetError for a family without references, one that cannot be read, sides that the family cannot make.
    """
    how = resolve_scales(family, guidance)
    size = choose_size(family, settings)
    shown = [load_reference_picture(Path(path), (size["width"], size["height"])) for path in guidance.references]
    pixels = torch.from_numpy(np.stack([picture for picture, _ in shown]).transpose(0, 3, 1, 2) / np.float32(127.5) - 1)
    moments = family.encode_images(pixels)
    references = family.sample_latents(moments, torch.zeros_like(moments.float().chunk(2, dim=1)[0]))
    seen = torch.from_numpy(np.stack([visible for _, visible in shown])).repeat(GUIDED, 1, 1, 1)
    seen[0] = False
    for number, prompt in enumerate(prompts):
        generator = seed_generator(settings.seed + number)
        noise, *others = torch.randn(1 + len(references), *references.shape[1:], generator=generator).to(references)
        texts = family.encode_prompts(["", "", prompt])
        predict = GuidedPrediction(family, how, references, torch.stack(others), texts, family.encode_prompts([""]))
        with reference_attention(family, seen):
            latents = denoise(family, predict, noise[None], settings.steps or STEPS, generator)
        yield to_image(family.decode_latents(latents)[0])


def resolve_scales(family: Family, guidance: ReferenceGuidance) -> ReferenceDefaults:
    """The family's way with references, with the scales that are asked for."""
    if family.references is None:
        raise BlendsetError(
            f"{family.name} cannot be shown references; leave them out, or give a model of FLUX or SDXL."
        )
    asked = {name: getattr(guidance, name) for name in ("image_scale", "text_scale")}
    return replace(family.references, **{name: scale for name, scale in asked.items() if scale is not None})


@dataclass(frozen=True, eq=False)
class GuidedPrediction:
    """Of noisy latents (1, C, h, w) at a level (1,), beside `references` and their `noise` (k, C, h, w) each, inside of
    `seeing`; `texts` are of no caption, again, and the prompt, `wordless` of no caption.
    """

    family: Family
    how: ReferenceDefaults
    references: Tensor
    noise: Tensor
    texts: Mapping[str, Tensor]
    wordless: Mapping[str, Tensor]

    def __call__(self, noisy: Tensor, level: Tensor) -> Tensor:
        family, how = self.family, self.how
        height, width = (side * family.pixels_per_latent for side in noisy.shape[-2:])
        levels, sizes = level.repeat(GUIDED), Conditions.from_size(1, height, width).sizes
        theirs = torch.zeros_like(levels) if how.noise == "clean" else levels
        clean, noise = (each.expand(GUIDED, *each.shape) for each in (self.references, self.noise))
        shown = add_noise(family.axis, clean, noise, theirs)
        neither, image, full = predict_with_references(
            family,
            noisy.repeat(GUIDED, 1, 1, 1),
            levels,
            self.texts,
            Conditions(sizes.repeat(GUIDED, 1), how.guidance),
            NoisyReferences(shown, theirs, self.wordless, sizes.expand(GUIDED, len(self.references), -1)),
        )
        guided = normalise_guidance(neither, image, full, how.image_scale, how.text_scale, dims=(-1, -2, -3))
        return guided[None]


def denoise(
    family: Family,
    predict: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    steps: int,
    generator: torch.Generator,
) -> Tensor:
    """What the pipeline's own scheduler makes of noise (1, C, h, w); `predict` gets noisy latents and a level (1,)."""
    scheduler, flows = family.pipeline.scheduler, isinstance(family.axis, FlowAxis)
    if flows:
        tokens = noise[0, 0].numel() * family.pixels_per_latent**2 // family.pixels_per_token**2
        sigmas = np.linspace(1, 1 / steps, steps)
        scheduler.set_timesteps(
            sigmas=sigmas, mu=math.log(shift_from_scheduler(scheduler, tokens)), device=noise.device
        )
    else:
        scheduler.set_timesteps(steps, device=noise.device)
        noise = noise * scheduler.init_noise_sigma
    drawing = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents = noise
    for time in scheduler.timesteps:
        seen = latents if flows else scheduler.scale_model_input(latents, time)
        answer = predict(seen, time[None] / scheduler.config.num_train_timesteps if flows else time[None])
        latents = scheduler.step(answer, time, latents, **drawing, return_dict=False)[0]
    return latents

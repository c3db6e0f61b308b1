# SPDX-License-Identifier: Apache-2.0
"""Images of prompts, the same for the same seed: what validation writes, and what `blendset sample` writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from PIL import Image

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.images import to_image
from blendset_trainer.diffusion.randomness import seed_generator
from blendset_trainer.models.weights import explain_use_errors


@dataclass(frozen=True)
class SamplingSettings:
    """How images are made; None leaves a value to the model's family. Sides are in pixels."""

    seed: int = 0
    steps: int | None = None
    width: int | None = None
    height: int | None = None
    cfg_scale: float | None = None
    embedded_guidance: float | None = None


@torch.no_grad()
def sample_images(model: Family, prompts: Sequence[str], settings: SamplingSettings) -> Iterator[Image.Image]:
    """One image of each prompt; the n-th has seed + n. They are made one at a time, so that none depends on the others.

    Noise is sampled on the CPU, so that every device starts from the same. Raises BlendsetError for sides or guidance
    that the family does not take, and for an image of numbers that are not finite.
    """
    size, options = choose_size(model, settings), make_call_options(model, settings)
    training = model.module.training
    model.module.eval()
    try:
        for number, prompt in enumerate(prompts):
            generator = seed_generator(settings.seed + number)
            with explain_use_errors(model.model), _autocast(model):
                latents = model.pipeline(prompt, generator=generator, output_type="latent", **options).images
            pixels = model.decode_latents(model.unpack_latents(latents, **size))[0]
            if not pixels.isfinite().all():
                raise BlendsetError(
                    f"The picture of '{prompt[:40]}' is of numbers that are not finite; the model or its LoRA is "
                    "damaged, or its numbers overflow in half precision."
                )
            yield to_image(pixels)
    finally:
        model.module.train(training)


def resolve_sampling(model: Family, settings: SamplingSettings) -> SamplingSettings:
    """The settings with the family's defaults in place of None; BlendsetError for sides that it cannot make."""
    defaults = asdict(model.sampling_defaults) | choose_size(model, settings)
    return replace(settings, **{name: value for name, value in defaults.items() if getattr(settings, name) is None})


def make_call_options(model: Family, settings: SamplingSettings) -> dict[str, Any]:
    """Arguments of the pipeline's call; BlendsetError for sides or guidance that the family does not take."""
    resolved = resolve_sampling(model, settings)
    guidance = model.build_sampling_options(resolved.cfg_scale, resolved.embedded_guidance)
    return guidance | choose_size(model, resolved) | {"num_inference_steps": resolved.steps}


def choose_size(model: Family, settings: SamplingSettings) -> dict[str, int]:
    """Height and width in pixels: the settings', or the family's default. BlendsetError for what it cannot make."""
    default = model.default_size
    size = {"height": settings.height or default, "width": settings.width or default}
    for side, pixels in size.items():
        if pixels % model.size_divisor:
            raise BlendsetError(
                f"{model.name} makes no pictures of {side} {pixels}; give a multiple of {model.size_divisor} pixels."
            )
    return size


def _autocast(model: Family) -> AbstractContextManager[object]:
    """Autocast for a denoiser that is trained in float32 beside encoders in half precision."""
    dtype = model.pipeline.text_encoder.dtype
    return nullcontext() if dtype == model.dtype else torch.autocast(model.module.device.type, dtype)

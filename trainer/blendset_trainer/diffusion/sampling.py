# SPDX-License-Identifier: Apache-2.0
"""Pictures of prompts, the same for the same seed: what validation shows, and what `blendset sample` writes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from PIL import Image

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.randomness import seed_generator


@dataclass(frozen=True)
class SamplingSettings:
    """How pictures are made; None leaves a figure to the pipeline."""

    seed: int = 0
    steps: int | None = None
    width: int | None = None
    height: int | None = None
    cfg_scale: float | None = None


@torch.no_grad()
def sample(family: Family, prompts: Sequence[str], settings: SamplingSettings) -> Iterator[Image.Image]:
    """One picture of each prompt, one at a time, so that it does not depend on the others; the n-th has seed + n.

    Noise is drawn on the CPU, so that every device starts from the same. Raises BlendsetError for sides that the
    family cannot make.
    """
    size = choose_size(family, settings)
    options = family.build_sampling_options(settings.cfg_scale) | size
    if settings.steps:
        options["num_inference_steps"] = settings.steps
    training = family.module.training
    family.module.eval()
    try:
        for number, prompt in enumerate(prompts):
            generator = seed_generator(settings.seed + number)
            with _autocast(family):
                latents = family.pipeline(prompt, generator=generator, output_type="latent", **options).images
            yield to_image(family.decode_latents(family.unpack_latents(latents, **size))[0])
    finally:
        family.module.train(training)


def make_grid(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one size side by side, as nearly square as they fit, in rows."""
    columns = math.ceil(math.sqrt(len(pictures)))
    width, height = pictures[0].size
    sheet = Image.new("RGB", (columns * width, math.ceil(len(pictures) / columns) * height), "white")
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * width, number // columns * height))
    return sheet


def encode_png(picture: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def choose_size(family: Family, settings: SamplingSettings) -> dict[str, int]:
    """Height and width as asked for, or the family's default; BlendsetError for what it cannot make."""
    default = family.default_size
    size = {"height": settings.height or default, "width": settings.width or default}
    for side, pixels in size.items():
        if pixels % family.size_divisor:
            raise BlendsetError(
                f"{family.name} makes no pictures of {side} {pixels}; give a multiple of {family.size_divisor} pixels."
            )
    return size


def _autocast(family: Family) -> AbstractContextManager[object]:
    """Where the denoiser is trained in float32 and the encoders are not, autocast lets the pipeline run."""
    dtype = family.pipeline.text_encoder.dtype
    return nullcontext() if dtype == family.dtype else torch.autocast(family.module.device.type, dtype)


def to_image(pixels: torch.Tensor) -> Image.Image:
    """sRGB of pixels (3, H, W) in -1..1."""
    levels = ((pixels.permute(1, 2, 0) + 1) * 127.5).round().to("cpu", torch.uint8)
    return Image.fromarray(levels.numpy())

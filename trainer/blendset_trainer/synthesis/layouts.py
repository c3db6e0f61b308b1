# SPDX-License-Identifier: Apache-2.0
"""How a pipeline lays out the latents of images of one size: their grid, their noise, and an image as latents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from blendset.tokens import Grid
from blendset_trainer.diffusion.latents import scale_latents
from blendset_trainer.diffusion.pipelines import GenericPipeline
from blendset_trainer.diffusion.randomness import seed_generators


@dataclass(frozen=True)
class LatentLayout:
    """The latents of images of `height` x `width` pixels in a diffusers pipeline: (N, C, h, w), or (N, h w / 4, 4 C) in
    FLUX, whose pipelines pack 2 x 2 latents into a token. BlendsetError for sides that the pipeline does not draw.
    """

    pipeline: GenericPipeline
    height: int
    width: int

    def __post_init__(self) -> None:
        self.pipeline.check_sides((self.height, self.width))

    @property
    def denoiser(self) -> Any:
        """The transformer or the U-Net."""
        return self.pipeline.module

    @property
    def grid(self) -> Grid:
        """Rows and columns of latents, or of FLUX's tokens."""
        pixels = self.pipeline.pixels_per_cell
        return self.height // pixels, self.width // pixels

    def sample_noise(self, seeds: Sequence[int]) -> Tensor:
        """The noise that images start from, (N, C, h, w) or FLUX's (N, tokens, 4C), one image to a seed.

        It is sampled on the CPU, so that every device starts from the same.
        """
        factor, channels = self.pipeline.pixels_per_latent, self.pipeline.pipeline.vae.config.latent_channels
        size = (channels, self.height // factor, self.width // factor)
        noise = [torch.randn(size, generator=generator) for generator in seed_generators(seeds)]
        return self._to_denoiser(torch.stack(noise))

    def encode_image(self, image: Image) -> Tensor:
        """The clean latents of an image, a batch of one: (1, C, h, w), or FLUX's (1, tokens, 4C)."""
        vae = self.pipeline.pipeline.vae
        pixels = self.pipeline.pipeline.image_processor.preprocess(image).to(vae.device, vae.dtype)
        return self._to_denoiser(scale_latents(vae, vae.encode(pixels).latent_dist.mode()))

    def _to_denoiser(self, latents: Tensor) -> Tensor:
        """Latents (N, C, h, w) in the pipeline's layout, on the denoiser's device."""
        return self.pipeline.pack_latents(latents).to(self.denoiser.device, self.denoiser.dtype)

# SPDX-License-Identifier: Apache-2.0
"""How a pipeline lays out the latents of pictures of one size: its grid, its noise, what a picture becomes in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor

from blendset.tokens import Grid
from blendset_trainer.diffusion.latents import pack_latents
from blendset_trainer.diffusion.pipelines import GenericPipeline
from blendset_trainer.diffusion.randomness import seed_generators


@dataclass(frozen=True)
class Layout:
    """Of pictures of `height` x `width` pixels; BlendsetError for sides that the pipeline does not draw."""

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
        """Rows and columns of what a layout has one of per place: latents, or FLUX's tokens of 2 x 2 latents."""
        pixels = self.pipeline.pixels_per_cell
        return self.height // pixels, self.width // pixels

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """What pictures begin as, one to a seed; drawn on the CPU, so that every device starts from the same."""
        factor, channels = self.pipeline.pixels_per_latent, self.pipeline.pipeline.vae.config.latent_channels
        size = (channels, self.height // factor, self.width // factor)
        return self._to_pipeline(torch.stack([torch.randn(size, generator=each) for each in seed_generators(seeds)]))

    def latents(self, picture: Image) -> Tensor:
        """What a picture is without noise, (1, ...)."""
        vae = self.pipeline.pipeline.vae
        pixels = self.pipeline.pipeline.image_processor.preprocess(picture).to(vae.device, vae.dtype)
        mean = vae.encode(pixels).latent_dist.mode() - (vae.config.get("shift_factor") or 0.0)
        return self._to_pipeline(mean * vae.config.scaling_factor)

    def _to_pipeline(self, latents: Tensor) -> Tensor:
        """Latents as the pipeline samples them, on the denoiser's device."""
        if self.pipeline.packs_latents:
            latents = pack_latents(latents).contiguous()
        return latents.to(self.denoiser.device, self.denoiser.dtype)

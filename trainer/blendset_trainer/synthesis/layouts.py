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
from blendset_trainer.diffusion.pipelines import noise_generators, refuse_sides


@dataclass(frozen=True)
class Layout:
    """Of pictures of `height` x `width` pixels; BlendsetError for sides that the pipeline does not draw."""

    pipeline: Any
    height: int
    width: int

    def __post_init__(self) -> None:
        refuse_sides(self.pipeline, (self.height, self.width))

    @property
    def denoiser(self) -> Any:
        """The transformer or the U-Net."""
        return getattr(self.pipeline, "transformer", None) or self.pipeline.unet

    @property
    def grid(self) -> Grid:
        """Rows and columns of what a layout has one of per place: latents, or FLUX's tokens of 2 x 2 latents."""
        pixels = self.pipeline.vae_scale_factor * (2 if self._packs else 1)
        return self.height // pixels, self.width // pixels

    def noise(self, seeds: Sequence[int]) -> Tensor:
        """What pictures begin as, one to a seed; drawn on the CPU, so that every device starts from the same."""
        factor, channels = self.pipeline.vae_scale_factor, self.pipeline.vae.config.latent_channels
        size = (channels, self.height // factor, self.width // factor)
        return self._laid(torch.stack([torch.randn(size, generator=each) for each in noise_generators(seeds)]))

    def latents(self, picture: Image) -> Tensor:
        """What a picture is without noise, (1, ...)."""
        vae = self.pipeline.vae
        pixels = self.pipeline.image_processor.preprocess(picture).to(vae.device, vae.dtype)
        mean = vae.encode(pixels).latent_dist.mode() - (vae.config.get("shift_factor") or 0.0)
        return self._laid(mean * vae.config.scaling_factor)

    @property
    def _packs(self) -> bool:
        return hasattr(self.pipeline, "_pack_latents")

    def _laid(self, latents: Tensor) -> Tensor:
        if self._packs:
            latents = self.pipeline._pack_latents(latents, *latents.shape)
        return latents.to(self.denoiser.device, self.denoiser.dtype)

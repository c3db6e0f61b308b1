# SPDX-License-Identifier: Apache-2.0
"""A pipeline that diffusers does not have, of Zero123++'s shape: a picture in, a sheet of six views out, and noise for
the reference that no generator of the caller's makes. Models in tests bring it along as their pipeline.py.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DiffusionPipeline, ImagePipelineOutput
from diffusers.image_processor import VaeImageProcessor


class Zero123PlusPipeline(DiffusionPipeline):  # type: ignore[misc] # diffusers has no types
    def __init__(self, vae: Any, unet: Any, scheduler: Any, vision_encoder: Any, feature_extractor: Any) -> None:
        super().__init__()
        self.register_modules(
            vae=vae, unet=unet, scheduler=scheduler, vision_encoder=vision_encoder, feature_extractor=feature_extractor
        )
        self.image_processor = VaeImageProcessor(vae_scale_factor=2)

    @torch.no_grad()
    def __call__(
        self,
        image: Any,
        guidance_scale: float = 4.0,
        width: int = 32,
        height: int = 48,
        num_inference_steps: int = 28,
        generator: Any = None,
        output_type: str = "pil",
    ) -> Any:
        assert image.width == image.height, "it takes squares"
        pixels = self.feature_extractor(images=image, return_tensors="pt").pixel_values.to(self.device)
        seen = self.vision_encoder(pixels).image_embeds[:, None]
        picture = self.image_processor.preprocess(image, height=height, width=width).to(self.device)
        reference = self.vae.encode(picture).latent_dist.sample()
        latents = torch.randn(reference.shape, generator=generator).to(reference)
        self.scheduler.set_timesteps(num_inference_steps)
        for time in self.scheduler.timesteps:
            noisy = torch.cat([latents, reference + 0.1 * torch.randn_like(reference)], dim=1)
            unseen, told = (self.unet(noisy, time, words).sample for words in (torch.zeros_like(seen), seen))
            latents = self.scheduler.step(unseen + guidance_scale * (told - unseen), time, latents).prev_sample
        return ImagePipelineOutput(self.image_processor.postprocess(self.vae.decode(latents).sample, output_type))

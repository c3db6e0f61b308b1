# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion XL: a U-Net with features of two CLIPs, conditioned on the size and the crop of each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from blendset_trainer.diffusion.families.family import Conditions, ReferenceDefaults
from blendset_trainer.diffusion.families.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    name = "Stable Diffusion XL"
    controlnet_class = "StableDiffusionXLControlNetPipeline"
    references = ReferenceDefaults("same", image_scale=8.0, text_scale=7.5)
    unused_components = "feature_extractor", "image_encoder"

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Zeros for an empty prompt where the pipeline's unconditional features are zeros."""
        device = self.pipeline.text_encoder_2.device
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=device, do_classifier_free_guidance=False
        )
        if self.pipeline.config.get("force_zeros_for_empty_prompt"):
            empty = [not prompt for prompt in prompts]
            embeds[empty], pooled[empty] = 0, 0
        return {"embeds": embeds, "pooled": pooled}

    def predict(self, noisy: Tensor, level: Tensor, features: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The prediction (B, C, h, w) for noisy latents (B, C, h, w) at timesteps (B,)."""
        sizes = conditions.sizes.to(self.module.device)
        added = {"text_embeds": self._to_denoiser(features["pooled"]), "time_ids": sizes}
        return self._denoise(noisy, level, features, added_cond_kwargs=added)

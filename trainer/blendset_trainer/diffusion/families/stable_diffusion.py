# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion 1.x and 2.x: a U-Net with CLIP features; epsilon or v-prediction, as its scheduler says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from blendset_trainer.diffusion.families.family import Conditions, Family


class StableDiffusion(Family):
    name = "Stable Diffusion"
    denoiser_name = "unet"
    controlnet_class = "StableDiffusionControlNetPipeline"
    unused_components: ClassVar[tuple[str, ...]] = "safety_checker", "feature_extractor", "image_encoder"

    @staticmethod
    def compute_size_divisor(pixels_per_latent: int, denoiser: Mapping[str, Any]) -> int:
        """The pixels of a side of one cell in the U-Net's coarsest grid."""
        return int(pixels_per_latent * 2 ** (len(denoiser["block_out_channels"]) - 1))

    @property
    def pixels_per_token(self) -> int:
        """The pixels of a latent, which is a token of the U-Net's finest grid."""
        return self.pixels_per_latent

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """CLIP's features (B, tokens, D)."""
        device = self.pipeline.text_encoder.device
        embeds, _ = self.pipeline.encode_prompt(list(prompts), device, 1, do_classifier_free_guidance=False)
        return {"embeds": embeds}

    def predict(self, noisy: Tensor, level: Tensor, features: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The prediction (B, C, h, w) for noisy latents (B, C, h, w) at timesteps (B,)."""
        return self._denoise(noisy, level, features)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of CLIP."""
        return self.pipeline.tokenizer

    @property
    def max_tokens(self) -> int:
        """How many tokens CLIP was trained with."""
        return int(self.tokenizer.model_max_length)

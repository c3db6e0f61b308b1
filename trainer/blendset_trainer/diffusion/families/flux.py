# SPDX-License-Identifier: Apache-2.0
"""FLUX.1: a flow transformer over packed latents (2 × 2 latents are a token) with T5 and pooled CLIP features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.densities import LOGIT_NORMAL
from blendset_trainer.diffusion.families.family import Conditions, Family, ReferenceDefaults, SamplingDefaults
from blendset_trainer.diffusion.families.stable_diffusion_3 import JOINT_ATTENTION
from blendset_trainer.diffusion.latents import pack_latents, unpack_latents
from blendset_trainer.diffusion.shared_attention import rotary_positions


class Flux(Family):
    name = "FLUX"
    base_density = LOGIT_NORMAL
    lora_targets = JOINT_ATTENTION
    joint_attention = True
    references = ReferenceDefaults("clean", image_scale=1.0, text_scale=1.5, guidance=3.5)
    unused_components = "feature_extractor", "image_encoder"

    @staticmethod
    def compute_size_divisor(pixels_per_latent: int, denoiser: Mapping[str, Any]) -> int:
        """The side of a token, two latents."""
        return 2 * pixels_per_latent

    @property
    def default_size(self) -> int:
        """Diffusers' default; the configuration does not say."""
        return int(self.pipeline.default_sample_size * self.pixels_per_latent)

    @property
    def max_tokens(self) -> int:
        """256 for the model without embedded guidance (schnell), 512 for the other (dev)."""
        return 512 if self.module.config.guidance_embeds else 256

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """T5's features (B, tokens, D) and CLIP's pooled ones (B, D)."""
        embeds, pooled, _ = self.pipeline.encode_prompt(
            list(prompts), device=self.pipeline.text_encoder.device, max_sequence_length=self.max_tokens
        )
        return {"embeds": embeds, "pooled": pooled}

    def predict(self, noisy: Tensor, level: Tensor, features: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The velocity (B, C, h, w) for noisy latents (B, C, h, w) at sigmas (B,)."""
        height, width = noisy.shape[-2:]
        predicted = self._denoise(
            pack_latents(noisy),
            level,  # the transformer multiplies it by 1000 itself
            features,
            pooled_projections=self._to_denoiser(features["pooled"]),
            img_ids=rotary_positions(height // 2, width // 2).to(self.module.device),
            txt_ids=torch.zeros(features["embeds"].shape[1], 3, device=self.module.device),
            guidance=self._build_guidance(len(noisy), conditions),
        )
        return unpack_latents(predicted, height, width)

    def _build_guidance(self, count: int, conditions: Conditions) -> Tensor | None:
        if not self.module.config.guidance_embeds:
            return None
        return torch.full((count,), conditions.guidance, device=self.module.device)

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of T5."""
        return self.pipeline.tokenizer_2

    @property
    def sampling_defaults(self) -> SamplingDefaults:
        """Black Forest Labs' own: embedded guidance alone for dev, four steps without any guidance for schnell."""
        return SamplingDefaults(28, 1.0, 3.5) if self.embeds_guidance else SamplingDefaults(4, 1.0)

    def build_sampling_options(self, cfg_scale: float | None, embedded_guidance: float | None = None) -> dict[str, Any]:
        """The pipeline's `guidance_scale` is the embedded guidance; classifier-free guidance is `true_cfg_scale`, for
        which the pipeline wants a negative prompt.
        """
        guided = {} if cfg_scale is None else {"negative_prompt": ""}
        options = super().build_sampling_options(cfg_scale, embedded_guidance)
        return guided | options | {"max_sequence_length": self.max_tokens}

    @staticmethod
    def list_joint_tokenizers(pipeline: Any) -> list[tuple[Any, int]]:
        """The tokenizer of T5, whose tokens come first."""
        return [(pipeline.tokenizer_2, 0)]

# SPDX-License-Identifier: Apache-2.0
"""FLUX.1: a flow transformer over packed latents (2 × 2 of them to a token) that reads T5 and a pooled CLIP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.densities import LOGIT_NORMAL
from blendset_trainer.diffusion.families.family import Conditions, Family, ReferenceDefaults
from blendset_trainer.diffusion.families.stable_diffusion_3 import JOINT_ATTENTION
from blendset_trainer.diffusion.shared_attention import places


class Flux(Family):
    name = "FLUX"
    base = LOGIT_NORMAL
    lora_targets = JOINT_ATTENTION
    references = ReferenceDefaults("clean", image_scale=1.0, text_scale=1.5, guidance=3.5)
    left_out = "feature_extractor", "image_encoder"

    @property
    def multiple(self) -> int:
        return 2 * self.pixels_per_latent

    @property
    def own_size(self) -> int:
        """Its configuration does not say; diffusers' default."""
        return int(self.pipeline.default_sample_size * self.pixels_per_latent)

    @property
    def tokens(self) -> int:
        """The distilled model without guidance (schnell) reads half as far as the other (dev)."""
        return 512 if self.module.config.guidance_embeds else 256

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> dict[str, Tensor]:
        embeds, pooled, _ = self.pipeline.encode_prompt(
            list(captions), device=self.pipeline.text_encoder.device, max_sequence_length=self.tokens
        )
        return {"embeds": embeds, "pooled": pooled}

    def predict(self, noisy: Tensor, level: Tensor, texts: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        height, width = noisy.shape[-2:]
        predicted = self._denoise(
            packed(noisy),
            level,  # the transformer itself counts it in thousandths
            texts,
            pooled_projections=self._ready(texts["pooled"]),
            img_ids=places(height // 2, width // 2).to(self.module.device),
            txt_ids=torch.zeros(texts["embeds"].shape[1], 3, device=self.module.device),
            guidance=self._guidance(len(noisy), conditions),
        )
        return opened(predicted, height, width)

    def _guidance(self, count: int, conditions: Conditions) -> Tensor | None:
        if not self.module.config.guidance_embeds:
            return None
        return torch.full((count,), conditions.guidance, device=self.module.device)

    @property
    def reader(self) -> tuple[Any, int]:
        return self.pipeline.tokenizer_2, self.tokens

    def sampling_options(self, cfg_scale: float | None) -> dict[str, Any]:
        """Its pipeline calls the embedded guidance "guidance_scale", and classifier-free guidance the true one."""
        guided = {} if cfg_scale is None else {"true_cfg_scale": cfg_scale, "negative_prompt": ""}
        return guided | {"max_sequence_length": self.tokens}

    def unpacked(self, latents: Tensor, height: int, width: int) -> Tensor:
        return opened(latents, height // self.pixels_per_latent, width // self.pixels_per_latent)


def packed(latents: Tensor) -> Tensor:
    """Tokens (B, h/2 · w/2, 4C) of latents (B, C, h, w): rows of 2 × 2 squares, each channel's four side by side."""
    squares = torch.nn.functional.pixel_unshuffle(latents, 2)
    return squares.flatten(2).transpose(1, 2)


def opened(tokens: Tensor, height: int, width: int) -> Tensor:
    """The latents (B, C, height, width) that were `packed`."""
    squares = tokens.transpose(1, 2).reshape(len(tokens), -1, height // 2, width // 2)
    return torch.nn.functional.pixel_shuffle(squares, 2)

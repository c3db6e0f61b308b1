# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion 1.x and 2.x: a U-Net that reads one CLIP; epsilon or v-prediction, as its scheduler says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from blendset_trainer.diffusion.families.family import Conditions, Family


class StableDiffusion(Family):
    name = "Stable Diffusion"
    part = "unet"
    left_out: ClassVar[tuple[str, ...]] = "safety_checker", "feature_extractor", "image_encoder"

    @property
    def multiple(self) -> int:
        return int(self.pixels_per_latent * 2 ** (len(self.module.config.block_out_channels) - 1))

    @property
    def pixels_per_token(self) -> int:
        return self.pixels_per_latent

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> dict[str, Tensor]:
        device = self.pipeline.text_encoder.device
        embeds, _ = self.pipeline.encode_prompt(list(captions), device, 1, do_classifier_free_guidance=False)
        return {"embeds": embeds}

    def predict(self, noisy: Tensor, level: Tensor, texts: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        return self._denoise(noisy, level, texts)

    @property
    def reader(self) -> tuple[Any, int]:
        return self.pipeline.tokenizer, self.pipeline.tokenizer.model_max_length

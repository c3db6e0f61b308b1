# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion XL: a U-Net that reads two CLIPs, and is told the size and the cut of each picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from blendset_trainer.diffusion.families.family import Conditions, ReferenceDefaults
from blendset_trainer.diffusion.families.stable_diffusion import StableDiffusion


class StableDiffusionXL(StableDiffusion):
    name = "Stable Diffusion XL"
    references = ReferenceDefaults("same", image_scale=8.0, text_scale=7.5)
    left_out = "feature_extractor", "image_encoder"

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Zeros for no caption where the pipeline guides away from zeros."""
        device = self.pipeline.text_encoder_2.device
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(captions), device=device, do_classifier_free_guidance=False
        )
        if self.pipeline.config.get("force_zeros_for_empty_prompt"):
            empty = [not caption for caption in captions]
            embeds[empty], pooled[empty] = 0, 0
        return {"embeds": embeds, "pooled": pooled}

    def predict(self, noisy: Tensor, level: Tensor, texts: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        sizes = conditions.sizes.to(self.module.device)
        told = {"text_embeds": self._ready(texts["pooled"]), "time_ids": sizes}
        return self._denoise(noisy, level, texts, added_cond_kwargs=told)

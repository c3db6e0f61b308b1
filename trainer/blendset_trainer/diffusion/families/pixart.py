# SPDX-License-Identifier: Apache-2.0
"""PixArt-α and PixArt-Σ: a transformer with T5 features; α of 1024 pixels is conditioned on size and aspect too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.families.family import Conditions, Family


class PixArtSigma(Family):
    name = "PixArt-Σ"
    max_tokens = 300

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Prompts are not cleaned: the cleaning that the pipelines offer needs further packages and drops words."""
        embeds, mask, _, _ = self.pipeline.encode_prompt(
            list(prompts),
            do_classifier_free_guidance=False,
            device=self.pipeline.text_encoder.device,
            max_sequence_length=self.max_tokens,
        )
        return {"embeds": embeds, "mask": mask}

    def predict(self, noisy: Tensor, level: Tensor, features: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The prediction, (B, C, h, w); a second half of output channels is a variance, which is not trained."""
        predicted = self._denoise(
            noisy,
            level,
            features,
            encoder_attention_mask=features["mask"].to(self.module.device),
            added_cond_kwargs=self._build_size_conditions(conditions),
        )
        return predicted[:, : noisy.shape[1]]

    def _build_size_conditions(self, conditions: Conditions) -> dict[str, Tensor | None]:
        if not self.module.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        sizes = conditions.sizes.to(self.module.device)
        return {"resolution": sizes[:, :2], "aspect_ratio": sizes[:, 4:5] / sizes[:, 5:]}

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of T5."""
        return self.pipeline.tokenizer

    def build_sampling_options(self, cfg_scale: float | None, embedded_guidance: float | None = None) -> dict[str, Any]:
        """As in training: no resolution binning, no cleaning of prompts."""
        return super().build_sampling_options(cfg_scale, embedded_guidance) | {
            "use_resolution_binning": False,
            "clean_caption": False,
            "max_sequence_length": self.max_tokens,
        }


class PixArtAlpha(PixArtSigma):
    name = "PixArt-α"
    max_tokens = 120

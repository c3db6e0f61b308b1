# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion 3 and 3.5: a flow transformer that reads two CLIPs and, where it was loaded with it, T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.densities import LOGIT_NORMAL
from blendset_trainer.diffusion.families.family import ATTENTION, Conditions, Family

JOINT_ATTENTION = *ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"
"""The projections of the caption's tokens too."""


class StableDiffusion3(Family):
    name = "Stable Diffusion 3"
    base = LOGIT_NORMAL
    lora_targets = JOINT_ATTENTION
    left_out = "feature_extractor", "image_encoder"
    tokens = 256

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Without T5 its rows are zeros, as they are in sampling."""
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(captions),
            None,
            None,
            device=self.pipeline.text_encoder.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.tokens,
        )
        return {"embeds": embeds, "pooled": pooled}

    def predict(self, noisy: Tensor, level: Tensor, texts: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        return self._denoise(noisy, 1000 * level, texts, pooled_projections=self._ready(texts["pooled"]))

    @property
    def reader(self) -> tuple[Any, int]:
        if self.pipeline.text_encoder_3 is None:
            return self.pipeline.tokenizer, self.pipeline.tokenizer.model_max_length
        return self.pipeline.tokenizer_3, self.tokens

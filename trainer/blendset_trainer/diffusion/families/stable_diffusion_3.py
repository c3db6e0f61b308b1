# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion 3 and 3.5: a flow transformer with features of two CLIPs and, where it is there, of T5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.densities import LOGIT_NORMAL
from blendset_trainer.diffusion.families.family import ATTENTION, Conditions, Family

JOINT_ATTENTION = *ATTENTION, "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out"
"""The projections of the prompt's tokens too."""

T5_TOKENS = 256
"""How many T5 reads, by diffusers' default."""


class StableDiffusion3(Family):
    name = "Stable Diffusion 3"
    base_density = LOGIT_NORMAL
    lora_targets = JOINT_ATTENTION
    joint_attention = True
    unused_components = "feature_extractor", "image_encoder"

    @torch.no_grad()
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Without T5 the rows of its features are zeros, as they are in sampling."""
        embeds, _, pooled, _ = self.pipeline.encode_prompt(
            list(prompts),
            None,
            None,
            device=self.pipeline.text_encoder.device,
            do_classifier_free_guidance=False,
            max_sequence_length=T5_TOKENS,
        )
        return {"embeds": embeds, "pooled": pooled}

    def predict(self, noisy: Tensor, level: Tensor, features: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The velocity (B, C, h, w) for noisy latents (B, C, h, w) at sigmas (B,)."""
        return self._denoise(noisy, 1000 * level, features, pooled_projections=self._to_denoiser(features["pooled"]))

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of T5 where it is loaded, else of CLIP."""
        return self.pipeline.tokenizer if self.pipeline.text_encoder_3 is None else self.pipeline.tokenizer_3

    @property
    def max_tokens(self) -> int:
        """How many tokens T5 reads where it is loaded, else CLIP."""
        return int(self.tokenizer.model_max_length) if self.pipeline.text_encoder_3 is None else T5_TOKENS

    @staticmethod
    def list_joint_tokenizers(pipeline: Any) -> list[tuple[Any, int]]:
        """The tokenizer of CLIP, and of T5, whose tokens come behind, where it is loaded."""
        both = (pipeline.tokenizer, 0), (pipeline.tokenizer_3, pipeline.tokenizer_max_length)
        return [(tokenizer, first) for tokenizer, first in both if tokenizer is not None]

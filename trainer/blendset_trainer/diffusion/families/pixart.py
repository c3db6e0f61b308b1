# SPDX-License-Identifier: Apache-2.0
"""PixArt-α and PixArt-Σ: a transformer that reads T5 and, in the α of 1024 pixels, is told of size and shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from blendset_trainer.diffusion.families.family import Conditions, Family


class PixArtSigma(Family):
    name = "PixArt-Σ"
    tokens = 300

    @torch.no_grad()
    def texts(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """Captions are read as they are: cleaning, which pipelines offer, needs further packages and drops words."""
        embeds, mask, _, _ = self.pipeline.encode_prompt(
            list(captions),
            do_classifier_free_guidance=False,
            device=self.pipeline.text_encoder.device,
            max_sequence_length=self.tokens,
        )
        return {"embeds": embeds, "mask": mask}

    def predict(self, noisy: Tensor, level: Tensor, texts: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The second half of the denoiser's channels, where it has them, is a variance that is not trained."""
        predicted = self._denoise(
            noisy,
            level,
            texts,
            encoder_attention_mask=texts["mask"].to(self.module.device),
            added_cond_kwargs=self._told(conditions),
        )
        return predicted[:, : noisy.shape[1]]

    def _told(self, conditions: Conditions) -> dict[str, Tensor | None]:
        if not self.module.use_additional_conditions:
            return {"resolution": None, "aspect_ratio": None}
        sizes = conditions.sizes.to(self.module.device)
        return {"resolution": sizes[:, :2], "aspect_ratio": sizes[:, 4:5] / sizes[:, 5:]}

    @property
    def reader(self) -> tuple[Any, int]:
        return self.pipeline.tokenizer, self.tokens

    def sampling_options(self, cfg_scale: float | None) -> dict[str, Any]:
        """As in training: the size that is asked for, captions as they are."""
        return super().sampling_options(cfg_scale) | {
            "use_resolution_binning": False,
            "clean_caption": False,
            "max_sequence_length": self.tokens,
        }


class PixArtAlpha(PixArtSigma):
    name = "PixArt-α"
    tokens = 120

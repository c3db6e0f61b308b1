# SPDX-License-Identifier: Apache-2.0
"""What commands of a chain import, loaded once before processes are forked; nothing is computed here."""

from __future__ import annotations

import diffusers
import open_clip  # noqa: F401
import transformers

import blendset_trainer.captioning.metadata
import blendset_trainer.captioning.models.captioner
import blendset_trainer.scoring.chat.vlm_quality
import blendset_trainer.scoring.clip
import blendset_trainer.scoring.ssim
import blendset_trainer.synthesis.deformable
import blendset_trainer.synthesis.novel_views
import blendset_trainer.synthesis.prompts.writing
import blendset_trainer.synthesis.restyle
import blendset_trainer.synthesis.search.settings_search
import blendset_trainer.training.setup
import blendset_trainer.training.timesteps.report  # noqa: F401

CLASSES = (
    diffusers.AutoencoderKL, diffusers.DDIMScheduler, diffusers.EulerAncestralDiscreteScheduler,
    diffusers.FluxControlPipeline, diffusers.FluxPipeline, diffusers.StableDiffusionPipeline,
    diffusers.UNet2DConditionModel, transformers.CLIPImageProcessor, transformers.CLIPTextModel,
    transformers.CLIPVisionModelWithProjection, transformers.SamModel, transformers.SamProcessor,
    transformers.T5EncoderModel,
)  # fmt: skip
"""Both libraries load a class when it is first named."""

# SPDX-License-Identifier: Apache-2.0
"""Tiny pipelines of every family with random weights, saved to a folder as released ones are: the same classes, built
from configuration, so that whatever holds for their shapes holds for the real ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.trainer.tiny_models import SMALL, tokenizer

PIXELS = 64
"""The side of the pictures that they make."""
BLOCKS = (16, 32)
SCALED_LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                 "steps_offset": 1, "clip_sample": False}  # fmt: skip


def stable_diffusion(folder: Path, prediction: str = "epsilon", **schedule: Any) -> Path:
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(**_unet(32))
    scheduler = diffusers.DDIMScheduler(**SCALED_LINEAR, prediction_type=prediction, **schedule)
    pipeline = diffusers.StableDiffusionPipeline(
        _vae(), _clip(), tokenizer(limit=16), unet, scheduler, None, None, requires_safety_checker=False
    )
    return _saved(pipeline, folder)


def stable_diffusion_2(folder: Path) -> Path:
    """v-prediction, with a schedule that ends in noise alone."""
    return stable_diffusion(folder, "v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")


def _unet(text_width: int, **more: Any) -> dict[str, Any]:
    return {
        "sample_size": PIXELS // 2, "block_out_channels": BLOCKS, "layers_per_block": 1, "norm_num_groups": 8,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": text_width, "attention_head_dim": 2,
    } | more  # fmt: skip


def _vae(channels: int = 4, **more: Any) -> Any:
    """A VAE that halves the sides of a picture."""
    return diffusers.AutoencoderKL(
        block_out_channels=BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=8,
        sample_size=PIXELS,
        **more,
    )


def _clip(kind: Any = transformers.CLIPTextModel, width: int = 32) -> Any:
    words = tokenizer(limit=16)
    config = transformers.CLIPTextConfig(
        **SMALL | {"hidden_size": width}, vocab_size=len(words), max_position_embeddings=16, projection_dim=width,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    return kind(config)


def _saved(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder

# SPDX-License-Identifier: Apache-2.0
"""Tiny pipelines of every family with random weights, saved to a folder as released ones are: the same classes, built
from configuration, so that whatever holds for their shapes holds for the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers

from tests.trainer.sheet_pipeline import Zero123PlusPipeline
from tests.trainer.tiny_models import EYE, SIZE, SMALL, tokenizer

PIXELS = 32
"""The side of the pictures that they make."""
BLOCKS = (16, 32)
SCALED_LINEAR = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                 "steps_offset": 1, "clip_sample": False}  # fmt: skip
KINDS = [
    "stable_diffusion", "stable_diffusion_2", "stable_diffusion_xl", "pixart_alpha", "pixart_sigma",
    "stable_diffusion_3", "stable_diffusion_3_without_t5", "flux", "flux_schnell",
]  # fmt: skip
Make = Callable[[str], Path]


def maker(folder: Path) -> Make:
    """Makes the tiny pipeline of a kind (a function below) on first use; returns its folder."""
    return cache(lambda kind: globals()[kind](folder / kind))


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


def stable_diffusion_xl(folder: Path) -> Path:
    torch.manual_seed(0)
    time_ids, told, pooled = 6, 8, 16
    unet = diffusers.UNet2DConditionModel(
        **_unet(32 + pooled, addition_embed_type="text_time", addition_time_embed_dim=told,
                projection_class_embeddings_input_dim=time_ids * told + pooled, use_linear_projection=True)
    )  # fmt: skip
    second = _clip(transformers.CLIPTextModelWithProjection, pooled)
    words = tokenizer(limit=16)
    scheduler = diffusers.EulerDiscreteScheduler(
        **{key: value for key, value in SCALED_LINEAR.items() if key != "clip_sample"}
    )
    pipeline = diffusers.StableDiffusionXLPipeline(_vae(), _clip(), second, words, words, unet, scheduler)
    return _saved(pipeline, folder)


def pixart_alpha(folder: Path) -> Path:
    """Of 1024 pixels, by its sample size: it is told of size and shape."""
    return _pixart(folder, diffusers.PixArtAlphaPipeline, sample_size=128)


def pixart_sigma(folder: Path) -> Path:
    return _pixart(folder, diffusers.PixArtSigmaPipeline, sample_size=PIXELS // 2)


def _pixart(folder: Path, kind: Any, sample_size: int) -> Path:
    torch.manual_seed(0)
    heads, width = 2, 12
    transformer = diffusers.PixArtTransformer2DModel(
        num_attention_heads=heads, attention_head_dim=width, cross_attention_dim=heads * width, in_channels=4,
        out_channels=8, num_layers=2, sample_size=sample_size, caption_channels=32,
    )  # fmt: skip
    scheduler = diffusers.DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear")
    return _saved(kind(_words(), _t5(), _vae(), transformer, scheduler), folder)


def stable_diffusion_3(folder: Path, with_t5: bool = True) -> Path:
    torch.manual_seed(0)
    heads, width, pooled = 2, 8, 16
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=PIXELS // 2, patch_size=2, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=width,
        num_attention_heads=heads, joint_attention_dim=32, caption_projection_dim=heads * width,
        pooled_projection_dim=2 * pooled, pos_embed_max_size=PIXELS // 2,
    )  # fmt: skip
    clips = [_clip(transformers.CLIPTextModelWithProjection, pooled) for _ in range(2)]
    words = tokenizer(limit=16)
    pipeline = diffusers.StableDiffusion3Pipeline(
        transformer, diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0), _vae(16, shift_factor=0.0609),
        clips[0], words, clips[1], words, _t5() if with_t5 else None, _words() if with_t5 else None,
    )  # fmt: skip
    return _saved(pipeline, folder)


def stable_diffusion_3_without_t5(folder: Path) -> Path:
    return stable_diffusion_3(folder, with_t5=False)


def flux(folder: Path, guided: bool = True) -> Path:
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=guided, axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=guided)
    pipeline = diffusers.FluxPipeline(
        scheduler, _vae(16, shift_factor=0.1159), _clip(), tokenizer(limit=16), _t5(), _words(), transformer
    )
    return _saved(pipeline, folder)


def flux_depth(folder: Path) -> Path:
    """As FLUX.1-Depth: the depth's tokens lie beside the noisy ones, in twice as many channels."""
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        in_channels=128, out_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16,
        num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32, guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )  # fmt: skip
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipeline = diffusers.FluxControlPipeline(
        scheduler, _vae(16, shift_factor=0.1159), _clip(), tokenizer(limit=16), _t5(), _words(), transformer
    )
    return _saved(pipeline, folder)


def controlnet(folder: Path) -> Path:
    """For depth, beside the tiny SDXL."""
    unet = diffusers.StableDiffusionXLPipeline.from_pretrained(stable_diffusion_xl(folder / "beside")).unet
    torch.manual_seed(1)
    made = diffusers.ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(16, 32))
    for each in made.controlnet_down_blocks.parameters():
        torch.nn.init.normal_(each, std=0.1)  # they begin at zero, and would say nothing
    made.save_pretrained(folder)
    return folder


def flux_schnell(folder: Path) -> Path:
    return flux(folder, guided=False)


def zero123plus(folder: Path) -> Path:
    """Weights without the code that they need, as Zero123++'s are kept."""
    torch.manual_seed(0)
    eye = transformers.CLIPVisionModelWithProjection(transformers.CLIPVisionConfig(**EYE, projection_dim=32))
    scheduler = diffusers.EulerAncestralDiscreteScheduler(
        **{key: value for key, value in SCALED_LINEAR.items() if key != "clip_sample"}, timestep_spacing="trailing"
    )
    looks = transformers.CLIPImageProcessor(size={"shortest_edge": 28}, crop_size=SIZE)
    unet = diffusers.UNet2DConditionModel(**_unet(32), in_channels=8)
    return _saved(Zero123PlusPipeline(_vae(), unet, scheduler, eye, looks), folder)


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


def _t5() -> Any:
    config = transformers.T5Config(
        vocab_size=len(_words()), d_model=32, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return transformers.T5EncoderModel(config)


def _words() -> Any:
    return tokenizer(limit=512)


def _saved(pipeline: Any, folder: Path) -> Path:
    pipeline.save_pretrained(folder)
    return folder

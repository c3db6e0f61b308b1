# SPDX-License-Identifier: Apache-2.0
"""Stable Diffusion 1.5 with every width divided by one factor and random weights, saved as released models are.

Depths, kernels, tokens, and the widths of attention heads and of groups that are normalised stay.
"""

from __future__ import annotations

from pathlib import Path

import diffusers
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer

TEXT_WIDTH, TEXT_HEADS, HEADS, GROUPS = 768, 12, 8, 32
UNET, VAE = (320, 640, 1280, 1280), (128, 256, 512, 512)
"""Of the configurations in the repository stable-diffusion-v1-5 on the Hugging Face Hub."""


def save_narrow_stable_diffusion(folder: Path, factor: int) -> Path:
    """Save the pipeline; `factor` divides 4, the greatest that leaves every part a whole number of heads."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=64,
        block_out_channels=tuple(width // factor for width in UNET),
        attention_head_dim=HEADS // factor,  # which is what diffusers calls the number of heads
        norm_num_groups=GROUPS // factor,
        cross_attention_dim=TEXT_WIDTH // factor,
    )
    vae = diffusers.AutoencoderKL(
        sample_size=512,
        block_out_channels=tuple(width // factor for width in VAE),
        down_block_types=("DownEncoderBlock2D",) * len(VAE),
        up_block_types=("UpDecoderBlock2D",) * len(VAE),
        layers_per_block=2,
        norm_num_groups=GROUPS // factor,
    )
    scheduler = diffusers.PNDMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
    )
    words = make_clip_tokenizer()
    pipeline = diffusers.StableDiffusionPipeline(
        vae, make_text_encoder(words, factor), words, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.save_pretrained(folder)
    return folder


def make_text_encoder(words: transformers.CLIPTokenizer, factor: int) -> transformers.CLIPTextModel:
    """CLIP ViT-L/14's."""
    width = TEXT_WIDTH // factor
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=12,
        num_attention_heads=TEXT_HEADS // factor,
        max_position_embeddings=words.model_max_length,
        bos_token_id=words.bos_token_id,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
    )
    return transformers.CLIPTextModel(config)


def make_clip_tokenizer() -> transformers.CLIPTokenizer:
    """CLIP's, from the vocabulary that open_clip carries."""
    known = SimpleTokenizer()
    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {marks.get(token, token): number for token, number in known.encoder.items()}
    return transformers.CLIPTokenizer(vocabulary, list(known.bpe_ranks), model_max_length=known.context_length)

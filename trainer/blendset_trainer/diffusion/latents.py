# SPDX-License-Identifier: Apache-2.0
"""Latents: their scale, and their layouts as images (B, C, h, w) and as tokens (B, tokens, channels)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def pack_latents(latents: Tensor) -> Tensor:
    """FLUX's tokens (B, h/2 · w/2, 4C) of latents (B, C, h, w): 2 × 2 of them each, channel by channel."""
    return grid_to_tokens(torch.nn.functional.pixel_unshuffle(latents, 2))


def unpack_latents(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `pack_latents`: latents (B, C, height, width) of tokens (B, height/2 · width/2, 4C)."""
    return torch.nn.functional.pixel_shuffle(tokens_to_grid(tokens, height // 2, width // 2), 2)


def grid_to_tokens(grid: Tensor) -> Tensor:
    """Tokens (B, rows · columns, C), row by row, of a grid (B, C, rows, columns)."""
    return grid.flatten(2).transpose(1, 2)


def tokens_to_grid(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `grid_to_tokens`: a grid (B, C, rows, columns) of tokens (B, rows · columns, C)."""
    return tokens.transpose(1, 2).unflatten(2, (rows, columns))  # type: ignore[no-any-return]


def scale_latents(vae: Any, latents: Tensor) -> Tensor:
    """Latents as the denoiser takes them, of latents as the VAE encodes them; any shape."""
    return (latents - (vae.config.get("shift_factor") or 0.0)) * float(vae.config.scaling_factor)


def unscale_latents(vae: Any, latents: Tensor) -> Tensor:
    """Latents as the VAE decodes them, of latents as the denoiser takes them; any shape."""
    unscaled: Tensor = latents / vae.config.scaling_factor + (vae.config.get("shift_factor") or 0.0)
    return unscaled

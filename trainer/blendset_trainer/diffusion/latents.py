# SPDX-License-Identifier: Apache-2.0
"""Latents as images (B, C, h, w) and as the tokens (B, tokens, channels) that transformers sample."""

from __future__ import annotations

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

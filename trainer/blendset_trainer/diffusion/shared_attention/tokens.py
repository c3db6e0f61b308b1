# SPDX-License-Identifier: Apache-2.0
"""What a token stands for: which object it shows, and where it lies for rotary embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

Grid = tuple[int, int]
"""Rows and columns of tokens."""


def label_tokens(ids: Tensor, grid: Grid, share: float = 0.5) -> Tensor:
    """The object that each token shows most of, (..., rows, columns), of whole numbers (..., H, W) where 0 is nothing.

    Of an object that fills less than `share` of a token nothing is said: 0.
    """
    planes = ids.flatten(0, -3)
    labels = planes.new_zeros(len(planes), *grid)
    most = labels.float()
    for each in planes.unique().tolist():
        filled = adaptive_avg_pool2d((planes == each).float(), grid)
        better = (filled > most) & (filled >= share) & (each != 0)
        labels, most = labels.where(~better, each), torch.where(better, filled, most)
    return labels.unflatten(0, ids.shape[:-2])  # type: ignore[no-any-return]


def rotary_positions(rows: int, columns: int, slot: int = 0) -> Tensor:
    """Where each token of a picture stands, for rotary embeddings: (rows · columns, 3) of 0, row, column.

    To a picture that attends to it, the picture in `slot` stands so many heights below: pictures of a set lie under
    each other as on one tall canvas, as SynCD's do when it makes sets.
    """
    axes = torch.arange(1.0), torch.arange(float(rows)) + slot * rows, torch.arange(float(columns))
    return torch.cartesian_prod(*axes)

# SPDX-License-Identifier: Apache-2.0
"""What a token stands for: the object that it shows, and its position for rotary embeddings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from blendset.tokens import Grid


def label_tokens(ids: Tensor, grid: Grid, share: float = 0.5) -> Tensor:
    """The object (..., rows, columns) that each token shows most of, from object ids (..., H, W): whole numbers, of
    which 0 is no object. A token is 0, too, where no object fills `share` (0 to 1) of it.
    """
    planes = ids.flatten(0, -3)
    labels = planes.new_zeros(len(planes), *grid)
    largest = labels.float()
    for object_id in planes.unique().tolist():
        filled = adaptive_avg_pool2d((planes == object_id).float(), grid)
        larger = (filled > largest) & (filled >= share) & (object_id != 0)
        labels, largest = labels.where(~larger, object_id), torch.where(larger, filled, largest)
    return labels.unflatten(0, ids.shape[:-2])  # type: ignore[no-any-return]


def rotary_positions(rows: int, columns: int, slot: int = 0) -> Tensor:
    """The positions of an image's tokens for rotary embeddings: (rows · columns, 3) of 0, row, column.

    For an image that attends to it, the image in `slot` lies so many heights below it: the images of a set lie on one
    tall canvas, as in SynCD's code that generates sets.
    """
    axes = torch.arange(1.0), torch.arange(float(rows)) + slot * rows, torch.arange(float(columns))
    return torch.cartesian_prod(*axes)

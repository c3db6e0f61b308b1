# SPDX-License-Identifier: Apache-2.0
"""Ids and correspondences on the coarse grid of a model's tokens or latents: one object, one position, one share
each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.correspondence import Correspondence, Ids, find_neighbours, mask_weights

Grid = tuple[int, int]
"""Rows and columns of tokens over the whole picture."""


LEAST_OBJECT_WEIGHT = 0.25
"""Least bilinear weight of a token's own object among the four tokens of the source around it: an even share."""


@dataclass(frozen=True, eq=False)
class TokenCorrespondence:
    """For each token of a target view, (T,) row by row, its counterpart in a source view."""

    alpha: Array
    """(T,): share of the token that can be had from the source, 0 to 1."""
    detail: Array
    """(T,): mean of the pixels' `Correspondence.detail`, what is not visible counting 0."""
    neighbours: NDArray[np.intp]
    """(T, 4): the source's tokens around its position there, as numbers row by row, those of the greatest weight
    first."""
    weights: Array
    """(T, 4): bilinear, 0 for tokens of other objects, with sum 1; all 0 where alpha is."""


def label_tokens(ids: Ids, grid: Grid) -> Ids:
    """Return the object that most pixels of each token show, (T,) row by row, from ids (H, W); 0 is nothing."""
    objects, indices = np.unique(ids, return_inverse=True)
    cells = assign_tokens(ids.shape, grid) * len(objects) + indices.ravel()
    counts = np.bincount(cells, minlength=grid[0] * grid[1] * len(objects)).reshape(-1, len(objects))
    return np.asarray(objects[counts.argmax(axis=1)])


def pool_correspondence(match: Correspondence, target: Ids, source: Ids, grid: Grid) -> TokenCorrespondence:
    """Return a correspondence on tokens, from the one on pixels and the ids (H, W) of both views.

    A token's place is the mean over the visible pixels of the object that most of it shows. Of the four tokens around
    that place only those count that show mostly this object too: no token is ever taken from another one.
    """
    tokens, labels = assign_tokens(target.shape, grid), label_tokens(target, grid)
    counted = match.visible.ravel() & (target.ravel() == labels[tokens])

    def sums(values: Array) -> Array:
        return np.asarray(np.bincount(tokens[counted], values.ravel()[counted], len(labels)), dtype=np.float64)

    visible = sums(np.ones(target.shape))
    size = np.array(grid[::-1])
    middles = (
        np.stack([sums(match.coordinates[..., axis]) for axis in (0, 1)], axis=1) / np.maximum(visible, 1)[:, None]
    )
    neighbours, weights = find_neighbours(middles * size / source.shape[::-1], size)
    fits = (label_tokens(source, grid)[neighbours] == labels[:, None]) & (visible > 0)[:, None]
    weights, usable = mask_weights(weights, fits, LEAST_OBJECT_WEIGHT)
    order = np.argsort(-weights, axis=1, kind="stable")
    neighbours, weights = np.take_along_axis(neighbours, order, axis=1), np.take_along_axis(weights, order, axis=1)
    pixels = np.bincount(tokens, minlength=len(labels))
    return TokenCorrespondence(visible / pixels * usable, sums(match.detail) / pixels * usable, neighbours, weights)


def assign_tokens(size: tuple[int, ...], grid: Grid) -> NDArray[np.intp]:
    """Return the token (H W,) of each pixel of a picture (H, W), as a number row by row."""
    rows, columns = (np.arange(length) * cells // length for length, cells in zip(size, grid, strict=True))
    return np.asarray(rows[:, None] * grid[1] + columns).ravel()

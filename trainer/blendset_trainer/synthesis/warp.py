# SPDX-License-Identifier: Apache-2.0
"""Warps between the views of a set: latents are taken from other views that show the same surface, while denoising is
still settling the layout.

SynCD (arXiv 2502.01720) warps the noisy latents (`warp_noisy`). `warp_clean` warps the predicted clean latents instead,
and keeps the noise's variance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blendset.correspondence import ViewGeometry, correspond
from blendset.tokens import Grid, pool_correspondence
from blendset_trainer.diffusion.noise import FlowAxis, NoiseAxis
from blendset_trainer.synthesis.settings import SYNCD_WINDOW


@dataclass(frozen=True, eq=False)
class Warp:
    """What one view takes from others. Latents are numbered row by row through all views of the set; T are those of one
    view.
    """

    view: int
    alpha: Tensor
    """(T,): the share of each latent that another view shows, 0 to 1."""
    neighbours: Tensor
    """(T, 4): the numbers of the latents that it is interpolated from, the nearest first."""
    weights: Tensor
    """(T, 4): bilinear weights among latents of the same object, which sum up to 1; all 0 where alpha is 0."""


def plan_warps(views: Sequence[ViewGeometry], grid: Grid, order: Sequence[int]) -> list[Warp]:
    """The warps of a set, to be applied one after the other; `grid` are the rows and columns of its latents.

    The first view of `order` stays as it is. Each later view takes each latent from the view before it that shows most
    detail there (cos(theta) f / z over its visible share), of equals from the earlier one. SynCD's order of three views
    is (2, 1, 0), and the first that shows a latent wins.
    """
    return [_plan_warp(views, grid, view, order[:number]) for number, view in enumerate(order) if number]


def _plan_warp(views: Sequence[ViewGeometry], grid: Grid, view: int, sources: Sequence[int]) -> Warp:
    target, latents = views[view], grid[0] * grid[1]
    matches = [
        pool_correspondence(correspond(target, views[source]), target.passes.id, views[source].passes.id, grid)
        for source in sources
    ]
    best = np.argmax([match.detail for match in matches], axis=0), np.arange(latents)
    numbers = [match.neighbours + source * latents for match, source in zip(matches, sources, strict=True)]
    return Warp(
        view,
        torch.from_numpy(np.array([match.alpha for match in matches])[best]).float(),
        torch.from_numpy(np.array(numbers)[best]),
        torch.from_numpy(np.array([match.weights for match in matches])[best]).float(),
    )


def warp_noisy(latents: Tensor, warps: Sequence[Warp]) -> Tensor:
    """Noisy latents (N, C, h, w), each replaced by the nearest latent of another view where at least half of it is
    visible there (SynCD).

    f2' = alpha f1(warped) + (1 - alpha) f2 with alpha 0 or 1, as theirs: a mean of two noises has too low a variance.
    """
    result = latents.clone()
    for warp in warps:
        _set_view(result, warp, _copy_nearest(result, warp))
    return result


def warp_clean(clean: Tensor, noise: Tensor, warps: Sequence[Warp]) -> tuple[Tensor, Tensor]:
    """Predicted clean latents and their noise, (N, C, h, w) each, after the warps; `noise.add_noise` joins them again.

    Clean latents are interpolated and blended by alpha. Noise is copied, as in `warp_noisy`, and so keeps its
    variance of 1.
    """
    clean, noise = clean.clone(), warp_noisy(noise, warps)
    for warp in warps:
        alpha = warp.alpha.to(clean)
        _set_view(clean, warp, alpha * _interpolate(clean, warp) + (1 - alpha) * clean[warp.view].flatten(1))
    return clean, noise


def recover_clean_and_noise(
    axis: NoiseAxis, before: Tensor, level_before: Tensor, after: Tensor, level_after: Tensor
) -> tuple[Tensor, Tensor]:
    """The clean latents and the noise (N, C, h, w) that a denoiser predicted in a step, from the latents (N, C, h, w)
    before and after it and their noise levels ().

    Both are alpha clean + sigma noise of one prediction, so two equations give it. That holds for deterministic
    samplers of first order (Euler, DDIM), whose pipelines pass nothing but latents to their callbacks.
    """
    before, after = before.float(), after.float()  # half precision would leave little of their difference
    (alpha, sigma), (next_alpha, next_sigma) = (
        (part.to(before) for part in axis.alpha_sigma(level)) for level in (level_before, level_after)
    )
    determinant = alpha * next_sigma - next_alpha * sigma
    return (next_sigma * before - sigma * after) / determinant, (alpha * after - next_alpha * before) / determinant


def is_in_window(axis: NoiseAxis, level: Tensor, above: float = SYNCD_WINDOW) -> bool:
    """Whether a noise level (a scalar) on an axis has more noise than rectified flow has at sigma `above`."""
    return bool(axis.log_snr(level) < FlowAxis().log_snr(torch.tensor(above)))


def _copy_nearest(latents: Tensor, warp: Warp) -> Tensor:
    """(C, T): the nearest latent of another view where at least half is visible, else the view's own latent."""
    copied = _flatten_views(latents, warp)[:, warp.neighbours[:, 0].to(latents.device)]
    return torch.where(warp.alpha.to(latents.device) >= 0.5, copied, latents[warp.view].flatten(1))


def _interpolate(latents: Tensor, warp: Warp) -> Tensor:
    """(C, T): the latents of other views, interpolated bilinearly."""
    return (_flatten_views(latents, warp)[:, warp.neighbours.to(latents.device)] * warp.weights.to(latents)).sum(-1)


def _flatten_views(latents: Tensor, warp: Warp) -> Tensor:
    """(C, N T): the latents of all views, by their numbers. ValueError for latents of another grid than the warp's."""
    if latents.shape[-2] * latents.shape[-1] != len(warp.alpha):
        raise ValueError(f"latents of {tuple(latents.shape)} do not fit a warp of {len(warp.alpha)}")
    return latents.transpose(0, 1).flatten(1)


def _set_view(latents: Tensor, warp: Warp, values: Tensor) -> None:
    """Write values (C, T) over the latents (N, C, h, w) of the warp's view."""
    latents[warp.view] = values.reshape(latents[warp.view].shape)

# SPDX-License-Identifier: Apache-2.0
"""Views of a set lend one another what they see, in their latents, while denoising is still settling the layout.

SynCD (arXiv 2502.01720) warps the noisy latents; `warp_clean` warps what is predicted, and leaves noise noise.
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

SYNCD_WINDOW = 0.8
"""Sigma of rectified flow above which SynCD warps."""


@dataclass(frozen=True, eq=False)
class Warp:
    """What a view takes from others. A latent's number counts row by row through all views of the set."""

    view: int
    alpha: Tensor
    """(T,): share of each latent that another view shows, 0 to 1."""
    neighbours: Tensor
    """(T, 4): numbers of the latents it is made from, the nearest first."""
    weights: Tensor
    """(T, 4): bilinear, among latents of the same object, with sum 1; all 0 where alpha is."""


def plan_warps(views: Sequence[ViewGeometry], grid: Grid, order: Sequence[int]) -> list[Warp]:
    """The warps of a set, to be done one after the other; `grid` are the rows and columns of its latents.

    The first view of `order` stays as it is; each later one takes from all before it, per latent from the one that
    shows most detail there (cos(theta) f / z over its visible share), the earlier one of equals. SynCD's order of
    three is (2, 1, 0), where the first that shows a latent wins.
    """
    return [_warp_of(views, grid, view, order[:place]) for place, view in enumerate(order) if place]


def _warp_of(views: Sequence[ViewGeometry], grid: Grid, view: int, sources: Sequence[int]) -> Warp:
    target, latents = views[view], grid[0] * grid[1]
    found = [
        pool_correspondence(correspond(target, views[each]), target.passes.id, views[each].passes.id, grid)
        for each in sources
    ]
    best = np.argmax([each.detail for each in found], axis=0), np.arange(latents)
    numbers = [each.neighbours + source * latents for each, source in zip(found, sources, strict=True)]
    return Warp(
        view,
        torch.from_numpy(np.array([each.alpha for each in found])[best]).float(),
        torch.from_numpy(np.array(numbers)[best]),
        torch.from_numpy(np.array([each.weights for each in found])[best]).float(),
    )


def warp_noisy(latents: Tensor, warps: Sequence[Warp]) -> Tensor:
    """SynCD's way: noisy latents (N, C, h, w) with the nearest of another view where at least half is visible.

    f2' = alpha f1(warped) + (1 - alpha) f2 with alpha 0 or 1, as theirs is: a mean of two noises has too little.
    """
    result = latents.clone()
    for warp in warps:
        _put(result, warp, _taken(result, warp))
    return result


def warp_clean(clean: Tensor, noise: Tensor, warps: Sequence[Warp]) -> tuple[Tensor, Tensor]:
    """Predicted clean latents and their noise, (N, C, h, w) each, after the warps; `noise.add_noise` joins them again.

    Clean latents are interpolated and blended by alpha. Noise is copied whole, as in `warp_noisy`, and so keeps its
    variance of 1.
    """
    clean, noise = clean.clone(), warp_noisy(noise, warps)
    for warp in warps:
        alpha = warp.alpha.to(clean)
        _put(clean, warp, alpha * _bilinear(clean, warp) + (1 - alpha) * clean[warp.view].flatten(1))
    return clean, noise


def clean_and_noise(
    axis: NoiseAxis, before: Tensor, level_before: Tensor, after: Tensor, level_after: Tensor
) -> tuple[Tensor, Tensor]:
    """What a denoiser predicted in a step, from the latents (N, C, h, w) on its two sides and their noise levels ().

    Both are alpha clean + sigma noise of one prediction, which two equations give. That holds for deterministic
    samplers of first order (Euler, DDIM), whose pipelines hand their callbacks nothing but latents.
    """
    before, after = before.float(), after.float()  # half precision would leave little of their difference
    (alpha, sigma), (next_alpha, next_sigma) = (
        (part.to(before) for part in axis.alpha_sigma(level)) for level in (level_before, level_after)
    )
    whole = alpha * next_sigma - next_alpha * sigma
    return (next_sigma * before - sigma * after) / whole, (alpha * after - next_alpha * before) / whole


def in_window(axis: NoiseAxis, level: Tensor, above: float = SYNCD_WINDOW) -> bool:
    """Whether a noise level () has at least the noise of flow's sigma `above`, on whichever axis."""
    return bool(axis.log_snr(level) < FlowAxis().log_snr(torch.tensor(above)))


def _taken(latents: Tensor, warp: Warp) -> Tensor:
    """(C, T): the nearest latent of another view where at least half is visible, else the view's own."""
    copied = _every(latents, warp)[:, warp.neighbours[:, 0].to(latents.device)]
    return torch.where(warp.alpha.to(latents.device) >= 0.5, copied, latents[warp.view].flatten(1))


def _bilinear(latents: Tensor, warp: Warp) -> Tensor:
    """(C, T): what other views show there."""
    return (_every(latents, warp)[:, warp.neighbours.to(latents.device)] * warp.weights.to(latents)).sum(-1)


def _every(latents: Tensor, warp: Warp) -> Tensor:
    """(C, N T): the latents of all views by their numbers."""
    if latents.shape[-2] * latents.shape[-1] != len(warp.alpha):
        raise ValueError(f"latents of {tuple(latents.shape)} do not fit a warp of {len(warp.alpha)}")
    return latents.transpose(0, 1).flatten(1)


def _put(latents: Tensor, warp: Warp, values: Tensor) -> None:
    latents[warp.view] = values.reshape(latents[warp.view].shape)

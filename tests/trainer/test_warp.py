# SPDX-License-Identifier: Apache-2.0
"""Latent warps: what arrives is what stands there, from the right view and object; noise stays noise; steps give back
what was predicted.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from blendset.correspondence import ViewGeometry
from blendset.tokens import Grid, assign_tokens, label_tokens
from blendset_trainer.diffusion.noise import AXES, DdpmAxis, FlowAxis, add_noise, axis_from_name
from blendset_trainer.synthesis.warp import (
    Warp,
    is_in_window,
    plan_warps,
    recover_clean_and_noise,
    warp_clean,
    warp_noisy,
)
from tests.trainer.traced_sets import view_at

GRID = (24, 24)
VIEWS = [view_at(turn) for turn in (10.0, 40.0, 70.0)]


def pooled_positions(view: ViewGeometry, grid: Grid = GRID) -> Tensor:
    """World positions and label of each latent, as four channels (4, h, w)."""
    tokens, count = assign_tokens(view.passes.id.shape, grid), grid[0] * grid[1]
    labels = label_tokens(view.passes.id, grid)
    own = (view.passes.id.ravel() == labels[tokens]) & (labels[tokens] > 0)
    pixels = np.maximum(np.bincount(tokens[own], minlength=count), 1)
    means = [np.bincount(tokens[own], axis.ravel()[own], count) / pixels for axis in np.moveaxis(view.positions, 2, 0)]
    return torch.tensor(np.array([*means, labels])).reshape(4, *grid).float()


@pytest.fixture(scope="module")
def latents() -> Tensor:
    return torch.stack([pooled_positions(view) for view in VIEWS])


def test_the_first_view_stays_and_later_ones_take_from_earlier_ones() -> None:
    warps = plan_warps(VIEWS, GRID, (1, 0, 2))
    latents = GRID[0] * GRID[1]
    assert [warp.view for warp in warps] == [0, 2]
    sources = [set((warp.neighbours[warp.alpha > 0] // latents).flatten().tolist()) for warp in warps]
    assert sources == [{1}, {0, 1}]


def test_what_arrives_is_what_stands_there(latents: Tensor) -> None:
    """Positions of one view, warped into another, are the other's own to a part of a latent's size."""
    warps = plan_warps(VIEWS, GRID, (0, 1, 2))
    clean, _ = warp_clean(latents.clone(), torch.zeros_like(latents), warps)
    near = warp_noisy(latents, warps)
    for warp in warps:
        whole = (warp.alpha == 1).reshape(GRID)
        own = latents[warp.view][:, whole]
        size = 6.5 / VIEWS[0].camera.focal_length_px * 96 / GRID[0]
        assert whole.float().mean() > 0.3
        assert (clean[warp.view][:3, whole] - own[:3]).norm(dim=0).median() < 0.1 * size
        assert (near[warp.view][:3, whole] - own[:3]).norm(dim=0).median() < 0.7 * size


def test_no_latent_comes_from_another_object(latents: Tensor) -> None:
    warps = plan_warps(VIEWS, GRID, (0, 1, 2))
    clean, noise = warp_clean(latents, latents, warps)
    torch.testing.assert_close(clean[:, 3], latents[:, 3])
    assert torch.equal(noise[:, 3], latents[:, 3])


def test_the_view_that_shows_most_detail_is_taken() -> None:
    """A camera nearer by sees the same things at the same angle, larger."""
    far, target = view_at(10.0), view_at(30.0)
    near = view_at(10.0, 192)
    latents = GRID[0] * GRID[1]
    warp = plan_warps([far, near, target], GRID, (0, 1, 2))[-1]
    assert set((warp.neighbours[warp.alpha > 0] // latents).flatten().tolist()) == {1}


def test_noise_keeps_its_variance_however_often_it_is_warped() -> None:
    warps = plan_warps(VIEWS, GRID, (0, 1, 2))
    noise = torch.randn(3, 64, *GRID, generator=torch.Generator().manual_seed(0))
    clean = torch.zeros_like(noise)
    for _ in range(3):
        clean, noise = warp_clean(clean, noise, warps)
        assert noise.var(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1, 1], abs=0.03)
    assert torch.equal(warp_noisy(noise, warps), noise)  # all is as the earlier views have it


def test_a_fraction_is_blended_and_noise_is_not() -> None:
    warp = Warp(1, torch.tensor([0.25, 0.75]), torch.tensor([[0] * 4, [1] * 4]), torch.tensor([[1.0, 0, 0, 0]] * 2))
    latents = torch.tensor([[[[4.0, 8.0]]], [[[0.0, 0.0]]]])
    clean, noise = warp_clean(latents, latents, [warp])
    assert clean[1].flatten().tolist() == [1.0, 6.0]
    assert noise[1].flatten().tolist() == [0.0, 8.0]
    assert torch.equal(latents[1], torch.zeros(1, 1, 2))  # what was given is left alone


def test_latents_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        warp_noisy(torch.zeros(3, 4, 8, 8), plan_warps(VIEWS, GRID, (0, 1, 2)))


@pytest.mark.parametrize("name", AXES)
def test_two_sides_of_a_step_tell_what_was_predicted(name: str) -> None:
    axis = axis_from_name(name)
    levels = axis.level(torch.tensor([-3.0, -1.0]))
    clean, noise = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    before, after = (add_noise(axis, clean, noise, level.repeat(3)) for level in levels)
    found = recover_clean_and_noise(axis, before, levels[0], after, levels[1])
    torch.testing.assert_close(found, (clean, noise), atol=1e-4, rtol=1e-4)


def test_pure_noise_is_a_side_of_the_first_step() -> None:
    axis = FlowAxis()
    clean, noise = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    level = torch.tensor(0.9)
    found = recover_clean_and_noise(axis, noise, torch.tensor(1.0), add_noise(axis, clean, noise, level[None]), level)
    torch.testing.assert_close(found, (clean, noise), atol=1e-5, rtol=1e-5)


def test_the_window_is_a_noise_level_on_every_axis() -> None:
    flow = FlowAxis()
    assert is_in_window(flow, torch.tensor(1.0))
    assert [is_in_window(flow, torch.tensor(sigma)) for sigma in (0.81, 0.79)] == [True, False]
    ddpm = axis_from_name("sd-scaled-linear")
    assert isinstance(ddpm, DdpmAxis)
    inside = [is_in_window(ddpm, torch.tensor(step)) for step in range(ddpm.timesteps)]
    assert inside == sorted(inside)
    first = torch.tensor(inside.index(True))
    alpha, sigma = ddpm.alpha_sigma(first)
    assert float(sigma / (alpha + sigma)) == pytest.approx(0.8, abs=0.001)
    assert is_in_window(flow, torch.tensor(0.5), above=0.4)

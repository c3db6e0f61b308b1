# SPDX-License-Identifier: Apache-2.0
"""The parts of benchmarks/ttr.py on known inputs: what it measures, what its two arms see, and its closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from ttr import (
    ARMS,
    CONTROL,
    HELD_OUT,
    RENDER,
    SYNTHETIC,
    TTR,
    Data,
    Plan,
    Sampling,
    TtrSettings,
    load_settings,
    make_plan,
    read_patches,
    train_and_sample,
)
from ttr_measures import (
    Array,
    PatchComparison,
    compute_image_interval,
    compute_kernels,
    compute_log_spectra,
    compute_mmd2,
    compute_power,
    compute_seed_interval,
)
from ttr_model import TtrModelSettings, predict_power, sample_batches

from blendset_trainer.diffusion.densities import UNIFORM, make_base_density
from blendset_trainer.diffusion.noise import axis_from_name
from blendset_trainer.training.timesteps.bands import Band, SourcePolicy
from blendset_trainer.training.timesteps.plan import make_timestep_plan
from tests.trainer.tiny_datasets import add_picture, make_dataset

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "ttr.toml"
DATA = Data(pixels=32, patch=8, contrast=0.0, held_out=0.25, sharp=0.34, blur=1.0)
PLAN = Plan("pixart-linear", boundary=200, blurred_weight=5.0)
MODEL = TtrModelSettings(width=8, blocks=1, steps=3, batch=4, learning_rate=1e-3, ema=0.5)


def rough(count: int, seed: int) -> Array:
    """Patches of white noise, of which a blur takes nearly all high frequencies."""
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, 16, 16)).astype(np.float32)


def distance(x: Array, y: Array) -> float:
    return compute_mmd2(
        compute_kernels(compute_log_spectra(x), compute_log_spectra(y)), np.ones(len(x)), np.ones(len(y))
    )


def test_no_distance_between_draws_of_one_distribution_and_a_large_one_to_blurred_ones() -> None:
    same = [distance(rough(200, seed), rough(200, seed + 100)) for seed in range(8)]
    assert min(same) < 0 < max(same), "an unbiased estimate falls on both sides of 0"
    assert abs(np.mean(same)) < 0.005
    assert distance(gaussian_filter(rough(200, 0), (0, 1, 1)), rough(200, 1)) > 0.5


def test_counting_a_sample_twice_is_like_having_it_twice_but_for_its_kernel_with_itself() -> None:
    x, y = rough(4, 0).reshape(4, -1), rough(5, 1).reshape(5, -1)
    counted = compute_mmd2(compute_kernels(x, y), np.array([2.0, 0, 1, 1]), np.ones(5))
    xx, xy, yy = compute_kernels(x, y)
    pairs = 4 * (xx[0, 2] + xx[0, 3]) + 2 * xx[2, 3]
    across = (2 * xy[0].sum() + xy[2].sum() + xy[3].sum()) / 20
    assert counted == pytest.approx(pairs / (16 - 6) + (yy.sum() - 5) / 20 - 2 * across)


def test_energy_at_high_frequencies_is_a_ratio_to_the_held_out_patches() -> None:
    sharp = rough(50, 0)
    assert PatchComparison.from_patches(sharp, sharp).compute_metrics()[0] == pytest.approx(1)
    assert PatchComparison.from_patches(2 * sharp, sharp).compute_metrics()[0] == pytest.approx(4)
    assert PatchComparison.from_patches(gaussian_filter(sharp, (0, 1, 1)), sharp).compute_metrics()[0] < 0.1


def test_power_keeps_the_sum_of_squares() -> None:
    patches = rough(3, 0)
    assert compute_power(patches).sum(axis=(1, 2)) == pytest.approx((patches**2).sum(axis=(1, 2)), rel=1e-5)


def test_intervals_hold_the_difference_and_not_zero_where_there_is_one() -> None:
    assert compute_seed_interval(np.array([[1.0], [2.0], [3.0]]))[:, 0] == pytest.approx([2, -0.484, 4.484], abs=1e-3)
    held_out = rough(60, 9)
    sharp = [PatchComparison.from_patches(rough(60, seed), held_out) for seed in range(2)]
    blurred = [PatchComparison.from_patches(gaussian_filter(rough(60, seed), (0, 1, 1)), held_out) for seed in range(2)]
    low, high = compute_image_interval(sharp, blurred, rounds=50)
    assert low[0] > 0.5 and high[2] < -0.5


def test_no_view_is_in_two_parts_and_only_synthetic_ones_are_blurred(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path / "views")
    texture = np.random.default_rng(0).integers(0, 40, (32, 32, 1))
    for number in range(12):
        add_picture(dataset, "attic", "lamp", number, np.repeat(18 * number + texture, 3, axis=2).astype(np.uint8))
    patches = read_patches([dataset.root], DATA)
    views = {
        part: set(np.round(((each.mean((1, 2)) + 1) * 127.5 - 19.5) / 18).tolist()) for part, each in patches.items()
    }
    assert {part: len(each) for part, each in views.items()} == {HELD_OUT: 3, RENDER: 3, SYNTHETIC: 6}
    assert len(set.union(*views.values())) == 12
    spread = {part: each.std(axis=(1, 2)).mean() for part, each in patches.items()}
    assert spread[SYNTHETIC] < 0.5 * spread[RENDER]
    assert spread[HELD_OUT] == pytest.approx(spread[RENDER], rel=0.1)


def test_the_control_sees_the_same_images_and_noise_at_uniform_timesteps() -> None:
    ttr, control = (make_plan(PLAN, arm) for arm in ARMS)
    assert control.compute_shares() == pytest.approx(ttr.compute_shares())
    for source in (RENDER, SYNTHETIC):
        assert control.pdf(source) == pytest.approx(np.full(1000, 1 / 1000))
    assert ttr.marginal() == pytest.approx(control.marginal())
    images = {name: torch.rand(20, 1, 8, 8) for name in (RENDER, SYNTHETIC)}
    images[SYNTHETIC] += 10
    of_ttr, of_control = (next(sample_batches(images, plan, 256, seed=0)) for plan in (ttr, control))
    assert torch.equal(of_ttr[0], of_control[0]) and torch.equal(of_ttr[1], of_control[1])
    blurred = of_ttr[0].mean(dim=(1, 2, 3)) > 5
    assert of_ttr[2][blurred].min() >= PLAN.boundary > of_control[2][blurred].min()
    assert of_ttr[2][~blurred].min() < PLAN.boundary


@pytest.mark.parametrize(
    ("boundary", "energy"), [(None, 0.16), (50, 0.70), (100, 0.87), (200, 0.95), (400, 0.97)], ids=str
)
def test_the_closed_form_gives_the_figures_of_the_notes(boundary: int | None, energy: float) -> None:
    """Power f^-2, five copies blurred by a pixel or so for each sharp picture (notes/bootstrap3d.md, 6.6.4)."""
    base = make_base_density(UNIFORM, axis_from_name("pixart-linear"))
    frequency = torch.arange(1, 65, dtype=torch.float64)
    clean = frequency**-2 / (frequency**-2).mean()
    blurred = clean * torch.exp(-((torch.pi * frequency / 64 * 1.1) ** 2))
    cleanest = torch.inf if boundary is None else float(base.axis.log_snr(torch.tensor(boundary)))
    policies = [SourcePolicy(RENDER, (Band(),)), SourcePolicy(SYNTHETIC, (Band(cleanest=cleanest, weight=5),))]
    drawn = predict_power(make_timestep_plan(policies, base), {RENDER: clean, SYNTHETIC: blurred}, steps=1000)
    assert float(drawn[32:].sum() / clean[32:].sum()) == pytest.approx(energy, abs=0.06)


def test_a_model_trains_and_draws_the_same_patches_each_time() -> None:
    settings = TtrSettings(DATA, PLAN, MODEL, Sampling(images=5, steps=4), seeds=(0,))
    patches = {name: rough(20, 0)[:, :8, :8] for name in (RENDER, SYNTHETIC)}
    first, again, other = (train_and_sample(patches, settings, arm, 0) for arm in (TTR, TTR, CONTROL))
    assert first.shape == (5, 8, 8) and np.abs(first).max() <= 1
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_the_committed_configuration_is_one() -> None:
    settings = load_settings(COMMITTED)
    assert len(settings.seeds) >= 3
    assert settings.data.patch < settings.data.pixels

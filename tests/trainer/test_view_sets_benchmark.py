# SPDX-License-Identifier: Apache-2.0
"""The parts of benchmarks/view_sets.py on known inputs: its pictures, its measures, and what each way changes."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxControlPipeline
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from view_sets import APART, OTHERS, TRACED, VIEWS, WAYS, Sets, Settings, draw_set, load_settings, make_sets, trace_sets
from view_sets_measures import SetMeasures, bootstrap, fit_palette
from view_sets_model import Model, make_identity_vae, paint, sample_palettes, train

from blendset.correspondence import ViewGeometry

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "view_sets.toml"
MODEL = Model(
    pixels=32, heads=1, double_blocks=1, single_blocks=1, cameras=4, steps=3, batch=2, learning_rate=1e-3, ema=0.5
)  # fmt: skip
SETTINGS = Settings(MODEL, Sets(count=12, turn_deg=35.0, steps=6), seeds=(0,))


@cache
def sets() -> list[list[ViewGeometry]]:
    return make_sets(SETTINGS, 0)


@cache
def pipeline() -> FluxControlPipeline:
    return train(MODEL, 0)


def figures(pictures: NDArray[np.float32]) -> NDArray[np.float64]:
    return SetMeasures.from_pictures(sets(), pictures).compute_metrics(np.arange(len(sets())))


def drawn(way: str) -> NDArray[np.float32]:
    return draw_set(pipeline(), sets()[0], WAYS[way], SETTINGS.sets.steps, 0, 0)


def test_pictures_of_one_palette_agree_and_those_of_others_do_not() -> None:
    pictures = trace_sets(sets(), 0)
    one, others = (figures(pictures[kind]) for kind in (TRACED, OTHERS))
    assert (one[:2] < 3).all() and (others[:2] > 30).all()


def test_the_nearest_picture_of_a_traced_one_is_itself() -> None:
    palette = sample_palettes(np.random.default_rng(0), 1)[0]
    assert fit_palette(sets()[0][0], paint(sets()[0][0], palette)) == pytest.approx(palette, nan_ok=True)
    _, _, flaw, sharpness, _ = figures(trace_sets(sets(), 0)[TRACED])
    assert flaw == pytest.approx(0, abs=1e-3) and sharpness == pytest.approx(1, abs=1e-3)


def test_blur_noise_and_sets_of_one_colour_are_seen() -> None:
    pictures = trace_sets(sets(), 0)[TRACED]
    _, _, flaw, sharpness, spread = figures(gaussian_filter(pictures, (0, 0, 1, 1, 0)))
    assert flaw > 2 and sharpness < 0.8
    noise = np.random.default_rng(0).normal(0, 0.05, pictures.shape).astype(np.float32)
    _, _, flaw, sharpness, _ = figures(np.clip(pictures + noise, 0, 1))
    assert flaw > 2 and sharpness > 1.2
    grey = np.array([[paint(view, np.full((4, 3), 0.5)) for view in views] for views in sets()], np.float32)
    assert figures(grey)[-1] == pytest.approx(0, abs=1e-6) and spread > 0.7


def test_an_interval_is_over_sets() -> None:
    values = np.arange(10.0)
    mean, low, high = bootstrap(lambda chosen: values[chosen].mean(keepdims=True), 10, rounds=500)[:, 0]
    assert mean == 4.5 and 2 < low < 4 and 5 < high < 7


def test_latents_are_pixels() -> None:
    vae, pixels = make_identity_vae(2.0), torch.rand(2, 3, 8, 8)
    assert torch.allclose(vae.encode(pixels).latent_dist.sample(), pixels, atol=1e-5)
    assert torch.equal(vae.decode(pixels).sample, pixels)


def test_ways_differ_in_nothing_but_what_they_share() -> None:
    apart = drawn(APART)
    assert apart.shape == (VIEWS, 32, 32, 3) and np.array_equal(apart, drawn(APART))
    for way in WAYS.keys() - {APART}:
        assert not np.array_equal(drawn(way)[0], apart[0])
    for way in ("warp: noisy", "warp: clean"):
        assert drawn(way)[-1] == pytest.approx(apart[-1], abs=1e-4), "the view that lends first takes nothing"


def test_the_committed_configuration_is_one() -> None:
    settings = load_settings(COMMITTED)
    assert len(settings.seeds) >= 3 and settings.model.pixels >= 32

# SPDX-License-Identifier: Apache-2.0
"""Noise levels: the same noise by every schedule's own number, and what a denoiser is trained on."""

from __future__ import annotations

from typing import Any, get_args

import diffusers
import pytest
import torch

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.densities import make_base_density, shift_from_scheduler
from blendset_trainer.diffusion.noise import (
    AXES,
    NoiseAxis,
    Prediction,
    add_noise,
    axis_from_name,
    axis_from_scheduler,
    compute_target,
)

PIXART, SD, FLOW = axis_from_name("pixart-linear"), axis_from_name("sd-scaled-linear"), axis_from_name("flow")
DISCRETE = [name for name in AXES if axis_from_name(name).discrete]
T = torch.arange(1000)
SCHEDULERS: dict[str, tuple[Any, str]] = {
    "linear": (diffusers.DDPMScheduler(beta_schedule="linear"), "pixart-linear"),
    "scaled linear": (
        diffusers.DDIMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        "sd-scaled-linear",
    ),
    "a sampler of SD": (
        diffusers.PNDMScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012),
        "sd-scaled-linear",
    ),
    "cosine": (diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"), "cosine"),
    "zero terminal SNR": (
        diffusers.DDIMScheduler(
            beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True,
            prediction_type="v_prediction",
        ),
        "sd-zero-snr",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DISCRETE)
def test_timesteps_come_back_from_their_log_snr(name: str) -> None:
    axis = axis_from_name(name)
    assert torch.equal(axis.level(axis.log_snr(T)), T)


@pytest.mark.parametrize("name", ["flow", "edm"])
def test_sigmas_come_back_from_their_log_snr(name: str) -> None:
    axis, sigma = axis_from_name(name), torch.linspace(0.001, 0.999, 500, dtype=torch.float64)
    torch.testing.assert_close(axis.level(axis.log_snr(sigma)), sigma)


def test_the_papers_boundaries_on_other_schedules() -> None:
    """notes/bootstrap3d.md 2.5: PixArt's 50 and 200 are 32 and 261 on SD, sigma 0.1497 and 0.4198 on flow."""
    log_snr = PIXART.log_snr(torch.tensor([50, 200]))
    assert log_snr.tolist() == pytest.approx([3.474, 0.647], abs=1e-3)
    assert SD.level(log_snr).tolist() == [32, 261]
    assert FLOW.level(log_snr).tolist() == pytest.approx([0.1497, 0.4198], abs=5e-5)
    assert PIXART.level(SD.log_snr(torch.tensor([32, 261]))).tolist() == [50, 200]
    assert axis_from_name("edm").level(log_snr).tolist() == pytest.approx([0.176, 0.724], abs=5e-4)


@pytest.mark.parametrize("what", SCHEDULERS)
def test_schedulers_of_diffusers_have_the_named_axes(what: str) -> None:
    scheduler, name = SCHEDULERS[what]
    axis, named = axis_from_scheduler(scheduler), axis_from_name(name)
    for mine, theirs in zip(axis.alpha_sigma(T), named.alpha_sigma(T), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=0)
    assert torch.equal(axis.level(named.log_snr(torch.tensor([50, 200, 900]))), torch.tensor([50, 200, 900]))


def test_zero_terminal_snr_ends_in_noise_alone() -> None:
    alpha, sigma = axis_from_name("sd-zero-snr").alpha_sigma(torch.tensor([999]))
    assert (float(alpha), float(sigma)) == (0, 1)


@pytest.mark.parametrize("options", [{}, {"shift": 3.0}, {"use_dynamic_shifting": True}])
def test_flow_levels_are_sigma_itself_however_the_sampler_orders_and_shifts(options: dict[str, Any]) -> None:
    """Its timesteps descend, and with a shift 'index < 200' is the noisiest fifth: only sigma counts."""
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**options)
    assert scheduler.timesteps[0] > scheduler.timesteps[-1]
    latents, noise, step = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), scheduler.timesteps[[200, 800]]
    ours = add_noise(axis_from_scheduler(scheduler), latents, noise, step / 1000)
    torch.testing.assert_close(ours, scheduler.scale_noise(latents, step, noise), atol=1e-5, rtol=1e-5)


def test_shifts_of_schedulers() -> None:
    flow = diffusers.FlowMatchEulerDiscreteScheduler
    assert shift_from_scheduler(flow(shift=3.0), 4096) == 3
    assert shift_from_scheduler(flow(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15), 4096) == pytest.approx(
        3.158, abs=1e-3
    )
    assert shift_from_scheduler(flow(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15), 256) == pytest.approx(
        1.649, abs=1e-3
    )
    assert shift_from_scheduler(SCHEDULERS["linear"][0], 4096) == 1


def test_edm_keeps_the_signal() -> None:
    axis = axis_from_scheduler(diffusers.EDMEulerScheduler())
    latents, noise = torch.randn(2, 3), torch.randn(2, 3)
    torch.testing.assert_close(
        add_noise(axis, latents, noise, torch.tensor([0.5, 80.0])), latents + noise * torch.tensor([[0.5], [80]])
    )


def test_noisy_latents_and_v_are_those_of_diffusers() -> None:
    scheduler = SCHEDULERS["scaled linear"][0]
    latents, noise, level = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([0, 261, 999])
    axis = axis_from_scheduler(scheduler)
    torch.testing.assert_close(add_noise(axis, latents, noise, level), scheduler.add_noise(latents, noise, level))
    torch.testing.assert_close(
        compute_target("v_prediction", axis, latents, noise, level), scheduler.get_velocity(latents, noise, level)
    )


@pytest.mark.parametrize("axis", [SD, FLOW, axis_from_name("edm")], ids=lambda axis: axis.name)
@pytest.mark.parametrize("prediction", get_args(Prediction))
def test_the_clean_sample_follows_from_every_target(axis: NoiseAxis, prediction: Prediction) -> None:
    latents, noise, level = torch.randn(4, 2, 3), torch.randn(4, 2, 3), axis.level(torch.tensor([3.0, 1, 0, -3]))
    alpha, sigma = (each.float()[:, None, None] for each in axis.alpha_sigma(level))
    noisy, given = add_noise(axis, latents, noise, level), compute_target(prediction, axis, latents, noise, level)
    back = {
        "epsilon": (noisy - sigma * given) / alpha,
        "sample": given,
        "v_prediction": (alpha * noisy - sigma * given) / (alpha**2 + sigma**2),
        "flow": (noisy - sigma * given) / (alpha + sigma),
    }[prediction]
    torch.testing.assert_close(back, latents, atol=1e-4, rtol=1e-4)


def test_noise_is_mixed_in_the_precision_of_the_latents() -> None:
    half = torch.ones(2, 3, dtype=torch.bfloat16)
    assert add_noise(FLOW, half, half, torch.tensor([0.25, 0.5], dtype=torch.float64)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("base", "shift", "masses"),
    [
        ("logit-normal", 1.0, (0.041, 0.333, 0.626)),
        ("logit-normal", 3.0, (0.0023, 0.075, 0.922)),
        ("logit-normal", 3.16, (0.0019, 0.068, 0.930)),
        ("logit-normal", 1.8, (0.010, 0.171, 0.819)),
        ("uniform", 1.0, (0.149, 0.270, 0.581)),
    ],
)
def test_masses_of_the_papers_bands_under_flow_densities(base: str, shift: float, masses: tuple[float, ...]) -> None:
    """notes/bootstrap3d.md 2.5."""
    below = make_base_density(base, FLOW, shift).cdf(PIXART.log_snr(torch.tensor([50, 200]))).tolist()
    assert [below[0], below[1] - below[0], 1 - below[1]] == pytest.approx(masses, abs=1.1e-3)


def test_what_has_no_meaning_is_one_sentence() -> None:
    with pytest.raises(BlendsetError, match="There is no noise schedule 'pixart-liner'; did you mean 'pixart-linear'"):
        axis_from_name("pixart-liner")
    with pytest.raises(BlendsetError, match="takes no shift"):
        make_base_density("uniform", SD, 3.0)
    with pytest.raises(BlendsetError, match="choose base = 'log-normal'"):
        make_base_density("uniform", axis_from_name("edm"))

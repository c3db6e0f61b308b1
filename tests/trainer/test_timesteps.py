# SPDX-License-Identifier: Apache-2.0
"""The timestep plan: the paper's figures, exact shares and marginals, draws that follow them, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from blendset.errors import BlendsetError
from blendset.options import structure
from blendset_trainer.diffusion.densities import make_base_density
from blendset_trainer.diffusion.noise import Prediction, axis_from_name
from blendset_trainer.training.timesteps.calibration import compute_covering_noise
from blendset_trainer.training.timesteps.plan import TimestepPlan, make_min_snr_weighting
from blendset_trainer.training.timesteps.settings import (
    BandSettings,
    SourcePlanSettings,
    TimestepPlanSettings,
    timestep_plan_from_settings,
)

PIXART, SD, FLOW = axis_from_name("pixart-linear"), axis_from_name("sd-scaled-linear"), axis_from_name("flow")
PAPER = TimestepPlanSettings(reference="pixart-linear")
AXES: dict[str, tuple[str, str, float, Prediction]] = {
    "DDPM linear": ("pixart-linear", "uniform", 1.0, "epsilon"),
    "scaled linear": ("sd-scaled-linear", "uniform", 1.0, "epsilon"),
    "cosine": ("cosine", "uniform", 1.0, "epsilon"),
    "zero terminal SNR, v": ("sd-zero-snr", "uniform", 1.0, "v_prediction"),
    "logit-normal timesteps": ("sd-scaled-linear", "logit-normal", 1.0, "epsilon"),
    "flow": ("flow", "logit-normal", 1.0, "flow"),
    "flow, shift 3": ("flow", "logit-normal", 3.0, "flow"),
    "flow, FLUX's shift": ("flow", "logit-normal", 3.158, "flow"),
    "flow, uniform": ("flow", "uniform", 1.0, "flow"),
    "EDM": ("edm", "log-normal", 1.0, "sample"),
}


def bootstrap3d(render: float, soft_edge: float = 0.0) -> dict[str, tuple[BandSettings, ...]]:
    """The paper's table: renders alone in [50, 200), with this share beside photos below and synthetic ones above."""

    def band(lo: float, hi: float, weight: float = 1.0) -> BandSettings:
        return BandSettings(lo, hi, "t", weight, soft_edge)

    others = 1 - render
    return {
        "render": (band(0, 50, render), band(50, 200), band(200, 1000, render)) if render else (band(50, 200),),
        "synthetic": (band(200, 1000, others),),
        "photo": (band(0, 50, others),),
    }


def plan_on(what: str, settings: TimestepPlanSettings = PAPER, soft_edge: float = 0.0) -> TimestepPlan:
    axis, base, shift, prediction = AXES[what]
    return timestep_plan_from_settings(
        settings, bootstrap3d(0.25, soft_edge), axis_from_name(axis), prediction, base, shift
    )


def two(low: BandSettings, high: BandSettings) -> dict[str, tuple[BandSettings, ...]]:
    return {"render": (low,), "synthetic": (high,)}


def draws(count: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(count))


# --- the paper ---


def test_the_papers_ratios_and_uniform_marginal() -> None:
    plan = timestep_plan_from_settings(PAPER, bootstrap3d(0.0), PIXART, "epsilon")
    share = plan.compute_shares()
    assert share["render"] / share["synthetic"] == pytest.approx(0.1875, abs=1e-12)
    assert share["photo"] / (share["synthetic"] + share["render"]) == pytest.approx(0.05263, abs=5e-6)
    torch.testing.assert_close(plan.marginal(), torch.full((1000,), 1 / 1000, dtype=torch.float64))


def test_the_papers_shares_with_a_quarter_of_renders_everywhere() -> None:
    plan = timestep_plan_from_settings(PAPER, bootstrap3d(0.25), PIXART, "epsilon")
    assert plan.compute_shares() == pytest.approx({"render": 0.3625, "synthetic": 0.6, "photo": 0.0375})
    assert plan.band_names == ("t 0-49", "t 50-199", "t 200-999")


def test_the_same_boundaries_on_other_models() -> None:
    assert plan_on("scaled linear").band_names == ("t 0-31", "t 32-260", "t 261-999")
    assert plan_on("flow").band_names == ("sigma below 0.15", "sigma 0.15-0.42", "sigma above 0.42")


def test_a_floor_gives_rare_bands_their_share_from_the_others() -> None:
    plain, floored = (
        plan_on("flow, shift 3"),
        plan_on("flow, shift 3", TimestepPlanSettings(reference="pixart-linear", floor=0.05)),
    )
    assert plain.sum_by_band(plain.marginal()).tolist() == pytest.approx([0.0023, 0.0752, 0.9225], abs=1e-4)
    masses = floored.sum_by_band(floored.marginal())
    assert float(masses[0]) == pytest.approx(0.05)
    assert float(masses[1] / masses[2]) == pytest.approx(0.0752 / 0.9225, rel=1e-3)
    assert float(masses.sum()) == pytest.approx(1)
    assert [said.split(" is")[0] for said in floored.list_warnings()] == ["sigma below 0.15"]
    rises = plan_on("flow, shift 3", TimestepPlanSettings(reference="pixart-linear", floor=0.075))
    assert float(rises.sum_by_band(rises.marginal()).min()) == pytest.approx(0.075), (
        "the second band fell below by giving"
    )


# --- every schedule ---


@pytest.mark.parametrize("soft_edge", [0.0, 1.0])
@pytest.mark.parametrize("what", AXES)
def test_the_marginal_is_the_models_own_density(what: str, soft_edge: float) -> None:
    plan = plan_on(what, soft_edge=soft_edge)
    torch.testing.assert_close(plan.marginal(), plan.edges.diff(), atol=1e-15, rtol=1e-12)
    assert sum(plan.compute_shares().values()) == pytest.approx(1)
    assert list(plan.list_warnings()) == []


@pytest.mark.parametrize("what", AXES)
def test_draws_follow_the_plan(what: str) -> None:
    """Chi-square over 50 stretches for each source and for all of them together."""
    plan, count = plan_on(what), 40_000
    together = []
    for row, source in enumerate(plan.sources):
        level = plan.sample_levels(source, draws(count, row))
        assert _chi_square(plan, level, plan.pdf(source)) > 1e-4
        together.append(level[: round(count * plan.compute_shares()[source])])
    assert _chi_square(plan, torch.cat(together), plan.edges.diff()) > 1e-4


def _chi_square(plan: TimestepPlan, level: torch.Tensor, pdf: torch.Tensor) -> float:
    """How likely counts this far off are, over stretches of cells of about a fiftieth of the mass each."""
    stretch = (torch.cumsum(pdf, 0) * 50 - 1e-9).long().clamp(0, 49)
    cell = torch.searchsorted(-plan.log_snr, -plan.base.axis.log_snr(level))
    if not plan.base.axis.discrete:  # cells by their ends
        cell = torch.searchsorted(-plan.base.inverse_cdf(plan.edges), -plan.base.axis.log_snr(level)) - 1
    seen = np.bincount(stretch[cell.clamp(0, len(pdf) - 1)].numpy(), minlength=50)
    expected = np.bincount(stretch.numpy(), pdf.numpy(), 50) * len(level)
    there = expected > 5
    return float(stats.chisquare(seen[there], expected[there] / expected[there].sum() * seen[there].sum()).pvalue)


@pytest.mark.parametrize("what", AXES)
def test_no_draw_lies_outside_its_band(what: str) -> None:
    plan = plan_on(what)
    ends = torch.tensor([0.0, 1e-300, 0.5, 1 - 2**-53], dtype=torch.float64)
    for source, cleanest, noisiest in (("photo", 0, 50), ("synthetic", 200, 1000)):
        level = plan.sample_levels(source, torch.cat([draws(200_000), ends]))
        low, high = (_on_axis(plan, each) for each in (cleanest, noisiest))
        if plan.base.axis.discrete:
            assert (int(level.min()), int(level.max())) == (low, high - 1)
        else:
            assert float(level.min()) >= low * (1 - 1e-12)
            assert float(level.max()) <= high * (1 + 1e-12)
            assert bool(torch.isfinite(plan.base.axis.log_snr(level)).all())


def _on_axis(plan: TimestepPlan, timestep: int) -> float:
    """Where a boundary at PixArt's timestep lies among the levels of another axis."""
    if timestep in (0, 1000):
        return 0 if not timestep else 1000 if plan.base.axis.discrete else math.inf
    return plan.base.axis.level(PIXART.log_snr(torch.tensor(timestep))).item()


@pytest.mark.parametrize("what", AXES)
def test_any_split_of_the_samples_draws_the_same_levels(what: str) -> None:
    plan, u = plan_on(what), draws(4099)
    bound = torch.full_like(u, 2.0)
    whole = plan.sample_levels("render", u, highest=bound)
    for ranks in (2, 3, 8):
        parts = [plan.sample_levels("render", u[rank::ranks], highest=bound[rank::ranks]) for rank in range(ranks)]
        assert all(torch.equal(part, whole[rank::ranks]) for rank, part in enumerate(parts))
    one_by_one = torch.cat([plan.sample_levels("render", each[None], highest=bound[:1]) for each in u[:50]])
    assert torch.equal(one_by_one, whole[:50])


# --- single samples ---


@pytest.mark.parametrize("what", AXES)
def test_a_samples_own_bounds_narrow_its_band(what: str) -> None:
    plan, count = plan_on(what), 5000
    highest = torch.tensor([0.0, -1.0, math.nan]).repeat_interleave(count)
    lowest = torch.tensor([-2.0, math.nan, math.nan]).repeat_interleave(count)
    drawn = plan.base.axis.log_snr(plan.sample_levels("synthetic", draws(3 * count), lowest, highest)).reshape(3, count)
    step = 0.05 if plan.base.axis.discrete else 1e-9  # half of one between timesteps
    assert -2 - step <= float(drawn[0].min()) < -1.8
    assert -0.2 < float(drawn[0].max()) <= step
    assert -1.2 < float(drawn[1].max()) <= -1 + step
    assert float(drawn[2].max()) > 0.5
    scored = stats.ks_2samp(drawn[1].numpy(), drawn[2][drawn[2] <= -1].numpy())
    assert scored.pvalue > 1e-4, "inside the bounds, the density is the source's own"


def test_bounds_that_leave_nothing_are_one_sentence() -> None:
    with pytest.raises(BlendsetError, match=r"A sample of source 'synthetic' may train log-SNR above 2 only, where"):
        plan_on("flow").sample_levels("synthetic", draws(2), lowest=torch.tensor([-1.0, 2.0]))


# --- other ways ---


def test_free_shares_are_kept_and_what_comes_of_them_is_said() -> None:
    settings = TimestepPlanSettings(
        mode="free",
        reference="pixart-linear",
        sources={"render": SourcePlanSettings(1.0), "synthetic": SourcePlanSettings(9.0)},
    )
    plan = timestep_plan_from_settings(settings, two(BandSettings(0, 50), BandSettings(200, 1000)), PIXART, "epsilon")
    assert plan.compute_shares() == pytest.approx({"render": 0.1, "synthetic": 0.9})
    assert list(plan.list_warnings()) == ["t 50-199 is never trained."]
    thin = timestep_plan_from_settings(settings, two(BandSettings(0, 1000), BandSettings(200, 1000)), PIXART, "epsilon")
    assert list(thin.list_warnings()) == ["t 0-199 is trained 0.1 times as often as the model's own density would."]


@pytest.mark.parametrize("what", ["flow", "logit-normal timesteps"])
def test_an_offset_moves_a_sources_density_as_other_trainers_do(what: str) -> None:
    """A logit-normal one of mean 0 moved by -1 in log-SNR is one of mean 1/2."""
    axis, base, shift, prediction = AXES[what]
    settings = TimestepPlanSettings(
        mode="free", sources={"render": SourcePlanSettings(1.0), "synthetic": SourcePlanSettings(1.0, -1.0)}
    )
    plan = timestep_plan_from_settings(
        settings, {"render": (), "synthetic": ()}, axis_from_name(axis), prediction, base, shift
    )
    moved = make_base_density("logit-normal", axis_from_name(axis), mean=0.5)
    expected = moved.cdf(plan.base.inverse_cdf(plan.edges)).diff()
    assert float((plan.pdf("synthetic") - expected).abs().sum()) < 0.02
    derived = timestep_plan_from_settings(
        TimestepPlanSettings(sources={"synthetic": SourcePlanSettings(offset=-1.0)}), {"render": (), "synthetic": ()},
        axis_from_name(axis), prediction, base, shift,
    )  # fmt: skip
    torch.testing.assert_close(derived.marginal(), derived.edges.diff())
    noisier = (derived.pdf("synthetic") * derived.log_snr).sum() - (derived.pdf("render") * derived.log_snr).sum()
    assert float(noisier) < -0.5


def test_a_soft_edge_fades_around_its_boundary() -> None:
    bands = two(BandSettings(0.0, None, "log_snr", soft_edge=2.0), BandSettings(None, 0.0, "log_snr", soft_edge=2.0))
    plan = timestep_plan_from_settings(TimestepPlanSettings(), bands, FLOW, "flow", "logit-normal")
    render = plan.responsibility()[0]
    at = {each: float(render[(plan.log_snr - each).abs().argmin()]) for each in (-1.5, -0.5, 0.0, 0.5, 1.5)}
    assert at == pytest.approx({-1.5: 0, -0.5: 0.25, 0.0: 0.5, 0.5: 0.75, 1.5: 1}, abs=0.02)
    assert float(plan.base.axis.log_snr(plan.sample_levels("render", draws(100_000))).min()) >= -1 - 1e-9


@pytest.mark.parametrize(
    ("unit", "boundary"), [("t", 200), ("sigma", 0.4198), ("edm_sigma", 0.7236), ("log_snr", 0.6471), ("fraction", 0.2)]
)
def test_one_boundary_in_every_unit(unit: str, boundary: float) -> None:
    below, above = BandSettings(None, boundary, unit), BandSettings(boundary, None, unit)
    bands = two(above, below) if unit == "log_snr" else two(below, above)
    assert timestep_plan_from_settings(PAPER, bands, PIXART, "epsilon").band_names == ("t 0-199", "t 200-999")


def test_boundaries_move_with_the_resolution() -> None:
    """notes/bootstrap3d.md 2.5: at twice the side, sigma 0.420 is 0.591."""
    settings = TimestepPlanSettings(reference="pixart-linear", resolution_shift=2.0)
    plan = timestep_plan_from_settings(
        settings, two(BandSettings(0, 200), BandSettings(200, 1000)), FLOW, "flow", "logit-normal"
    )
    assert plan.band_names == ("sigma below 0.591", "sigma above 0.591")


def test_without_bands_every_source_trains_everything() -> None:
    plan = timestep_plan_from_settings(TimestepPlanSettings(), {"render": (), "synthetic": ()}, SD, "epsilon")
    assert plan.compute_shares() == pytest.approx({"render": 0.5, "synthetic": 0.5})
    assert plan.band_names == ("t 0-249", "t 250-499", "t 500-749", "t 750-999")


def test_levels_know_their_band() -> None:
    plan = plan_on("DDPM linear")
    assert plan.find_bands(torch.tensor([0, 49, 50, 199, 200, 999])).tolist() == [0, 0, 1, 1, 2, 2]
    assert plan_on("flow").find_bands(torch.tensor([0.01, 0.149, 0.15, 0.41, 0.42, 0.99])).tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]


# --- weights of the loss ---


def test_min_snr_would_nearly_delete_the_low_noise_band() -> None:
    """notes/bootstrap3d.md 6.4, which is why weights are normalised within each source."""
    published: dict[Prediction, tuple[float, ...]] = {
        "epsilon": (0.055, 0.736, 1.0),
        "v_prediction": (0.054, 0.589, 0.126),
    }
    for prediction, means in published.items():
        weight = make_min_snr_weighting(prediction, 5.0)(PIXART.log_snr(torch.arange(1000)))
        assert [float(weight[low:high].mean()) for low, high in ((0, 50), (50, 200), (200, 1000))] == pytest.approx(
            means, abs=1e-3
        )


@pytest.mark.parametrize("what", AXES)
def test_weights_have_mean_1_within_each_source(what: str) -> None:
    plan = plan_on(what, TimestepPlanSettings(reference="pixart-linear", loss_weighting="min-snr"))
    for source in plan.sources:
        weight = plan.compute_loss_weights(
            source, plan.sample_levels(source, (torch.arange(200_000).double() + 0.5) / 200_000)
        )
        assert float(weight.mean()) == pytest.approx(1, abs=2e-3)
    assert float(plan.compute_loss_weights("render", plan.sample_levels("render", draws(1000))).std()) > 0.1
    assert plan.compute_effective_mass().sum(1).tolist() == pytest.approx(list(plan.compute_shares().values()))


def test_without_weighting_all_weights_are_1() -> None:
    assert plan_on("flow").compute_loss_weights("photo", torch.tensor([0.1, 0.01])).tolist() == [1, 1]


# --- what cannot be meant ---


MODELS = {"reference": "model"}
REST = BandSettings()


@pytest.mark.parametrize(
    ("toml", "bands", "said"),
    [
        ({}, two(BandSettings(0, 200), REST), "says 0 without a unit; name the schedule of its timesteps"),
        ({}, two(BandSettings(0, 200, "t"), REST), "says 0 t; name the schedule of its timesteps"),
        (MODELS, two(BandSettings(0, 1200), REST), "an end at 1200; t takes whole numbers from 0 to 1000"),
        (MODELS, two(BandSettings(0, 0.5), REST), "an end at 0.5; t takes whole numbers"),
        ({}, two(BandSettings(0, 1.5, "sigma"), REST), "an end at 1.5; sigma takes from 0 to 1"),
        (MODELS, two(BandSettings(200, 50), REST), "from 200 to 50 is empty; give the lower end first"),
        ({}, two(BandSettings(12, 15, "log_snr"), REST), "log-SNR 15 down to 12 holds no noise level of pixart"),
        (MODELS, two(BandSettings(0, 50), BandSettings(200, 1000)), "No source trains t 50-199; give one a band there"),
        ({}, {"render": (REST,), "photo": ()}, r"Source 'photo' has no band; write \[\[source.bands\]\] below it"),
        ({}, {"render": (REST, BandSettings(0.5, None, "sigma"))}, "Bands of source 'render' overlap"),
        ({}, two(BandSettings(weight=0), REST), "Source 'render' can train no noise level"),
        ({"sources": {"rendr": {"offset": -1}}}, two(REST, REST), "no source 'rendr'; did you mean 'render'"),
        ({"sources": {"render": {"share": 1}}}, two(REST, REST), "'render' is derived from the bands"),
        ({"mode": "free"}, two(REST, REST), "Source 'render' has no share"),
        ({"floor": 0.6}, two(BandSettings(None, 0.5, "sigma"), REST), "A floor of 0.6 for each of 2 bands"),
    ],
)
def test_misconfiguration_is_one_sentence(
    toml: dict[str, object], bands: dict[str, tuple[BandSettings, ...]], said: str
) -> None:
    settings = structure(TimestepPlanSettings, toml, "train.toml")
    with pytest.raises(BlendsetError, match=said):
        timestep_plan_from_settings(settings, bands, PIXART, "epsilon")


def test_unknown_units_and_schedules_are_one_sentence() -> None:
    with pytest.raises(BlendsetError, match="unit is 'sigm'; did you mean 'sigma'"):
        structure(BandSettings, {"unit": "sigm"}, "train.toml")
    with pytest.raises(BlendsetError, match="reference is 'pixart'; did you mean 'pixart-linear'"):
        structure(TimestepPlanSettings, {"reference": "pixart"}, "train.toml")
    with pytest.raises(BlendsetError, match="There is no source 'synth'; did you mean 'synthetic'"):
        plan_on("flow").sample_levels("synth", draws(1))
    with pytest.raises(BlendsetError, match="is in t, and flow has no timesteps"):
        timestep_plan_from_settings(
            TimestepPlanSettings(reference="model"), two(BandSettings(0, 200), BandSettings()), FLOW, "flow"
        )


# --- the paper's effect in closed form ---

FREQUENCIES = np.arange(1, 65)
POWER = FREQUENCIES**-2.0 / np.mean(FREQUENCIES**-2.0)
BLURRED = POWER * np.exp(-((np.pi * FREQUENCIES / 64 * 0.9) ** 2))
"""Of a signal of 128 samples of variance 1, and of its copies under a Gaussian of 0.9 samples."""
HIGH = FREQUENCIES > 64 * 2 / 3


def generated(plan: TimestepPlan, power: dict[str, np.ndarray]) -> np.ndarray:
    """The power at each frequency of what the best linear denoiser makes of noise by deterministic DDIM."""
    responsibility = plan.responsibility().numpy()
    learnt = sum(responsibility[row][:, None] * power[source] for row, source in enumerate(plan.sources))
    alpha, sigma = (each.numpy() for each in plan.base.axis.alpha_sigma(torch.arange(1000)))
    gain = np.ones_like(POWER)
    for t in range(999, -1, -1):
        clean = alpha[t] * learnt[t] / (alpha[t] ** 2 * learnt[t] + sigma[t] ** 2)
        noise = (1 - alpha[t] * clean) / sigma[t]
        gain *= alpha[t - 1] * clean + sigma[t - 1] * noise if t else clean
    return np.asarray(gain**2)


def sharpness(bands: dict[str, tuple[BandSettings, ...]]) -> float:
    plan = timestep_plan_from_settings(PAPER, bands, PIXART, "epsilon")
    power = generated(plan, {"render": POWER, "synthetic": BLURRED})
    return float(power[HIGH].sum() / POWER[HIGH].sum())


def test_the_reschedule_restores_what_blurred_copies_take() -> None:
    """notes/bootstrap3d.md 6.6.4: five blurred copies to a clean one; high-frequency energy against the clean one's."""
    everywhere = two(BandSettings(), BandSettings(weight=5.0))
    rescheduled = {t: two(BandSettings(), BandSettings(t, 1000, weight=5.0)) for t in (50, 100, 200, 400)}
    assert sharpness(everywhere) == pytest.approx(0.16, abs=0.005)
    measured = [sharpness(bands) for bands in rescheduled.values()]
    assert measured == pytest.approx([0.70, 0.87, 0.95, 0.97], abs=0.015)
    only_blurred = sharpness(two(BandSettings(0, 1, weight=1e-9), BandSettings()))
    assert only_blurred == pytest.approx(0.01, abs=0.005)


def test_calibration_finds_where_the_copies_do_no_harm() -> None:
    """With its usual tolerance, what the copies take is a few per cent."""
    log_snr = -math.log(compute_covering_noise(POWER, BLURRED, 0.1).max())
    assert 150 < int(PIXART.level(torch.tensor(log_snr))) < 200
    assert sharpness(two(BandSettings(), BandSettings(None, log_snr, "log_snr", weight=5.0))) > 0.93


def test_base_densities_are_read_back() -> None:
    """`fraction` and `log_snr` are inverses, and cuts lie on the cells' edges."""
    for axis, base, shift, _ in AXES.values():
        density = make_base_density(base, axis_from_name(axis), shift)
        part = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
        torch.testing.assert_close(density.cdf(density.inverse_cdf(part)), part, atol=1e-9, rtol=0)
        if density.axis.discrete:
            assert torch.isin(density.cdf_at_edge(density.inverse_cdf(part)), density.cumulative).all()

# SPDX-License-Identifier: Apache-2.0
"""Settings of noise levels, [plan] and [[source.bands]], and the timestep plan that they make.

Boundaries have units; all become log-SNR here, so that the paper's t = 200 is 261 on Stable Diffusion, not 200.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from blendset.errors import BlendsetError
from blendset.options import option
from blendset_trainer.diffusion.densities import BASES, BaseDensity, make_base_density
from blendset_trainer.diffusion.noise import AXES, NoiseAxis, Prediction, axis_from_name
from blendset_trainer.training.timesteps.bands import Band, SourcePolicy
from blendset_trainer.training.timesteps.plan import (
    TimestepPlan,
    make_min_snr_weighting,
    make_timestep_plan,
    unknown_source_error,
)

UNITS = ("t", "sigma", "edm_sigma", "log_snr", "fraction")
DERIVED, FREE = "derived", "free"
MODEL = "model"
REFERENCES = (MODEL, *(name for name in AXES if axis_from_name(name).discrete))
NO_WEIGHTING, MIN_SNR = "none", "min-snr"


@dataclass(frozen=True)
class BandSettings:
    """Noise levels that a source may train, without the noisier end itself; an end that is left out is open."""

    lo: float | None = option(None, "the lower end")
    hi: float | None = option(None, "the upper end")
    unit: str | None = option(
        None,
        "what the ends are: timesteps of plan.reference, flow sigma (0 to 1), EDM sigma (noise over signal), log-SNR, "
        "or fraction of the model's own density with less noise",
        choices=UNITS,
    )
    weight: float = option(1.0, "how often, beside the weights of other sources at the same levels", at_least=0)
    soft_edge: float = option(0.0, "log-SNR over which the weight fades at each end", at_least=0)


@dataclass(frozen=True)
class SourcePlanSettings:
    """A source's settings besides its bands."""

    share: float | None = option(None, "of mode free: how much of training, in proportion", at_least=0)
    offset: float = option(0.0, "log-SNR by which its density is moved; below 0 is noisier")


@dataclass(frozen=True)
class TimestepPlanSettings:
    """How noise levels are shared among the sources."""

    mode: str = option(
        DERIVED, "shares derived so that no level is trained more or less often, or set freely", choices=(DERIVED, FREE)
    )
    sources: dict[str, SourcePlanSettings] = field(default_factory=dict)
    reference: str | None = option(None, "the schedule that bands in t are of", choices=REFERENCES)
    resolution_shift: float = option(
        1.0, "the picture's side over the side that the bands were found at; moves them all", at_least=0.01
    )
    base: str | None = option(None, "the density of noise levels; left out, the model family's", choices=BASES)
    base_mean: float | None = option(None, "of the normal densities: mean of ln(sigma/alpha)")
    base_deviation: float | None = option(None, "of the normal densities: deviation of ln(sigma/alpha)", at_least=0.01)
    shift: float | None = option(None, "of flow models: shift of the density; left out, the model's", at_least=0.01)
    floor: float = option(0.0, "least share of training for every band between boundaries", at_least=0, at_most=1)
    loss_weighting: str = option(
        NO_WEIGHTING, "weights of the loss, of mean 1 within each source", choices=(NO_WEIGHTING, MIN_SNR)
    )
    gamma: float = option(5.0, "of min-snr: the SNR from which it weighs", at_least=0.01)


def timestep_plan_from_settings(
    settings: TimestepPlanSettings,
    bands: Mapping[str, Sequence[BandSettings]],
    axis: NoiseAxis,
    prediction: Prediction,
    base: str = "uniform",
    shift: float = 1.0,
) -> TimestepPlan:
    """The plan for sources and their bands on a model's axis; `base` and `shift` are those of the model's family.

    Where no source has a band, all train all levels. Raises BlendsetError for settings that contradict each other.
    """
    density = make_base_density(
        settings.base or base,
        axis,
        shift if settings.shift is None else settings.shift,
        settings.base_mean,
        settings.base_deviation,
    )
    _check_sources(settings, bands)
    in_plan = {source: settings.sources.get(source, SourcePlanSettings()) for source in bands}
    policies = [
        SourcePolicy(source, _make_bands(source, own_bands, settings, density), in_plan[source].offset)
        for source, own_bands in _default_bands(bands).items()
    ]
    return make_timestep_plan(
        policies,
        density,
        shares={name: source.share or 0 for name, source in in_plan.items()} if settings.mode == FREE else None,
        floor=settings.floor,
        weighting=make_min_snr_weighting(prediction, settings.gamma)
        if settings.loss_weighting == MIN_SNR
        else torch.ones_like,
    )


def _check_sources(settings: TimestepPlanSettings, bands: Mapping[str, Sequence[BandSettings]]) -> None:
    """Raise BlendsetError for a source that is unknown, or whose share does not fit the mode."""
    for source in settings.sources:
        if source not in bands:
            raise unknown_source_error(source, list(bands))
    shares = {name: source.share for name, source in settings.sources.items() if source.share is not None}
    if settings.mode == DERIVED and shares:
        raise BlendsetError(
            f"The share of source '{min(shares)}' is derived from the bands; leave it out, or set plan.mode = 'free'."
        )
    for source in bands:
        if settings.mode == FREE and not shares.get(source, 0) > 0:
            raise BlendsetError(f"Source '{source}' has no share; give it one above 0 in [plan.sources.{source}].")


def _default_bands(bands: Mapping[str, Sequence[BandSettings]]) -> Mapping[str, Sequence[BandSettings]]:
    """The bands by source; where no source has any, the whole axis for each."""
    if not any(bands.values()):
        return dict.fromkeys(bands, (BandSettings(),))
    for source, own_bands in bands.items():
        if not own_bands:
            raise BlendsetError(
                f"Source '{source}' has no band; write [[source.bands]] below it, empty for all levels."
            )
    return bands


def _make_bands(
    source: str, bands: Sequence[BandSettings], settings: TimestepPlanSettings, density: BaseDensity
) -> tuple[Band, ...]:
    return tuple(_make_band(f"The band of source '{source}'", band, settings, density) for band in bands)


def _make_band(what: str, band: BandSettings, settings: TimestepPlanSettings, density: BaseDensity) -> Band:
    """A band in log-SNR; `what` names it in errors."""
    unit = band.unit or ("t" if settings.reference else "")
    low, high = band.lo, band.hi
    if (low, high) != (None, None) and (not unit or (unit == "t" and not settings.reference)):
        raise BlendsetError(
            f"{what} says {low if low is not None else high:g} {unit or 'without a unit'}; "
            f"name the schedule of its timesteps as plan.reference ({', '.join(REFERENCES)}), or choose another unit."
        )
    if low is not None and high is not None and low >= high:
        raise BlendsetError(f"{what} from {low:g} to {high:g} is empty; give the lower end first.")
    if unit == "log_snr":
        low, high = high, low
    cleanest, noisiest = (
        open_end if end is None else _parse_end(what, end, unit, settings, density)
        for end, open_end in ((low, math.inf), (high, -math.inf))
    )
    return Band(cleanest, noisiest, band.weight, band.soft_edge)


def _parse_end(what: str, end: float, unit: str, settings: TimestepPlanSettings, density: BaseDensity) -> float:
    """One end of a band as log-SNR; BlendsetError for a number that its unit does not have."""
    if unit == "log_snr":
        return end - 2 * math.log(settings.resolution_shift)
    axis = _find_axis(unit, settings, density)
    if unit == "t" and not axis.discrete:
        raise BlendsetError(f"{what} is in t, and {axis.name} has no timesteps; name another plan.reference.")
    last = {"t": float(axis.level(torch.tensor(-math.inf))) + 1, "edm_sigma": math.inf}.get(unit, 1.0)
    if not 0 <= end <= last or (unit == "t" and end != int(end)):
        whole = "whole numbers " if unit == "t" else ""
        raise BlendsetError(f"{what} has an end at {end:g}; {unit} takes {whole}from 0 to {last:g}.")
    if end in (0, last):
        return math.inf if end == 0 else -math.inf
    if unit == "fraction":  # a hair further, lest rounding give the timestep before
        return float(axis.log_snr(density.quantile(torch.tensor(end + 1e-9, dtype=torch.float64))))
    return float(axis.log_snr(torch.tensor(end, dtype=torch.float64))) - 2 * math.log(settings.resolution_shift)


def _find_axis(unit: str, settings: TimestepPlanSettings, density: BaseDensity) -> NoiseAxis:
    """The axis that a unit's numbers are levels of."""
    if unit == "t" and settings.reference not in (None, MODEL):
        return axis_from_name(str(settings.reference))
    return {"sigma": axis_from_name("flow"), "edm_sigma": axis_from_name("edm")}.get(unit, density.axis)

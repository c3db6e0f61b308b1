# SPDX-License-Identifier: Apache-2.0
"""Calibration on the pictures of a dataset: from which noise level on one of its sources may train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError
from blendset.options import resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.diffusion.latents import scale_latents
from blendset_trainer.diffusion.noise import axis_from_name
from blendset_trainer.models.weights import explain_load_errors
from blendset_trainer.readers.images import load_rgb
from blendset_trainer.selection.files import list_selections, read_chosen
from blendset_trainer.stages.tables import read_index
from blendset_trainer.training.timesteps.calibration import (
    Array,
    Boundary,
    EncodePicture,
    compute_spectrum,
    encode_luminance,
    find_boundary,
)
from blendset_trainer.training.timesteps.calibration_settings import MIN_PICTURES, CalibrateSettings

SCHEDULES = ("pixart-linear", "sd-scaled-linear", "flow")
"""The schedules whose levels are reported beside log-SNR."""


@dataclass(frozen=True)
class MeasuredSource:
    """A selection or a source, and how many of its pictures were measured."""

    name: str
    pictures: int


@dataclass(frozen=True)
class CalibrateReport:
    """From which noise level on a source is as good to train on as clean pictures.

    `space` is "pixels" or the model in whose latents was measured. `frequency`, in cycles per pixel, is where the two
    differ most. `boundaries` are, by the name of a noise axis, the estimate and the ends of its 95 % interval; None in
    log-SNR means that nothing tells the two apart. `toml` are the bands to write below each source.
    """

    clean: MeasuredSource
    source: MeasuredSource
    resolution: int
    tolerance: float
    space: str
    frequency: float
    boundaries: dict[str, list[float | None]]
    toml: str


def calibrate(
    dataset: Dataset | Path | str,
    settings: CalibrateSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> CalibrateReport:
    """Measure from which noise level on a source is as good to train on as clean pictures.

    `options` are fields of the settings, and go over them. Raises BlendsetError where options do not fit, a source has
    too few pictures or one cannot be read.
    """
    settings, dataset = resolve_settings(CalibrateSettings, settings, options), open_dataset(dataset)
    clean, source = (list_pictures(dataset, name, settings.pictures) for name in (settings.clean, settings.source))
    total = len(clean) + len(source)
    on_progress("calibrate", 0, total)
    encode = load_vae_encoder(settings.vae) if settings.vae else encode_luminance
    spectra = []
    for number, path in enumerate((*clean, *source)):
        spectra.append(compute_spectrum(encode(load_square(path, settings.resolution))))
        on_progress("calibrate", number + 1, total)
    measured = np.stack(spectra)
    found = find_boundary(measured[: len(clean)], measured[len(clean) :], settings.tolerance)
    return _summarize(settings, len(clean), len(source), found)


def load_vae_encoder(model: str) -> EncodePicture:
    """A function from a picture (side, side, 3) to its latents (C, h, w) in a model: the posterior's mean, scaled."""
    from diffusers import AutoencoderKL  # which calibration on pixels does without

    folder = Path(model) / "vae"
    subfolder = "vae" if folder.is_dir() or not Path(model).is_dir() else None
    with explain_load_errors(model, "a model with a VAE"):
        vae = AutoencoderKL.from_pretrained(model, subfolder=subfolder)

    @torch.inference_mode()
    def encode(picture: NDArray[np.uint8]) -> Array:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
        latents = scale_latents(vae, vae.encode(pixels).latent_dist.mode()[0])
        return latents.double().numpy()

    return encode


def list_pictures(dataset: Dataset, name: str, most: int) -> list[Path]:
    """At most `most` pictures of a selection or a source, spread over all of it; BlendsetError for too few."""
    index = read_index(dataset).select(["view_id", "rgb_file_name", "source"]).to_pylist()
    if name in list_selections(dataset):
        chosen = set(read_chosen(dataset, name)["view_id"].to_pylist())
        rows = [row for row in index if row["view_id"] in chosen]
    else:
        rows = [row for row in index if row["source"] == name]
    if len(rows) < MIN_PICTURES:
        known = ", ".join(sorted({*list_selections(dataset), *(row["source"] for row in index)}))
        raise BlendsetError(
            f"{dataset.root} has {len(rows)} pictures of '{name}' and {MIN_PICTURES} are the least to measure; "
            f"choose from {known}, or add pictures."
        )
    step = max(len(rows) / most, 1.0)
    return [dataset.root / rows[int(number * step)]["rgb_file_name"] for number in range(min(len(rows), most))]


def load_square(path: Path, side: int) -> NDArray[np.uint8]:
    """The centred square of a picture at the size of training, (side, side, 3); BlendsetError if unreadable."""
    picture = load_rgb(path, cure="render it again")
    return np.asarray(ImageOps.fit(picture, (side, side), Image.Resampling.LANCZOS))


def _summarize(settings: CalibrateSettings, clean: int, source: int, found: Boundary) -> CalibrateReport:
    """The result, with the numbers of pictures and the TOML that it suggests."""
    low, high = found.interval
    return CalibrateReport(
        MeasuredSource(settings.clean, clean),
        MeasuredSource(settings.source, source),
        settings.resolution,
        settings.tolerance,
        settings.vae or "pixels",
        found.frequency,
        {
            "log_snr": [value if math.isfinite(value) else None for value in (found.log_snr, low, high)],
            **{name: _convert_levels(name, (found.log_snr, high, low)) for name in SCHEDULES},
        },
        _format_toml(settings, found),
    )


def _convert_levels(schedule: str, log_snr: Sequence[float]) -> list[float | None]:
    """Levels of a schedule at these log-SNR."""
    levels: list[float | None] = axis_from_name(schedule).level(torch.tensor(log_snr, dtype=torch.float64)).tolist()
    return levels


def _format_toml(settings: CalibrateSettings, found: Boundary) -> str:
    """The bands to write below each source of a training configuration."""
    end = [f"hi = {found.log_snr:.3f}"] if math.isfinite(found.log_snr) else []
    below = {settings.clean: [], settings.source: end}
    return "\n\n".join(
        "\n".join([f"# below the [[source]] of {name}", "[[source.bands]]", 'unit = "log_snr"', *lines])
        for name, lines in below.items()
    )

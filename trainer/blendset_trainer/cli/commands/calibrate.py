# SPDX-License-Identifier: Apache-2.0
"""`blendset calibrate`: measures on the pictures themselves from which noise level on a source may train."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command
from blendset_trainer.selection.files import list_selections, read_chosen
from blendset_trainer.stages.tables import read_index

if TYPE_CHECKING:
    from blendset_trainer.training.timesteps.calibration import Boundary, EncodePicture

SCHEDULES = ("pixart-linear", "sd-scaled-linear", "flow")
MIN_PICTURES = 8
"""Pictures of a side, below which an interval says nothing."""


def add_calibrate(commands: argparse._SubParsersAction[Parser]) -> None:
    """Register `blendset calibrate`."""
    parser = add_command(
        commands,
        "calibrate",
        _calibrate,
        "Measure from which noise level on a source is as good to train on as clean pictures",
        "blendset calibrate kitchen-dataset --clean render --source synthetic --resolution 256",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    parser.add_argument("--clean", required=True, metavar="NAME", help="a selection, or a source such as render")
    parser.add_argument("--source", required=True, metavar="NAME", help="a selection, or a source such as synthetic")
    parser.add_argument(
        "--resolution", type=int, default=256, metavar="PX", help="side of a picture in training (default 256)"
    )
    parser.add_argument(
        "--tolerance", type=float, default=0.1, metavar="X", help="by how much denoisers may differ (default 0.1)"
    )
    parser.add_argument("--pictures", type=int, default=500, metavar="N", help="most pictures of each (default 500)")
    parser.add_argument(
        "--vae", default="", metavar="MODEL", help="measure in the latents of this model, not in pixels"
    )


def _calibrate(arguments: argparse.Namespace) -> int:
    from blendset_trainer.training.timesteps.calibration import compute_spectrum, encode_luminance, find_boundary

    if arguments.resolution < 1 or arguments.pictures < MIN_PICTURES or not 0 < arguments.tolerance < 1:
        raise UsageError(
            f"Take at least {MIN_PICTURES} --pictures, a --resolution above 0 and a --tolerance between 0 and 1."
        )
    dataset = Dataset(arguments.dataset)
    clean, source = (_list_pictures(dataset, name, arguments.pictures) for name in (arguments.clean, arguments.source))
    encode = load_vae_encoder(arguments.vae) if arguments.vae else encode_luminance
    with show_progress("calibrate", quiet=arguments.json) as on_progress:
        spectra = []
        for number, path in enumerate((*clean, *source)):
            spectra.append(compute_spectrum(encode(_load_square(path, arguments.resolution))))
            on_progress(number + 1, len(clean) + len(source))
    measured = np.stack(spectra)
    found = find_boundary(measured[: len(clean)], measured[len(clean) :], arguments.tolerance)
    (print_json if arguments.json else _print)(_summarize(arguments, len(clean), len(source), found))
    return DONE


def load_vae_encoder(model: str) -> EncodePicture:
    """What a model's VAE makes of a picture, as its denoiser sees it: the mean of the posterior, scaled."""
    import torch
    from diffusers import AutoencoderKL

    folder = Path(model) / "vae"
    vae = AutoencoderKL.from_pretrained(model, subfolder="vae" if folder.is_dir() or not Path(model).is_dir() else None)
    shift, scale = vae.config.get("shift_factor") or 0.0, vae.config["scaling_factor"]

    @torch.inference_mode()
    def encode(picture: Any) -> Any:
        pixels = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
        return ((vae.encode(pixels).latent_dist.mode()[0] - shift) * scale).double().numpy()

    return encode


def _list_pictures(dataset: Dataset, name: str, most: int) -> list[Path]:
    """Pictures of a selection or a source, spread over all of it."""
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


def _load_square(path: Path, side: int) -> Any:
    """A picture's middle at the size of training."""
    try:
        with Image.open(path) as picture:
            return np.asarray(ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS))
    except OSError as error:
        raise BlendsetError(f"{path} cannot be read ({error}); render it again.") from error


def _summarize(arguments: argparse.Namespace, clean: int, source: int, found: Boundary) -> dict[str, Any]:
    low, high = found.interval
    return {
        "clean": {"name": arguments.clean, "pictures": clean},
        "source": {"name": arguments.source, "pictures": source},
        "resolution": arguments.resolution,
        "tolerance": arguments.tolerance,
        "space": arguments.vae or "pixels",
        "frequency": found.frequency,
        "boundaries": {
            "log_snr": [_none_if_infinite(each) for each in (found.log_snr, low, high)],
            **{name: _convert_levels(name, (found.log_snr, high, low)) for name in SCHEDULES},
        },
        "toml": _format_toml(arguments, found),
    }


def _convert_levels(schedule: str, log_snr: Sequence[float]) -> list[float]:
    import torch

    from blendset_trainer.diffusion.noise import axis_from_name

    levels: list[float] = axis_from_name(schedule).level(torch.tensor(log_snr, dtype=torch.float64)).tolist()
    return levels


def _none_if_infinite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _format_toml(arguments: argparse.Namespace, found: Boundary) -> str:
    """What to write below each source."""
    end = [f"hi = {found.log_snr:.3f}"] if math.isfinite(found.log_snr) else []
    below = {arguments.clean: [], arguments.source: end}
    return "\n\n".join(
        "\n".join([f"# below the [[source]] of {name}", "[[source.bands]]", 'unit = "log_snr"', *lines])
        for name, lines in below.items()
    )


def _print(summary: dict[str, Any]) -> None:
    clean, source, boundaries = summary["clean"], summary["source"], summary["boundaries"]
    print(
        f"{source['name']} ({source['pictures']} pictures) against {clean['name']} ({clean['pictures']} pictures), "
        f"{summary['resolution']} px, {summary['space']}, tolerance {summary['tolerance']:g}"
    )
    if boundaries["log_snr"][0] is None:
        print("No frequency tells them apart: the source may train all levels.")
    else:
        print(f"They differ most at {summary['frequency']:.2f} cycles per pixel; from here on noise covers it:")
    rows = [
        (name, *("none" if each is None else f"{each:.4g}" for each in values)) for name, values in boundaries.items()
    ]
    print_table(("boundary in", "estimate", "95 % from", "to"), rows)
    print(f"\n{summary['toml']}")

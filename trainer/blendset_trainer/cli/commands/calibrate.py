# SPDX-License-Identifier: Apache-2.0
"""`blendset calibrate`: measures on the pictures themselves from which noise level on a source may train."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset_trainer.cli.console import print_json, print_table, show_progress
from blendset_trainer.cli.parser import DONE, Parser, UsageError, add_command


def add_calibrate(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset calibrate`."""
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
    from blendset_trainer.training.timesteps.dataset_calibration import MIN_PICTURES, CalibrationSettings, calibrate

    if arguments.resolution < 1 or arguments.pictures < MIN_PICTURES or not 0 < arguments.tolerance < 1:
        raise UsageError(
            f"Take at least {MIN_PICTURES} --pictures, a --resolution above 0 and a --tolerance between 0 and 1."
        )
    settings = CalibrationSettings(
        arguments.clean,
        arguments.source,
        arguments.resolution,
        arguments.tolerance,
        arguments.pictures,
        arguments.vae,
    )
    dataset = Dataset(arguments.dataset)
    with show_progress("calibrate", quiet=arguments.json) as on_progress:
        summary = calibrate(dataset, settings, on_progress)
    (print_json if arguments.json else _print)(summary)
    return DONE


def _print(summary: dict[str, Any]) -> None:
    """Print the boundaries as a table, and the TOML."""
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
        (name, *("none" if value is None else f"{value:.4g}" for value in values))
        for name, values in boundaries.items()
    ]
    print_table(("boundary in", "estimate", "95 % from", "to"), rows)
    print(f"\n{summary['toml']}")

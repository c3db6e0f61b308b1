# SPDX-License-Identifier: Apache-2.0
"""`blendset calibrate`: measures on the pictures themselves from which noise level on a source may train."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from blendset_trainer.cli.console import print_json, print_table, report_progress
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.training.timesteps.calibration_settings import CalibrateSettings

if TYPE_CHECKING:
    from blendset_trainer.training.timesteps.dataset_calibration import CalibrateReport


def add_calibrate(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset calibrate`."""
    parser = add_command(
        commands,
        "calibrate",
        _calibrate,
        "Measure from which noise level on a source is as good to train on as clean pictures",
        "blendset calibrate kitchen-dataset --clean render --source synthetic --resolution 256",
    )
    add_dataset(parser)
    add_settings(parser, CalibrateSettings)


def _calibrate(arguments: argparse.Namespace) -> int:
    from blendset_trainer.training.timesteps.dataset_calibration import calibrate  # with torch

    settings = read_settings(CalibrateSettings, arguments)
    with report_progress(quiet=arguments.json) as on_progress:
        report = calibrate(arguments.dataset, settings, on_progress=on_progress)
    (print_json if arguments.json else _print)(report)
    return DONE


def _print(report: CalibrateReport) -> None:
    """Print the boundaries as a table, and the TOML."""
    clean, source = report.clean, report.source
    print(
        f"{source.name} ({source.pictures} pictures) against {clean.name} ({clean.pictures} pictures), "
        f"{report.resolution} px, {report.space}, tolerance {report.tolerance:g}"
    )
    if report.boundaries["log_snr"][0] is None:
        print("No frequency tells them apart: the source may train all levels.")
    else:
        print(f"They differ most at {report.frequency:.2f} cycles per pixel; from here on noise covers it:")
    rows = [
        (name, *("none" if value is None else f"{value:.4g}" for value in values))
        for name, values in report.boundaries.items()
    ]
    print_table(("boundary in", "estimate", "95 % from", "to"), rows)
    print(f"\n{report.toml}")

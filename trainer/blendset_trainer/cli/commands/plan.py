# SPDX-License-Identifier: Apache-2.0
"""`blendset plan`: places and judges cameras without rendering."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from blendset.config import add_arguments
from blendset_trainer.cli.console import print_funnels, print_json, print_notes, report_scenes
from blendset_trainer.cli.parser import (
    INTERRUPTED,
    Parser,
    add_command,
    add_scenes,
    choose_exit_code,
    read_config,
)
from blendset_trainer.cli.settings_options import add_setting, read_settings
from blendset_trainer.rendering.plan import PlanReport, PlanSettings, plan


def add_plan(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset plan`."""
    parser = add_command(
        commands,
        "plan",
        _plan,
        "Place and judge cameras without rendering, and show what became of every candidate",
        "blendset plan kitchen.blend --preset blendset --preset blendfusion",
        conflict_handler="resolve",  # of --preset: several here, one in what add_arguments offers
    )
    add_scenes(parser)
    add_setting(parser, PlanSettings, "blender")
    add_arguments(parser)
    for name in ("presets", "out", "previews"):
        add_setting(parser, PlanSettings, name)


def _plan(arguments: argparse.Namespace) -> int:
    settings, config = read_settings(PlanSettings, arguments), read_config(arguments)
    with report_scenes(quiet=arguments.json) as (on_progress, on_update):
        report = plan(arguments.scenes, settings, config=config, on_progress=on_progress, on_update=on_update)
    if report.cancelled:
        return INTERRUPTED
    (_print_json if arguments.json else _print)(report)
    return choose_exit_code(report)


def _print_json(report: PlanReport) -> None:
    print_json([{"preset": each.preset, "scenes": each.summary.scenes} for each in report.presets])


def _print(report: PlanReport) -> None:
    planned = [(each.preset, scene) for each in report.presets for scene in each.summary.scenes]
    for preset, scene in planned:
        if scene.reason:
            print(f"{scene.scene}, {preset}: {scene.reason}.", file=sys.stderr)
    print_notes([scene for _, scene in planned])
    print_funnels([(f"{Path(scene.scene).stem} {preset}", scene) for preset, scene in planned])

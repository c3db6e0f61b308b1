# SPDX-License-Identifier: Apache-2.0
"""`blendset render`: renders scenes into a dataset."""

from __future__ import annotations

import argparse

from blendset.config import add_arguments
from blendset_trainer.cli.console import print_json, print_summary, report_scenes
from blendset_trainer.cli.parser import (
    INTERRUPTED,
    Parser,
    add_command,
    add_scenes,
    choose_exit_code,
    read_config,
)
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.rendering.render import RenderSettings, read_planned_config, render


def add_render(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset render`."""
    parser = add_command(
        commands,
        "render",
        _render,
        "Render scenes into a dataset; the same command again goes on where it was interrupted",
        "blendset render kitchen.blend --out kitchen-dataset --views 24 --resolution 512",
    )
    add_scenes(parser)
    add_settings(parser, RenderSettings)
    add_arguments(parser)


def _render(arguments: argparse.Namespace) -> int:
    settings = read_settings(RenderSettings, arguments)
    config = read_config(arguments, read_planned_config(settings))
    with report_scenes(quiet=arguments.json) as (on_progress, on_update):
        summary = render(arguments.scenes, settings, config=config, on_progress=on_progress, on_update=on_update)
    (print_json if arguments.json else print_summary)(summary)
    if summary.cancelled:
        return INTERRUPTED
    return choose_exit_code(summary)

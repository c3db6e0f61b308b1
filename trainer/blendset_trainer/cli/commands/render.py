# SPDX-License-Identifier: Apache-2.0
"""`blendset render`: renders scenes into a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset.config import add_arguments
from blendset.errors import BlendsetError
from blendset.jobs.supervisor import SINGLE_SHARD, Shard, Supervisor, parse_shard
from blendset.placement.camera_plan import read_plan
from blendset_trainer.cli.console import follow, print_json, print_summary
from blendset_trainer.cli.parser import (
    DONE,
    FAILED,
    INTERRUPTED,
    Parser,
    UsageError,
    add_command,
    add_scenes,
    find_scenes,
    read_config,
)
from blendset_trainer.rendering import worker


def add_render(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset render`."""
    render = add_command(
        commands,
        "render",
        _render,
        "Render scenes into a dataset; the same command again goes on where it was interrupted",
        "blendset render kitchen.blend --out kitchen-dataset --views 24 --resolution 512",
    )
    add_scenes(render)
    render.add_argument("--out", type=Path, required=True, metavar="DATASET", help="the dataset's folder")
    render.add_argument("--plan", type=Path, metavar="PLAN.json", help="cameras from 'blendset plan --out'")
    render.add_argument("--shard", default="", metavar="I/N", help="do part I of N; parts may share the folder")
    render.add_argument("--mix-settings", action="store_true", help="add to a dataset of other render settings")
    add_arguments(render)


def _render(arguments: argparse.Namespace) -> int:
    scenes, shard = find_scenes(arguments.scenes), _parse_shard(arguments.shard)
    if arguments.plan and len(scenes) > 1:
        raise UsageError("--plan holds the cameras of one scene; give that scene only.")
    if arguments.plan and not arguments.plan.is_file():
        raise UsageError(f"{arguments.plan} does not exist; make it with 'blendset plan --out'.")
    config = read_config(arguments, read_plan(arguments.plan).config if arguments.plan else None)
    command = worker.find_worker(arguments.blender)
    supervisor = Supervisor(
        scenes,
        arguments.out,
        config,
        command,
        plan=arguments.plan,
        shard=shard,
        mix_settings=arguments.mix_settings,
    )
    summary = follow(supervisor, quiet=arguments.json)
    (print_json if arguments.json else print_summary)(summary)
    if summary.cancelled:
        return INTERRUPTED
    return DONE if summary.done else FAILED


def _parse_shard(text: str) -> Shard:
    """Return the part that `--shard I/N` names; UsageError for what is no such part."""
    try:
        return parse_shard(text) if text else SINGLE_SHARD
    except BlendsetError as error:
        raise UsageError(str(error)) from error

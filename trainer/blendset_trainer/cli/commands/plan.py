# SPDX-License-Identifier: Apache-2.0
"""`blendset plan`: places and judges cameras without rendering."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from blendset.config import Config, add_arguments
from blendset.jobs.scenes import Summary
from blendset.placement.presets import PRESETS
from blendset_trainer.cli.console import follow, print_funnels, print_json
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
from blendset_trainer.rendering.planning import plan_scenes


def add_plan(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset plan`."""
    plan = add_command(
        commands,
        "plan",
        _plan,
        "Place and judge cameras without rendering, and show what became of every candidate",
        "blendset plan kitchen.blend --preset blendset --preset blendfusion",
        conflict_handler="resolve",  # of --preset: several here, one in what add_arguments offers
    )
    add_scenes(plan)
    add_arguments(plan)
    plan.add_argument(
        "--preset", action="append", choices=tuple(PRESETS), help="how cameras are placed; give it again to compare"
    )
    plan.add_argument("--out", type=Path, metavar="PLAN.json", help="keep the plan, for render --plan")
    plan.add_argument("--previews", action="store_true", help="judge light too, by small renders")


def _plan(arguments: argparse.Namespace) -> int:
    scenes, config = find_scenes(arguments.scenes), read_config(arguments)
    configs = [_with_preset(config, preset) for preset in arguments.preset or [config.cameras.preset]]
    if arguments.out and len(scenes) * len(configs) != 1:
        raise UsageError("--out keeps one plan; give one scene and at most one --preset.")
    command = worker.find_worker(arguments.blender)
    run = partial(follow, quiet=arguments.json)
    summaries = plan_scenes(scenes, configs, command, run, arguments.out, arguments.previews)
    if summaries[-1].cancelled:
        return INTERRUPTED
    _print_plans(configs, summaries, as_json=arguments.json)
    return DONE if all(summary.done for summary in summaries) else FAILED


def _with_preset(config: Config, preset: str) -> Config:
    return replace(config, cameras=replace(config.cameras, preset=preset))


def _print_plans(configs: Sequence[Config], summaries: Sequence[Summary], *, as_json: bool) -> None:
    presets = [config.cameras.preset for config in configs]
    if as_json:
        pairs = zip(presets, summaries, strict=True)
        print_json([{"preset": preset, "scenes": summary.scenes} for preset, summary in pairs])
        return
    planned = [(preset, scene) for preset, summary in zip(presets, summaries, strict=True) for scene in summary.scenes]
    for preset, scene in planned:
        if scene.reason:
            print(f"{scene.scene}, {preset}: {scene.reason}.", file=sys.stderr)
    print_funnels([(f"{Path(scene.scene).stem} {preset}", scene) for preset, scene in planned])

# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender -b scene.blend --command blendset ...`: the same runs as in the window, headless.

`render` and `plan` work on the open file, in this process; `work` and `check` serve the supervisor.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

import bpy

from blendset.config import add_arguments, config_from_arguments
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.jobs.messages import Event, Progress, ScenePlanned, ViewRendered

from .scene_run import SceneRun
from .worker import check_devices, run_worker

COMMAND = "blendset"
_handles: list[object] = []


def register() -> None:
    """Give Blender the command."""
    _handles.append(bpy.utils.register_cli_command(COMMAND, main))


def unregister() -> None:
    """Take it back."""
    while _handles:
        bpy.utils.unregister_cli_command(_handles.pop())


def main(argv: Sequence[str]) -> int:
    """Run one command; returns the exit code: 0 done, 1 failed, 2 wrong usage, 3 sound but
    incomplete, 130 interrupted."""
    parser = _build_parser()
    try:
        arguments = parser.parse_args(list(argv))
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        return int(arguments.run(arguments))
    except BlendsetError as error:
        print(f"blendset: {error}", file=sys.stderr)
        if arguments.debug:
            traceback.print_exc()
        return 1
    except KeyboardInterrupt:
        return 130


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="blender -b SCENE.blend --command blendset", allow_abbrev=False)
    parser.add_argument("--debug", action="store_true", help="show where an error comes from")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    render = commands.add_parser("render", help="render the open file into a dataset", allow_abbrev=False)
    render.add_argument("--out", type=Path, required=True, metavar="DATASET", help="the dataset's folder")
    render.add_argument(
        "--mix-settings", action="store_true", help="add to a dataset that was rendered with other settings"
    )
    add_arguments(render)
    render.set_defaults(run=_render_open_file)
    for name, function in (("work", run_worker), ("check", check_devices)):
        served = commands.add_parser(name, help="for the supervisor")
        served.add_argument("--job", type=Path)
        served.add_argument("--events", type=Path, required=True)
        served.set_defaults(run=function)
    return parser


def _render_open_file(arguments: argparse.Namespace) -> int:
    config = config_from_arguments(arguments)
    if not bpy.data.filepath:
        raise BlendsetError(
            "No scene is open; give one: blender -b SCENE.blend --command blendset render --out DATASET."
        )
    source = Path(bpy.data.filepath)
    dataset = Dataset.open_for_run(arguments.out, config, [source], arguments.mix_settings)
    with SceneRun(source, dataset, config, _make_printer()) as run:
        plan = run.plan(previews=True)
        run.render(plan, [view.view_id for view in plan.views])
    dataset.rebuild_index()
    planned = {view.view_id for view in plan.views}  # some may be there from an earlier run
    passed = sum(not view.failed_checks for view in dataset.views() if view.view_id in planned)
    print(f"blendset: {len(plan.views)} views of {run.scene_id} in {dataset.root}, {passed} of them pass every check")
    if shortfall := run.planner.losses or run.planner.limit:
        print(f"blendset: {shortfall}")
    complete = not run.planner.losses and (config.renders_all or passed == len(plan.views))
    return 0 if complete else 3


def _make_printer() -> Callable[[Event], None]:
    """A function that prints events as plain lines, progress at most every five seconds."""
    last = 0.0

    def print_event(event: Event) -> None:
        nonlocal last
        if isinstance(event, Progress):
            if time.monotonic() - last < 5:
                return
            last = time.monotonic()
            print(f"blendset: {event.what} {event.done}/{event.total}", flush=True)
        elif isinstance(event, ViewRendered):
            print(f"blendset: {event.path} {event.seconds:.1f} s {', '.join(event.failed_checks)}", flush=True)
        elif isinstance(event, ScenePlanned):
            for note in event.notes:
                print(f"blendset: {note}", flush=True)

    return print_event

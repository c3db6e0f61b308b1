# SPDX-License-Identifier: Apache-2.0
"""`blendset` on the command line: one command per stage, each safe to run twice.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from blendset import __version__
from blendset.config import PRESETS, Config, add_arguments
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.jobs.blenders import Blender, find_blender, installed_profile, worker_command
from blendset.jobs.child import WorkerCommand
from blendset.jobs.scenes import Summary
from blendset.jobs.supervisor import WHOLE, Shard, Supervisor, parse_shard
from blendset.placement.plan import read_plan
from blendset_trainer import private_blenders
from blendset_trainer.captioning.command import add_caption
from blendset_trainer.export.command import add_export, add_unpack
from blendset_trainer.report.command import add_report
from blendset_trainer.reporting import follow, print_funnels, print_json, print_summary, print_table
from blendset_trainer.scoring.command import add_score
from blendset_trainer.selection.command import add_select
from blendset_trainer.synthesis.command import add_synthesize
from blendset_trainer.synthesis.prompts.command import add_prompts
from blendset_trainer.training.cache_command import add_cache
from blendset_trainer.training.calibrate_command import add_calibrate
from blendset_trainer.training.command import add_train
from blendset_trainer.training.sample_command import add_sample
from blendset_trainer.usage import (
    DONE,
    FAILED,
    INTERRUPTED,
    WRONG_USAGE,
    Parser,
    UsageError,
    command,
    config_of,
    scenes_of,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a cluster's polite end is treated as Ctrl-C
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = parser().parse_args(words)
        code = int(arguments.run(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # of `blendset ... | head`, which has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except BlendsetError as error:
        print(f"blendset: {error}", file=sys.stderr)
        if "--debug" in words:
            traceback.print_exc()
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        print("blendset: interrupted; what is finished is kept, and the same command goes on.", file=sys.stderr)
        return INTERRUPTED


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="blendset",
        description="Turns Blender scenes into training sets.",
        epilog="example: blendset render kitchen.blend --out kitchen-dataset",
    )
    top.add_argument("--version", action="version", version=f"blendset {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND", title="commands")
    _add_plan(commands)
    _add_render(commands)
    _add_verify(commands)
    add_caption(commands)
    add_score(commands)
    add_select(commands)
    add_report(commands)
    add_export(commands)
    add_unpack(commands)
    add_prompts(commands)
    add_train(commands)
    add_calibrate(commands)
    add_cache(commands)
    add_sample(commands)
    add_synthesize(commands)
    _add_blender(commands)
    return top


def _add_scenes(command: Parser) -> None:
    command.add_argument("scenes", nargs="+", metavar="SCENE", help=".blend files, folders of them, or patterns")
    command.add_argument("--blender", metavar="PATH", help="a Blender executable, or a Python that has bpy")


# --- plan -------------------------------------------------------------------------------------------------------------


def _add_plan(commands: argparse._SubParsersAction[Parser]) -> None:
    plan = command(
        commands,
        "plan",
        _plan,
        "Place and judge cameras without rendering, and show what became of every candidate",
        "blendset plan kitchen.blend --preset blendset --preset blendfusion",
        conflict_handler="resolve",  # of --preset: several here, one in what add_arguments offers
    )
    _add_scenes(plan)
    add_arguments(plan)
    plan.add_argument(
        "--preset", action="append", choices=PRESETS, help="how cameras are placed; give it again to compare"
    )
    plan.add_argument("--out", type=Path, metavar="PLAN.json", help="keep the plan, for render --plan")
    plan.add_argument("--previews", action="store_true", help="judge light too, by small renders")


def _plan(arguments: argparse.Namespace) -> int:
    scenes, config = scenes_of(arguments.scenes), config_of(arguments)
    configs = [_with_preset(config, preset) for preset in arguments.preset or [config.cameras.preset]]
    if arguments.out and len(scenes) * len(configs) != 1:
        raise UsageError("--out keeps one plan; give one scene and at most one --preset.")
    command = _worker(arguments.blender)
    summaries: list[Summary] = []
    with tempfile.TemporaryDirectory(prefix="blendset-") as folder:
        for number, each in enumerate(configs):
            root = Path(folder) / f"plan-{number}"
            supervisor = Supervisor(scenes, root, each, command, render=False, previews=arguments.previews)
            summaries.append(follow(supervisor, quiet=arguments.json))
            if summaries[-1].cancelled:
                return INTERRUPTED
        if arguments.out and summaries[0].done:
            plan = supervisor.dataset.plan_path(summaries[0].scenes[0].run)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(plan, arguments.out)
    _show_plans(configs, summaries, as_json=arguments.json)
    return DONE if all(summary.done for summary in summaries) else FAILED


def _with_preset(config: Config, preset: str) -> Config:
    return replace(config, cameras=replace(config.cameras, preset=preset))


def _show_plans(configs: Sequence[Config], summaries: Sequence[Summary], *, as_json: bool) -> None:
    presets = [config.cameras.preset for config in configs]
    if as_json:
        print_json([{"preset": preset, "scenes": each.scenes} for preset, each in zip(presets, summaries, strict=True)])
        return
    planned = [(preset, scene) for preset, summary in zip(presets, summaries, strict=True) for scene in summary.scenes]
    for preset, scene in planned:
        if scene.reason:
            print(f"{scene.scene}, {preset}: {scene.reason}.", file=sys.stderr)
    print_funnels([(f"{Path(scene.scene).stem} {preset}", scene) for preset, scene in planned])


# --- render -----------------------------------------------------------------------------------------------------------


def _add_render(commands: argparse._SubParsersAction[Parser]) -> None:
    render = command(
        commands,
        "render",
        _render,
        "Render scenes into a dataset; the same command again goes on where it was interrupted",
        "blendset render kitchen.blend --out kitchen-dataset --views 24 --resolution 512",
    )
    _add_scenes(render)
    render.add_argument("--out", type=Path, required=True, metavar="DATASET", help="the dataset's folder")
    render.add_argument("--plan", type=Path, metavar="PLAN.json", help="cameras from 'blendset plan --out'")
    render.add_argument("--shard", default="", metavar="I/N", help="do part I of N; parts may share the folder")
    render.add_argument("--mix-settings", action="store_true", help="add to a dataset of other render settings")
    add_arguments(render)


def _render(arguments: argparse.Namespace) -> int:
    scenes, shard = scenes_of(arguments.scenes), _shard(arguments.shard)
    if arguments.plan and len(scenes) > 1:
        raise UsageError("--plan holds the cameras of one scene; give that scene only.")
    if arguments.plan and not arguments.plan.is_file():
        raise UsageError(f"{arguments.plan} does not exist; make it with 'blendset plan --out'.")
    config = config_of(arguments, read_plan(arguments.plan).config if arguments.plan else None)
    command = _worker(arguments.blender)
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


def _shard(text: str) -> Shard:
    try:
        return parse_shard(text) if text else WHOLE
    except BlendsetError as error:
        raise UsageError(str(error)) from error


def _worker(choice: str | None) -> WorkerCommand:
    """The command that starts workers in the chosen Blender, with the add-on that came with this program in it."""
    blender = find_blender(choice, os.environ)
    return partial(worker_command, blender, installed_profile(blender, _addon()))


def _addon() -> Path:
    path = Path(__file__).with_name("addon") / f"blendset-{__version__}.zip"
    if not path.is_file():
        raise BlendsetError(
            "The Blender add-on is missing here; in a source checkout run 'make addon', else reinstall."
        )
    return path


# --- verify -----------------------------------------------------------------------------------------------------------


def _add_verify(commands: argparse._SubParsersAction[Parser]) -> None:
    verify = command(
        commands,
        "verify",
        _verify,
        "Check every record, picture and pass of a dataset",
        "blendset verify kitchen-dataset",
    )
    verify.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")


def _verify(arguments: argparse.Namespace) -> int:
    report = Dataset(arguments.dataset).verify()
    if arguments.json:
        problems = [{"path": str(problem.path), "what": problem.what} for problem in report.problems]
        print_json({"views": report.views, "problems": problems, "debris": [str(path) for path in report.debris]})
    else:
        for problem in report.problems:
            print(f"{problem.path} {problem.what}")
        print(f"{report.views} views are sound, {len(report.problems)} problems")
    return FAILED if report.problems else DONE


# --- blender ----------------------------------------------------------------------------------------------------------


def _add_blender(commands: argparse._SubParsersAction[Parser]) -> None:
    does = "Find, install and check Blenders"
    blender = commands.add_parser("blender", help=does, description=f"{does}.", epilog="example: blendset blender list")
    inner = blender.add_subparsers(required=True, metavar="COMMAND", title="commands")
    install = command(
        inner,
        "install",
        _install,
        "Make a private Blender from the bpy package, for machines that have none",
        f"blendset blender install --version {private_blenders.NEWEST}",
    )
    install.add_argument("--version", default=private_blenders.NEWEST, help="which Blender (default %(default)s)")
    command(
        inner, "list", _list, "Show the Blenders that are here; the first that works is used", "blendset blender list"
    )
    check = command(
        inner,
        "check",
        _check,
        "Render one frame on each device of a Blender",
        "blendset blender check --blender /opt/blender/blender",
    )
    check.add_argument("--blender", metavar="PATH", help="a Blender executable, or a Python that has bpy")


def _install(arguments: argparse.Namespace) -> int:
    blender = private_blenders.install(arguments.version, os.environ)
    print_json(_described(blender)) if arguments.json else print(f"{blender} is ready")
    return DONE


def _list(arguments: argparse.Namespace) -> int:
    found = list(private_blenders.found_blenders(os.environ))
    if arguments.json:
        print_json(
            [
                {"source": source, "path": str(path)}
                | (_described(what) if isinstance(what, Blender) else {"error": str(what)})
                for source, path, what in found
            ]
        )
    elif not found:
        print("No Blender was found; install one, or run 'blendset blender install'.")
    else:
        print_table(("found by", "Blender"), [(source, str(what)) for source, _, what in found])
    return DONE


def _described(blender: Blender) -> dict[str, str]:
    return {"path": str(blender.path), "kind": blender.kind, "version": ".".join(map(str, blender.version))}


def _check(arguments: argparse.Namespace) -> int:
    blender = find_blender(arguments.blender, os.environ)
    devices = []
    for device in private_blenders.try_devices(blender, installed_profile(blender, _addon())):
        devices.append(device)
        if not arguments.json:
            how = device["error"] or f"{device['seconds']:.1f} s"
            print(f"{device['type']}  {device['name']}: {how}", flush=True)
    if arguments.json:
        print_json(_described(blender) | {"devices": devices})
    return FAILED if any(device["error"] for device in devices) else DONE


if __name__ == "__main__":
    sys.exit(main())

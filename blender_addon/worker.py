# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker: a Blender that the supervisor started, bound to one scene, taking commands on stdin and answering with
events.

It ends at once when its stdin closes, so a killed supervisor leaves no second writer.
"""

from __future__ import annotations

import argparse
import os
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from blendset.config import config_from_dict
from blendset.dataset import Dataset
from blendset.errors import BlendsetError, MemoryShortage
from blendset.jobs.messages import (
    Command,
    DeviceTried,
    Job,
    PlanScene,
    Progress,
    Quit,
    RenderViews,
    WorkerFailed,
    WorkerIdle,
    WorkerReady,
    command_from_dict,
)
from blendset.jobs.protocol import PROTOCOL_VERSION, EventWriter, read_job, watch_stdin
from blendset.placement.camera_plan import CameraPlan, read_plan

from .scene import devices
from .scene_run import SceneRun

REPORT_INTERVAL_S = 10.0
"""A long render is reported this often."""


def run_worker(arguments: argparse.Namespace) -> int:
    """Execute the supervisor's commands until it quits; a failure is an event with its kind, then the end. Returns the
    exit code."""
    events = EventWriter(arguments.events)
    commands = watch_stdin()
    events.emit(WorkerReady(protocol=PROTOCOL_VERSION, blender=bpy.app.version_string, pid=os.getpid()))
    try:
        job = read_job(arguments.job)
        with _open_scene_run(job, events) as run, _report_long_renders(events):
            plan = _read_requested_plan(job, run)
            while not isinstance(command := command_from_dict(commands.get()), Quit):
                plan = _execute(command, run, plan)
                events.emit(WorkerIdle())
    except Exception as error:  # noqa: BLE001 - the supervisor hears of everything
        events.emit(_describe_failure(error))
        return 1
    return 0


def _open_scene_run(job: Job, events: EventWriter) -> SceneRun:
    config = config_from_dict(job.config)
    path = Path(job.scene_path)
    events.emit(Progress(what="opening", done=0, total=1, text=path.name))
    open_file(Path(job.opened_path))
    return SceneRun(path, Dataset(Path(job.dataset)), config, events.emit, job.sha256, (job.slot, job.slots))


@contextmanager
def _report_long_renders(events: EventWriter) -> Iterator[None]:
    """Report now and then that a long render goes on, or the supervisor takes this process for dead."""
    last = time.monotonic()

    def report(*_: object) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_INTERVAL_S:
            last = time.monotonic()
            events.emit(Progress(what="rendering", done=0, total=0))

    bpy.app.handlers.render_stats.append(report)
    try:
        yield
    finally:
        bpy.app.handlers.render_stats.remove(report)


def open_file(path: Path) -> None:
    """Open a .blend without running its scripts; raises BlendsetError for what is none, is damaged, or is newer than
    this Blender."""
    if not path.is_file():
        raise BlendsetError(f"{path} does not exist; check the path.")
    with path.open("rb") as file:
        start = file.read(7)
    if start[:7] != b"BLENDER" and start[:4] != b"\x28\xb5\x2f\xfd" and start[:2] != b"\x1f\x8b":
        raise BlendsetError(f"{path} is not a .blend file; give a scene saved by Blender.")
    try:
        result = bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False, use_scripts=False)
    except RuntimeError as error:
        raise BlendsetError(
            f"{path} cannot be opened ({_clean_message(error)}); {_suggest_remedy(str(error))}"
        ) from error
    if "FINISHED" not in result or not bpy.data.filepath:
        raise BlendsetError(
            f"{path} cannot be opened; it may be damaged: open and save it in the Blender that made it."
        )
    version: tuple[int, ...] = tuple(bpy.data.version)  # type: ignore[arg-type]
    if version[:2] > bpy.app.version[:2]:
        saved, running = ".".join(map(str, version[:2])), ".".join(map(str, bpy.app.version[:2]))
        raise BlendsetError(
            f"{path} was saved by Blender {saved} and this is {running}; use --blender with {saved} or newer."
        )


def _clean_message(error: RuntimeError) -> str:
    return " ".join(str(error).removeprefix("Error: ").split()).rstrip(".")


def _suggest_remedy(text: str) -> str:
    if "newer" in text.lower() or "version" in text.lower():
        return "use --blender with the version that saved it."
    return "it may be damaged: open and save it in the Blender that made it."


def _read_requested_plan(job: Job, run: SceneRun) -> CameraPlan | None:
    """The plan that a user named or that another worker made; None where this worker has to make it."""
    if job.run:
        return run.read_plan(job.run)
    if job.plan:
        plan = read_plan(Path(job.plan))
        if plan.scene != run.scene_id:
            raise BlendsetError(f"{job.plan} was made for {plan.scene}, not for {run.scene_id}; plan this scene.")
        return plan
    return None


def _execute(command: Command, run: SceneRun, plan: CameraPlan | None) -> CameraPlan | None:
    if isinstance(command, PlanScene):
        return run.plan(command.previews) if plan is None else run.adopt(plan)
    if isinstance(command, RenderViews) and plan is not None:
        run.render(plan, command.views)
        return plan
    raise RuntimeError(f"unknown command {command.word!r}")


def _describe_failure(error: Exception) -> WorkerFailed:
    """An error as an event: what a user can mend is one sentence, a bug keeps its traceback."""
    if isinstance(error, MemoryError):
        error = MemoryShortage("The machine ran out of memory; use --workers 1 or a smaller scene.")
    if isinstance(error, BlendsetError):
        return WorkerFailed(kind=error.kind, message=str(error))
    message = f"{type(error).__name__}: {error}"
    return WorkerFailed(kind="bug", message=message, traceback=traceback.format_exc())


# ---- check -----------------------------------------------------------------------------------------------------------


def check_devices(arguments: argparse.Namespace) -> int:
    """Render one small frame on every device and report how it went; returns the exit code."""
    events = EventWriter(arguments.events)
    bpy.ops.wm.read_factory_settings(use_empty=False)
    for device in devices.list_devices():
        started = time.perf_counter()
        error = _try_device(device)
        seconds = time.perf_counter() - started
        events.emit(DeviceTried(type=device.kind, name=device.name, seconds=seconds, error=error))
    events.emit(WorkerIdle())
    return 0


def _try_device(device: devices.Device) -> str | None:
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.cycles.samples, scene.cycles.use_denoising = 4, False
    try:
        scene.cycles.device = devices.enable_devices([device])
        bpy.ops.render.render()
    except (RuntimeError, BlendsetError) as error:
        return " ".join(str(error).split())
    return None

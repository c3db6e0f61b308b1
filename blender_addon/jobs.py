# SPDX-License-Identifier: GPL-3.0-or-later
"""The one render job of this Blender: a child Blender at work on a copy of the saved file, pumped by a timer."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from blendset.config import Config
from blendset.dataset import RGB, VIEW_RECORD, Dataset
from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset.jobs.blenders import Blender, worker_command
from blendset.jobs.scenes import SceneSummary
from blendset.jobs.supervisor import Supervisor, Update
from blendset.placement.camera_plan import previewed_run, read_plan, write_plan

from .planning import WindowPlan
from .preferences import on_this_machine
from .properties import to_config
from .render.scene_records import scene_id

PUMP_S = 0.25


class RenderJob:
    """A supervisor with what the window wants to show of it."""

    def __init__(self, source: Path, root: Path, plan_path: Path, config: Config) -> None:
        self.root, self.said, self.picture, self.disk = root, "starting Blender", "", ""
        self._config = config
        self._first: tuple[float, int] | None = None
        self._view_s = 0.0
        self._sizes: list[int] = []
        self._folder = tempfile.TemporaryDirectory(prefix="blendset-window-", ignore_cleanup_errors=True)
        copy = Path(self._folder.name) / source.name
        saved(bpy.ops.wm.save_as_mainfile, filepath=str(copy), copy=True, relative_remap=True)
        spare = max(1, (os.cpu_count() or 2) - 1)  # the window keeps a core, so that it stays alive
        command = partial(worker_command, this_blender(), None, threads=spare)
        self.supervisor = Supervisor([source], root, config, command, plan=plan_path, copies={source.absolute(): copy})

    @property
    def share(self) -> float:
        """How much of it is done, 0 to 1."""
        return self.supervisor.done / max(self.supervisor.total, 1)

    @property
    def time_left(self) -> str:
        """What to add about the rest: by the pace since the first view, before that by what the previews took."""
        done = self.supervisor.done - self._first[1] if self._first else 0
        pace = (time.monotonic() - self._first[0]) / done if self._first and done else self._view_s
        seconds = pace * (self.supervisor.total - self.supervisor.done)
        if not seconds:
            return ""
        return f", {seconds / 60:.0f} min left" if seconds > 90 else f", {seconds:.0f} s left"

    @property
    def ended(self) -> SceneSummary | None:
        """How it went, once it has."""
        return self.supervisor.summary().scenes[0] if self.supervisor.finished else None

    def step(self) -> None:
        """Listen to the child."""
        for update in self.supervisor.step():
            self._hear(update)

    def _hear(self, update: Update) -> None:
        self.said = update.event.get("view") or update.text
        if update.kind == "planned":
            self._view_s = update.event["previews_s"] / max(update.event["previews"], 1) * self._effort
            self.disk = self._disk_needed(update.event["bytes"])
        if update.kind == "view":
            self._first = self._first or (time.monotonic(), self.supervisor.done)
            folder = self.root / update.event["path"]
            self.picture = str(folder / RGB)
            self._sizes.append(sum(each.stat().st_size for each in folder.iterdir()))
            self.disk = self._disk_needed(sum(self._sizes) / len(self._sizes) * self.supervisor.total)

    def _disk_needed(self, size: float) -> str:
        """That all views will take so many bytes on the disk, with a warning where those are not free; none is known
        where no preview was made."""
        if not size:
            return ""
        rest = size * (1 - self.share)
        text = f"{size / 1e6:,.1f} MB on disk"
        return text if rest < shutil.disk_usage(self.root).free else f"{text}, more than is free"

    @property
    def _effort(self) -> float:
        """How many previews a view takes: by pixels and samples."""
        view, preview = self._config.render, self._config.preview
        return (view.resolution / preview.resolution) ** 2 * view.samples / preview.samples

    def close(self) -> None:
        """End the child and tidy up."""
        self.supervisor.close()
        self._folder.cleanup()


def saved(operator: Callable[..., Any], **how: Any) -> None:
    """Have Blender write the open file; raises BlendsetError where it cannot."""
    try:
        operator(**how)
    except RuntimeError as error:
        reason = " ".join(str(error).removeprefix("Error: ").split()).rstrip(".")
        raise BlendsetError(
            f"The file cannot be saved ({reason}); free space, or save it under another name."
        ) from error


def this_blender() -> Blender:
    """The Blender that this is, to be started once more."""
    version = (bpy.app.version[0], bpy.app.version[1], bpy.app.version[2])
    if bpy.app.binary_path:
        return Blender(Path(bpy.app.binary_path), "executable", version)
    return Blender(Path(sys.executable), "module", version)


def has_changes() -> bool:
    """Whether the window holds what the file does not; without a window only Blender 5.2 can tell."""
    return bpy.data.is_dirty and not bpy.app.background


def saved_source() -> Path:
    """The open file; raises BlendsetError where there is none."""
    if not bpy.data.filepath:
        raise BlendsetError("This scene has no file yet; save it first.")
    return Path(bpy.data.filepath)


def start(scene: bpy.types.Scene, plan: WindowPlan, root: Path) -> RenderJob:
    """Write the plan into the dataset, where a later session finds it, and have a child render it."""
    now = to_config(scene)
    if now.render.resolution != plan.config.render.resolution:
        raise BlendsetError("The resolution was changed after planning; plan again.")
    plan.config = replace(plan.config, render=now.render, preview=now.preview, jobs=now.jobs, dataset=now.dataset)
    config = on_this_machine(plan.config)
    source = saved_source()
    name = scene_id(source.stem, scene, sha256_file(source))
    plan_file = plan.plan_file(name)
    plan_file = replace(plan_file, run=f"{plan_file.run}-window")
    dataset = Dataset.for_run(root, config, [source])
    path = dataset.plan_path(plan_file.run)
    write_plan(path, plan_file)
    return launch(source, root, path, config)


def resume(plan_path: Path) -> RenderJob:
    """Go on with a plan that an earlier session began."""
    if has_changes():
        raise BlendsetError("The file has unsaved changes; revert it to go on with the job, or render anew.")
    config = on_this_machine(read_plan(plan_path).config)
    return launch(saved_source(), plan_path.parents[1], plan_path, config)


def unfinished(scene: bpy.types.Scene, source: Path, root: Path) -> Path | None:
    """The last plan that a window began for this very file and that still lacks views; None where there is none."""
    plans = root / "plans"
    if not (root / "dataset.json").is_file() or not any(plans.glob("*-window.json")):
        return None
    own = scene_id(source.stem, scene, sha256_file(source))
    begun = max(plans.glob(f"{own}-*-window.json"), key=lambda path: path.stat().st_mtime, default=None)
    if begun is None:
        return None
    dataset, plan = Dataset(root), read_plan(begun)
    previewed = dataset.plan_path(previewed_run(plan))
    views = (read_plan(previewed) if previewed.exists() else plan).views
    there = all((dataset.view_folder(plan.scene, view.view_id) / VIEW_RECORD).exists() for view in views)
    return None if there else begun


def launch(source: Path, root: Path, plan_path: Path, config: Config) -> RenderJob:
    """Start the job, as the only one."""
    global _job
    if _job is not None and not _job.supervisor.finished:
        raise BlendsetError("A render job is running; cancel it, or wait.")
    _save_preferences()
    _job = RenderJob(source, root, plan_path, config)
    bpy.app.timers.register(_pump, first_interval=PUMP_S, persistent=True)
    return _job


def _save_preferences() -> None:
    """The child reads them: unsaved, it would not know that this add-on is enabled."""
    if bpy.context.preferences.is_dirty and not bpy.app.background:
        if not bpy.context.preferences.use_preferences_save:
            raise BlendsetError("Another Blender would not know Blendset yet; save the preferences first.")
        bpy.ops.wm.save_userpref()


_job: RenderJob | None = None
listeners: list[Callable[[RenderJob], None]] = []
"""Told of the job whenever it has been pumped."""


def current() -> RenderJob | None:
    """The job that runs, or the last one of this session."""
    return _job


def _pump() -> float | None:
    """Called by Blender's timer until the job is over."""
    if _job is None:
        return None
    try:
        _job.step()
    except Exception as error:  # noqa: BLE001 - a timer that raises is gone, and the job would never end
        _job.supervisor.give_up(str(error))
    if _job.supervisor.finished:
        _job.close()
    for tell in listeners:
        tell(_job)
    return None if _job.supervisor.finished else PUMP_S


def unregister() -> None:
    """End the job with the add-on."""
    global _job
    if bpy.app.timers.is_registered(_pump):
        bpy.app.timers.unregister(_pump)
    if _job is not None:
        _job.close()
        _job = None

# SPDX-License-Identifier: GPL-3.0-or-later
"""A render job of the window: a child Blender at work on a copy of the saved file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bpy

from blendset.config import Config
from blendset.dataset import RGB, VIEW_RECORD, Dataset
from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset.jobs.blenders import Blender, make_worker_command
from blendset.jobs.estimates import estimate_view_seconds, format_seconds, format_size
from blendset.jobs.messages import ScenePlanned, ViewRendered
from blendset.jobs.scenes import SceneSummary
from blendset.jobs.supervisor import Supervisor, Update
from blendset.placement.camera_plan import name_previewed_run, read_plan

from .scene.records import name_scene


class RenderJob:
    """A supervisor with what the window shows of it: `message` of the child, the last `picture`, the `disk` it needs.

    The open file is saved as a copy for the child, so that the window can go on with its own.
    """

    def __init__(self, source: Path, root: Path, plan_path: Path, config: Config) -> None:
        self.root, self.message, self.picture, self.disk = root, "starting Blender", "", ""
        self._config = config
        self._first: tuple[float, int] | None = None
        self._view_s = 0.0
        self._sizes: list[int] = []
        self._folder = tempfile.TemporaryDirectory(prefix="blendset-window-", ignore_cleanup_errors=True)
        copy = Path(self._folder.name) / source.name
        save_file(bpy.ops.wm.save_as_mainfile, filepath=str(copy), copy=True, relative_remap=True)
        spare = max(1, (os.cpu_count() or 2) - 1)  # the window keeps a core, so that it stays alive
        command = partial(make_worker_command, find_this_blender(), None, threads=spare)
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
        return f", {format_seconds(seconds)} left" if seconds else ""

    @property
    def ended(self) -> SceneSummary | None:
        """How it went, once it has."""
        return self.supervisor.summarize().scenes[0] if self.supervisor.finished else None

    def step(self) -> None:
        """Take in what the child has reported since the last step."""
        for update in self.supervisor.step():
            self._receive(update)

    def _receive(self, update: Update) -> None:
        event = update.event
        self.message = event.view if isinstance(event, ViewRendered) else update.text
        if isinstance(event, ScenePlanned):
            self._view_s = estimate_view_seconds(event, self._config)
            self.disk = self._format_disk(event.bytes)
        if isinstance(event, ViewRendered):
            self._first = self._first or (time.monotonic(), self.supervisor.done)
            folder = self.root / event.path
            self.picture = str(folder / RGB)
            self._sizes.append(sum(file.stat().st_size for file in folder.iterdir()))
            self.disk = self._format_disk(sum(self._sizes) / len(self._sizes) * self.supervisor.total)

    def _format_disk(self, size: float) -> str:
        """That all views will take so many bytes on the disk, with a warning where those are not free; none is known
        where no preview was made."""
        if not size:
            return ""
        rest = size * (1 - self.share)
        text = f"{format_size(size)} on disk"
        return text if rest < shutil.disk_usage(self.root).free else f"{text}, more than is free"

    def close(self) -> None:
        """End the child and tidy up."""
        self.supervisor.close()
        self._folder.cleanup()


def save_file(operator: Callable[..., Any], **options: Any) -> None:
    """Have Blender write the open file; raises BlendsetError where it cannot."""
    try:
        operator(**options)
    except RuntimeError as error:
        reason = " ".join(str(error).removeprefix("Error: ").split()).rstrip(".")
        raise BlendsetError(
            f"The file cannot be saved ({reason}); free space, or save it under another name."
        ) from error


def find_this_blender() -> Blender:
    """The Blender that this is, to be started once more."""
    version = (bpy.app.version[0], bpy.app.version[1], bpy.app.version[2])
    if bpy.app.binary_path:
        return Blender(Path(bpy.app.binary_path), "executable", version)
    return Blender(Path(sys.executable), "module", version)


def get_source() -> Path:
    """The open file; raises BlendsetError where there is none."""
    if not bpy.data.filepath:
        raise BlendsetError("This scene has no file yet; save it first.")
    return Path(bpy.data.filepath)


def find_unfinished_plan(scene: bpy.types.Scene, source: Path, root: Path) -> Path | None:
    """The last plan that a window began for this very file and that still lacks views; None where there is none."""
    plans = root / "plans"
    if not (root / "dataset.json").is_file() or not any(plans.glob("*-window.json")):
        return None
    name = name_scene(source.stem, scene, sha256_file(source))
    last = max(plans.glob(f"{name}-*-window.json"), key=lambda path: path.stat().st_mtime, default=None)
    if last is None:
        return None
    dataset, plan = Dataset(root), read_plan(last)
    previewed = dataset.plan_path(name_previewed_run(plan))
    views = (read_plan(previewed) if previewed.exists() else plan).views
    complete = all((dataset.view_folder(plan.scene, view.view_id) / VIEW_RECORD).exists() for view in views)
    return None if complete else last

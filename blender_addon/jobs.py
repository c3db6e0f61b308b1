# SPDX-License-Identifier: GPL-3.0-or-later
"""The one render job of this Blender: started or resumed by a button, pumped by Blender's timer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import bpy

from blendset.config import Config
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset.placement.camera_plan import read_plan, write_plan

from . import rows, state
from .compat import has_unsaved_changes
from .planning.window_plan import WindowPlan
from .preferences import apply_preferences
from .properties import to_config
from .render_job import RenderJob, get_source
from .scene.records import name_scene

PUMP_S = 0.25


def start(scene: bpy.types.Scene, plan: WindowPlan, root: Path) -> RenderJob:
    """Write the plan into the dataset, where a later session finds it, and have a child render it."""
    now = to_config(scene)
    if now.render.resolution != plan.config.render.resolution:
        raise BlendsetError("The resolution was changed after planning; plan again.")
    plan.config = replace(plan.config, render=now.render, preview=now.preview, jobs=now.jobs, dataset=now.dataset)
    config = apply_preferences(plan.config)
    source = get_source()
    camera_plan = plan.to_camera_plan(name_scene(source.stem, scene, sha256_file(source)))
    camera_plan = replace(camera_plan, run=f"{camera_plan.run}-window")
    dataset = Dataset.open_for_run(root, config, [source])
    path = dataset.plan_path(camera_plan.run)
    write_plan(path, camera_plan)
    return _launch(source, root, path, config)


def resume(plan_path: Path) -> RenderJob:
    """Go on with a plan that an earlier session began."""
    if has_unsaved_changes():
        raise BlendsetError("The file has unsaved changes; revert it to go on with the job, or render anew.")
    config = apply_preferences(read_plan(plan_path).config)
    return _launch(get_source(), plan_path.parents[1], plan_path, config)


def _launch(source: Path, root: Path, plan_path: Path, config: Config) -> RenderJob:
    """Start the job, as the only one."""
    if is_running(state.get_job()):
        raise BlendsetError("A render job is running; cancel it, or wait.")
    _save_preferences()
    job = RenderJob(source, root, plan_path, config)
    state.set_job(job)
    bpy.app.timers.register(pump, first_interval=PUMP_S, persistent=True)
    return job


def is_running(job: RenderJob | None) -> bool:
    """Whether a job is under way."""
    return job is not None and not job.supervisor.finished


def _save_preferences() -> None:
    """The child reads them: unsaved, it would not know that this add-on is enabled."""
    if bpy.context.preferences.is_dirty and not bpy.app.background:
        if not bpy.context.preferences.use_preferences_save:
            raise BlendsetError("Another Blender would not know Blendset yet; save the preferences first.")
        bpy.ops.wm.save_userpref()


def pump() -> float | None:
    """Called by Blender's timer until the job is over; the seconds until the next call, None at the end."""
    job = state.get_job()
    if job is None:
        return None
    try:
        job.step()
    except Exception as error:  # noqa: BLE001 - a timer that raises is gone, and the job would never end
        job.supervisor.abort(str(error))
    if job.supervisor.finished:
        job.close()
    rows.show_job(job)
    return None if job.supervisor.finished else PUMP_S


def unregister() -> None:
    """End the job with the add-on."""
    if bpy.app.timers.is_registered(pump):
        bpy.app.timers.unregister(pump)
    if (job := state.get_job()) is not None:
        job.close()
    state.set_job(None)

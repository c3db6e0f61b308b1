# SPDX-License-Identifier: GPL-3.0-or-later
"""The render job's buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from blendset.errors import BlendsetError

from .. import jobs, planning
from ..properties import dataset_folder
from ..ui import rows


class BLENDSET_OT_render(bpy.types.Operator):
    """Render the planned views in another Blender; this window stays free, and finished views are kept"""

    bl_idname = "blendset.render"
    bl_label = "Render Dataset"
    bl_options = {"REGISTER"}

    save: bpy.props.BoolProperty(name="Save", description="Save the file first, where it has unsaved changes")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = jobs.current()
        if job is not None and not job.supervisor.finished:
            cls.poll_message_set("A job is running; pause or cancel it below")
            return False
        if planning.plan_of(context.scene) is None:
            cls.poll_message_set("There is no plan yet; plan cameras first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        if jobs.has_changes() and bpy.data.filepath:
            self.save = True
            return context.window_manager.invoke_confirm(
                self,
                event,
                title="Save and Render",
                message="The file has unsaved changes.",
                confirm_text="Save and Render",
            )
        return self.execute(context)

    def execute(self, context: bpy.types.Context) -> set[Any]:
        plan = planning.plan_of(context.scene)
        assert plan is not None
        try:
            root = dataset_folder(context.scene)
            if jobs.has_changes():
                _save(self.save)
            jobs.start(context.scene, plan, root)
        except BlendsetError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def _save(wanted: bool) -> None:
    if not (wanted and bpy.data.filepath):
        raise BlendsetError(
            "The file has unsaved changes; save it first: a dataset knows its scenes by the saved file."
        )
    jobs.saved(bpy.ops.wm.save_mainfile)


class BLENDSET_OT_resume(bpy.types.Operator):
    """Go on with the job that was interrupted; finished views are kept"""

    bl_idname = "blendset.resume"
    bl_label = "Resume"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = jobs.current()
        if job is not None and not job.supervisor.finished:
            cls.poll_message_set("A job is running; pause or cancel it below")
            return False
        if not rows.window(context).unfinished:
            cls.poll_message_set("No job of this file is unfinished")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[Any]:
        try:
            jobs.resume(Path(rows.window(context).unfinished))
        except BlendsetError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class _OfJob:
    """For operators that need a running job."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        job = jobs.current()
        if job is None or job.supervisor.finished:
            cls.poll_message_set("No job is running")
            return False
        return True


class BLENDSET_OT_job_pause(_OfJob, bpy.types.Operator):
    """Let the child finish the views that it has begun and wait; once more goes on"""

    bl_idname = "blendset.job_pause"
    bl_label = "Pause / Go On"

    def execute(self, context: bpy.types.Context) -> set[Any]:
        job = jobs.current()
        assert job is not None
        job.supervisor.resume() if job.supervisor.paused else job.supervisor.pause()
        return {"FINISHED"}


class BLENDSET_OT_job_cancel(_OfJob, bpy.types.Operator):
    """End the job now; finished views stay, and Render goes on from there"""

    bl_idname = "blendset.job_cancel"
    bl_label = "Cancel"

    def execute(self, context: bpy.types.Context) -> set[Any]:
        job = jobs.current()
        assert job is not None
        job.supervisor.cancel()
        return {"FINISHED"}


CLASSES = (BLENDSET_OT_render, BLENDSET_OT_resume, BLENDSET_OT_job_pause, BLENDSET_OT_job_cancel)

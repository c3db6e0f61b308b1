# SPDX-License-Identifier: GPL-3.0-or-later
"""The render job's buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from blendset.errors import BlendsetError
from blendset.jobs.supervisor import Supervisor

from .. import jobs
from ..properties import dataset_folder
from ..ui import rows
from .button import Button, PlanButton, job_missing


class BLENDSET_OT_render(PlanButton, bpy.types.Operator):
    """Render the planned views in another Blender; this window stays free, and finished views are kept"""

    bl_idname = "blendset.render"
    bl_label = "Render Dataset"
    bl_options = {"REGISTER"}

    save: bpy.props.BoolProperty(name="Save", description="Save the file first, where it has unsaved changes")

    @classmethod
    def missing(cls, context: bpy.types.Context) -> str:
        return job_missing(running=False) or super().missing(context)

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

    def act(self, context: bpy.types.Context) -> None:
        root = dataset_folder(context.scene)
        if jobs.has_changes():
            _save(self.save)
        jobs.start(context.scene, self.plan(context), root)


def _save(wanted: bool) -> None:
    if not (wanted and bpy.data.filepath):
        raise BlendsetError(
            "The file has unsaved changes; save it first: a dataset knows its scenes by the saved file."
        )
    jobs.saved(bpy.ops.wm.save_mainfile)


class BLENDSET_OT_resume(Button, bpy.types.Operator):
    """Go on with the job that was interrupted; finished views are kept"""

    bl_idname = "blendset.resume"
    bl_label = "Resume"
    bl_options = {"REGISTER"}

    @classmethod
    def missing(cls, context: bpy.types.Context) -> str:
        unfinished = rows.window(context).unfinished
        return job_missing(running=False) or ("" if unfinished else "No job of this file is unfinished")

    def act(self, context: bpy.types.Context) -> None:
        jobs.resume(Path(rows.window(context).unfinished))


class _JobButton(Button):
    """For operators on the running job."""

    @classmethod
    def missing(cls, context: bpy.types.Context) -> str:
        return job_missing(running=True)

    @staticmethod
    def supervisor() -> Supervisor:
        """That of the job, which `missing` has seen to run."""
        job = jobs.current()
        assert job is not None
        return job.supervisor


class BLENDSET_OT_job_pause(_JobButton, bpy.types.Operator):
    """Let the child finish the views that it has begun and wait; once more goes on"""

    bl_idname = "blendset.job_pause"
    bl_label = "Pause / Go On"

    def act(self, context: bpy.types.Context) -> None:
        supervisor = self.supervisor()
        supervisor.resume() if supervisor.paused else supervisor.pause()


class BLENDSET_OT_job_cancel(_JobButton, bpy.types.Operator):
    """End the job now; finished views stay, and Render goes on from there"""

    bl_idname = "blendset.job_cancel"
    bl_label = "Cancel"

    def act(self, context: bpy.types.Context) -> None:
        self.supervisor().cancel()


CLASSES = (BLENDSET_OT_render, BLENDSET_OT_resume, BLENDSET_OT_job_pause, BLENDSET_OT_job_cancel)

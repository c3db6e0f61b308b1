# SPDX-License-Identifier: GPL-3.0-or-later
"""The render job's buttons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from blendset.errors import BlendsetError
from blendset.jobs.supervisor import Supervisor

from .. import jobs, state
from ..compat import has_unsaved_changes
from ..properties import get_dataset_folder
from ..render_job import save_file
from .button import Button, PlanButton, explain_missing_job


class BLENDSET_OT_render(PlanButton, bpy.types.Operator):
    """Render the planned views in another Blender; this window stays free, and finished views are kept"""

    bl_idname = "blendset.render"
    bl_label = "Render Dataset"
    bl_options = {"REGISTER"}

    save: bpy.props.BoolProperty(name="Save", description="Save the file first, where it has unsaved changes")

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        return explain_missing_job(running=False) or super().explain_missing(context)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        if has_unsaved_changes() and bpy.data.filepath:
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
        root = get_dataset_folder(context.scene)
        if has_unsaved_changes():
            _save_changes(self.save)
        jobs.start(context.scene, self.get_plan(context), root)


def _save_changes(allowed: bool) -> None:
    if not (allowed and bpy.data.filepath):
        raise BlendsetError(
            "The file has unsaved changes; save it first: a dataset knows its scenes by the saved file."
        )
    save_file(bpy.ops.wm.save_mainfile)


class BLENDSET_OT_resume(Button, bpy.types.Operator):
    """Go on with the job that was interrupted; finished views are kept"""

    bl_idname = "blendset.resume"
    bl_label = "Resume"
    bl_options = {"REGISTER"}

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        unfinished = state.get_lists(context).unfinished
        return explain_missing_job(running=False) or ("" if unfinished else "No job of this file is unfinished")

    def act(self, context: bpy.types.Context) -> None:
        jobs.resume(Path(state.get_lists(context).unfinished))


class _JobButton(Button):
    """For operators on the running job."""

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        return explain_missing_job(running=True)

    @staticmethod
    def get_supervisor() -> Supervisor:
        """That of the job; Blender has called `poll` before, so there is one."""
        job = state.get_job()
        assert job is not None
        return job.supervisor


class BLENDSET_OT_job_pause(_JobButton, bpy.types.Operator):
    """Let the child finish the views that it has begun and wait; once more goes on"""

    bl_idname = "blendset.job_pause"
    bl_label = "Pause / Go On"

    def act(self, context: bpy.types.Context) -> None:
        supervisor = self.get_supervisor()
        supervisor.resume() if supervisor.paused else supervisor.pause()


class BLENDSET_OT_job_cancel(_JobButton, bpy.types.Operator):
    """End the job now; finished views stay, and Render goes on from there"""

    bl_idname = "blendset.job_cancel"
    bl_label = "Cancel"

    def act(self, context: bpy.types.Context) -> None:
        self.get_supervisor().cancel()


CLASSES = (BLENDSET_OT_render, BLENDSET_OT_resume, BLENDSET_OT_job_pause, BLENDSET_OT_job_cancel)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Planning in the window: a stepper pumped by a timer, so that the window stays alive and Esc ends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import bpy

from blendset.errors import BlendsetError
from blendset.placement.planner import Step

from .. import rows, state
from ..planning.window_plan import WindowPlan, plan_window
from ..properties import to_config

SLICE_S = 0.05
"""How long to work before the window gets its turn."""


class BLENDSET_OT_plan(bpy.types.Operator):
    """Place cameras around every subject and choose the best; nothing is rendered (Esc cancels)"""

    bl_idname = "blendset.plan"
    bl_label = "Plan Cameras"
    bl_options = {"REGISTER"}

    _steps: Iterator[Step | WindowPlan]
    _timer: bpy.types.Timer | None = None

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if state.get_lists(context).doing:
            cls.poll_message_set("Planning is under way; press Esc in the viewport to cancel it")
            return False
        if bpy.app.is_job_running("RENDER"):
            cls.poll_message_set("Blender is rendering; wait for it")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[Any]:
        try:
            self._steps = plan_window(context.scene, to_config(context.scene))
            while not self._advance(context):
                pass
        except BlendsetError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        if bpy.app.background:
            return self.execute(context)
        try:
            self._steps = plan_window(context.scene, to_config(context.scene))
        except BlendsetError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        manager = context.window_manager
        self._timer = manager.event_timer_add(0.01, window=context.window)
        manager.modal_handler_add(self)
        state.get_lists(context).doing = "reading the scene"
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        if event.type == "ESC":
            self._end_modal(context)
            self.report({"INFO"}, "Planning cancelled; the plan before it is kept")
            return {"CANCELLED"}
        if event.type != "TIMER":
            return {"PASS_THROUGH"}
        until = time.perf_counter() + SLICE_S
        try:
            while time.perf_counter() < until:
                if self._advance(context):
                    self._end_modal(context)
                    return {"FINISHED"}
        except Exception as error:
            self._end_modal(context)
            if not isinstance(error, BlendsetError):
                raise
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        """The window is closed, or another file opened."""
        self._end_modal(context)

    def _advance(self, context: bpy.types.Context) -> bool:
        """One step; True at the end."""
        step = next(self._steps)
        lists = state.get_lists(context)
        if isinstance(step, Step):
            if lists.doing and (lists.doing, lists.done) != (step.what, step.done):
                lists.doing, lists.done, lists.progress = step.what, step.done, step.done / step.total
                state.redraw_viewports()
            return False
        state.set_plan(step)
        rows.write_lists(context, step)
        for note in step.notes:
            self.report({"WARNING"}, note)
        views = len(step.views)
        self.report({"INFO"} if views else {"WARNING"}, f"{views} views planned of {len(step.count_views())} subjects")
        return True

    def _end_modal(self, context: bpy.types.Context) -> None:
        if self._timer is not None:
            context.window_manager.event_timer_remove(self._timer)
        state.get_lists(context).doing = ""
        state.redraw_viewports()


CLASSES = (BLENDSET_OT_plan,)

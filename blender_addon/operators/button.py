# SPDX-License-Identifier: GPL-3.0-or-later
"""What all buttons have in common: a grey one explains why, and an error is one sentence and no traceback."""

from __future__ import annotations

from typing import Any

import bpy

from blendset.errors import BlendsetError

from .. import jobs, state
from ..planning.window_plan import WindowPlan


class Button:
    """For operators: `explain_missing` is why it cannot be pressed, `act` does it and may raise BlendsetError."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        why = cls.explain_missing(context)
        if why:
            cls.poll_message_set(why)
        return not why

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        """What is not there yet; empty where the button can be pressed."""
        return ""

    def execute(self, context: bpy.types.Context) -> set[Any]:
        try:
            self.act(context)
        except BlendsetError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}

    def act(self, context: bpy.types.Context) -> None:
        """What the button does."""
        raise NotImplementedError


class PlanButton(Button):
    """For operators on the plan of the scene."""

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        return "" if state.get_plan(context.scene) else "There is no plan yet; plan cameras first"

    @staticmethod
    def get_plan(context: bpy.types.Context) -> WindowPlan:
        """The plan; Blender has called `poll` before, so there is one."""
        plan = state.get_plan(context.scene)
        assert plan is not None
        return plan


def explain_missing_job(running: bool) -> str:
    """Why a button for a running job, or for starting one, cannot be pressed; empty where it can."""
    if jobs.is_running(state.get_job()) == running:
        return ""
    return "No job is running" if running else "A job is running; pause or cancel it below"

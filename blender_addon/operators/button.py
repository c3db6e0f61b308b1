# SPDX-License-Identifier: GPL-3.0-or-later
"""What all buttons have in common: they say why they are grey, and an error is one sentence and no traceback."""

from __future__ import annotations

from typing import Any

import bpy

from blendset.errors import BlendsetError

from .. import jobs, planning
from ..ui import rows


class Button:
    """For operators: `missing` says why it cannot be pressed, `act` does it and may raise BlendsetError."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        why = cls.missing(context)
        if why:
            cls.poll_message_set(why)
        return not why

    @classmethod
    def missing(cls, context: bpy.types.Context) -> str:
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
    def missing(cls, context: bpy.types.Context) -> str:
        return "" if planning.plan_of(context.scene) else "There is no plan yet; plan cameras first"

    @staticmethod
    def plan(context: bpy.types.Context) -> planning.WindowPlan:
        """The plan, which `missing` has seen to be there."""
        plan = planning.plan_of(context.scene)
        assert plan is not None
        return plan


def job_missing(running: bool) -> str:
    """Why a button for a running job, or for starting one, cannot be pressed; empty where it can."""
    job = jobs.current()
    if (job is not None and not job.supervisor.finished) == running:
        return ""
    return "No job is running" if running else "A job is running; pause or cancel it below"


def selected(context: bpy.types.Context, kind: str) -> Any:
    """The row that is selected in the list of this kind ("subject", "view", "reason"); None in an empty list."""
    shown = rows.window(context)
    listed, place = getattr(shown, f"{kind}s"), getattr(shown, kind)
    return listed[place] if place < len(listed) else None

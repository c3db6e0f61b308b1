# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does with planned views: look through them, turn them down, add their own."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from mathutils import Matrix

from blendset.cameras import SENSOR_MM, Camera, pose

from .. import planning
from ..scene.cameras import own_cameras
from ..ui import rows

VIEWPORT_SENSOR_MM = 72.0
"""A 3D viewport sees through its lens as a camera with so wide a sensor would."""


def _row(context: bpy.types.Context) -> Any:
    """The view that is selected in the list, or None."""
    shown = rows.window(context)
    return shown.views[shown.view] if shown.view < len(shown.views) else None


class _OfView:
    """For operators that need a selected view."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if planning.plan_of(context.scene) is None or _row(context) is None:
            cls.poll_message_set("There is no view yet; plan cameras first")
            return False
        return True


class BLENDSET_OT_view_look_through(_OfView, bpy.types.Operator):
    """Turn the viewport to what this view's camera sees"""

    bl_idname = "blendset.view_look_through"
    bl_label = "Look Through"
    bl_options = {"REGISTER"}

    step: bpy.props.IntProperty(default=0, options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[Any]:
        plan, shown = planning.plan_of(context.scene), rows.window(context)
        assert plan is not None
        shown.view = (shown.view + self.step) % len(shown.views)
        camera = plan.verdict(shown.views[shown.view].number).candidate.camera
        space = context.space_data if context.space_data and context.space_data.type == "VIEW_3D" else None
        if space is None:
            self.report({"WARNING"}, "There is no 3D viewport here to look through")
            return {"CANCELLED"}
        region = next(each for each in context.area.regions if each.type == "WINDOW")
        distance = 0.1 * plan.opened.snapshot.diagonal
        space.region_3d.view_perspective = "PERSP"
        space.lens = camera.focal_length_mm * VIEWPORT_SENSOR_MM / SENSOR_MM / _elongation(region)
        space.region_3d.view_distance = distance
        space.region_3d.view_rotation = Matrix(camera.rotation.tolist()).to_quaternion()
        space.region_3d.view_location = (camera.position - distance * camera.rotation[:, 2]).tolist()
        return {"FINISHED"}


class BLENDSET_OT_view_turn_down(_OfView, bpy.types.Operator):
    """Turn this view down: the next best takes its place. Once more takes it back"""

    bl_idname = "blendset.view_turn_down"
    bl_label = "Reject / Keep"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[Any]:
        plan, row = planning.plan_of(context.scene), _row(context)
        assert plan is not None
        number = row.number
        if number < 0:
            del plan.added[-1 - number]
        elif number in plan.turned_down:
            plan.turned_down.discard(number)
        else:
            plan.kept.discard(number)
            plan.turned_down.add(number)
        plan.choose()
        rows.refresh(context, plan)
        return {"FINISHED"}


class BLENDSET_OT_view_keep_rejected(bpy.types.Operator):
    """Keep a camera that the selected reason took, whatever its gate says; once more keeps the next"""

    bl_idname = "blendset.view_keep_rejected"
    bl_label = "Keep One of These"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if planning.plan_of(context.scene) is None:
            cls.poll_message_set("There is no funnel yet; plan cameras first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[Any]:
        plan, shown = planning.plan_of(context.scene), rows.window(context)
        assert plan is not None
        reason = shown.reasons[shown.reason].name
        taken = set(plan.chosen) | plan.turned_down
        for number, verdict in enumerate(plan.planned.verdicts):
            if (verdict.reason or "accepted") == reason and number not in taken:
                plan.kept.add(number)
                plan.choose()
                rows.refresh(context, plan)
                shown.view = next(place for place, row in enumerate(shown.views) if row.number == number)
                return {"FINISHED"}
        self.report({"WARNING"}, f"No camera is left that was rejected as '{reason}'")
        return {"CANCELLED"}


class BLENDSET_OT_view_add(bpy.types.Operator):
    """Add what the viewport shows now, or what the scene's camera sees, as a view"""

    bl_idname = "blendset.view_add"
    bl_label = "Add View"
    bl_options = {"REGISTER"}

    source: bpy.props.EnumProperty(name="Source", items=[("VIEWPORT", "Viewport", ""), ("CAMERA", "Scene Camera", "")])

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if planning.plan_of(context.scene) is None:
            cls.poll_message_set("There is no plan yet; plan cameras first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[Any]:
        plan = planning.plan_of(context.scene)
        assert plan is not None
        if self.source == "CAMERA":
            holder = context.scene.camera
            camera = dict(own_cameras(context.scene)).get(holder.name) if holder else None
            if holder is None or camera is None:
                self.report({"ERROR"}, "The scene has no perspective camera; add one, or add the viewport's view.")
                return {"CANCELLED"}
            plan.add(camera, holder.name)
        else:
            if context.space_data is None or context.space_data.type != "VIEW_3D":
                self.report({"ERROR"}, "There is no 3D viewport here; press the button in one.")
                return {"CANCELLED"}
            if context.space_data.region_3d.view_perspective != "PERSP":
                self.report({"ERROR"}, "The viewport is not in perspective; press numpad 5, or add the scene's camera.")
                return {"CANCELLED"}
            plan.add(_of_viewport(context), "viewport")
        rows.refresh(context, plan)
        return {"FINISHED"}


def _elongation(region: bpy.types.Region) -> float:
    """Longer over shorter side of a viewport: its lens is about the one, a square picture in it about the other."""
    return max(region.width, region.height) / max(min(region.width, region.height), 1)


def _of_viewport(context: bpy.types.Context) -> Camera:
    """The viewport as a square camera that sees at most what the viewport shows."""
    region = next(each for each in context.area.regions if each.type == "WINDOW")
    space = context.space_data
    matrix = np.array(space.region_3d.view_matrix.inverted(), dtype=np.float64)
    lens = space.lens * SENSOR_MM / VIEWPORT_SENSOR_MM * _elongation(region)
    return Camera(pose(matrix[:3, :3], matrix[:3, 3]), 1024, 1024, float(lens))


CLASSES = (
    BLENDSET_OT_view_look_through,
    BLENDSET_OT_view_turn_down,
    BLENDSET_OT_view_keep_rejected,
    BLENDSET_OT_view_add,
)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons about planned views: look through them, turn them down, add one by hand."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

from blendset.cameras import SENSOR_MM, Camera, make_pose
from blendset.errors import BlendsetError

from .. import rows, state
from ..scene.cameras import find_camera_objection, get_picture_size, read_camera
from .button import PlanButton

VIEWPORT_SENSOR_MM = 72.0
"""A 3D viewport sees through its lens as a camera with so wide a sensor would."""


class _ViewButton(PlanButton):
    """For operators on the selected view."""

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        return super().explain_missing(context) or (
            "" if state.get_selected_row(context, "view") else "There is no view in the list"
        )


class BLENDSET_OT_view_look_through(_ViewButton, bpy.types.Operator):
    """Turn the viewport to what this view's camera sees"""

    bl_idname = "blendset.view_look_through"
    bl_label = "Look Through"
    bl_options = {"REGISTER"}

    step: bpy.props.IntProperty(default=0, options={"HIDDEN"})

    def act(self, context: bpy.types.Context) -> None:
        plan, lists = self.get_plan(context), state.get_lists(context)
        lists.view = (lists.view + self.step) % len(lists.views)
        local = plan.get_verdict(lists.views[lists.view].number).candidate.camera
        camera = local.move(np.array(plan.opened.world_offset))
        space = context.space_data if context.space_data and context.space_data.type == "VIEW_3D" else None
        if space is None:
            raise BlendsetError("There is no 3D viewport here to look through.")
        region = next(region for region in context.area.regions if region.type == "WINDOW")
        distance = 0.1 * plan.opened.snapshot.diagonal
        space.region_3d.view_perspective = "PERSP"
        space.lens = camera.focal_length_mm * VIEWPORT_SENSOR_MM / SENSOR_MM / _compute_elongation(region)
        space.region_3d.view_distance = distance
        space.region_3d.view_rotation = Matrix(camera.rotation.tolist()).to_quaternion()
        space.region_3d.view_location = (camera.position - distance * camera.rotation[:, 2]).tolist()


class BLENDSET_OT_view_turn_down(_ViewButton, bpy.types.Operator):
    """Turn this view down: the next best takes its place. Once more takes it back"""

    bl_idname = "blendset.view_turn_down"
    bl_label = "Reject / Keep"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        plan, number = self.get_plan(context), state.get_selected_row(context, "view").number
        if number < 0:
            del plan.added[-1 - number]
        elif number in plan.turned_down:
            plan.turned_down.discard(number)
        else:
            plan.kept_by_hand.discard(number)
            plan.turned_down.add(number)
        plan.choose_views()
        rows.write_lists(context, plan)


class BLENDSET_OT_view_keep_rejected(PlanButton, bpy.types.Operator):
    """Keep a camera that the selected reason took, whatever its gate says; once more keeps the next"""

    bl_idname = "blendset.view_keep_rejected"
    bl_label = "Keep One of These"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        plan, lists = self.get_plan(context), state.get_lists(context)
        reason = lists.reasons[lists.reason].name
        taken = set(plan.chosen) | plan.turned_down
        for number, verdict in enumerate(plan.result.verdicts):
            if (verdict.reason or "accepted") == reason and number not in taken:
                plan.kept_by_hand.add(number)
                plan.choose_views()
                rows.write_lists(context, plan)
                lists.view = next(index for index, row in enumerate(lists.views) if row.number == number)
                return
        raise BlendsetError(f"No camera is left that was rejected as '{reason}'.")


class BLENDSET_OT_view_add(PlanButton, bpy.types.Operator):
    """Add what the viewport shows now, or what the scene's camera sees, as a view"""

    bl_idname = "blendset.view_add"
    bl_label = "Add View"
    bl_options = {"REGISTER"}

    source: bpy.props.EnumProperty(name="Source", items=[("VIEWPORT", "Viewport", ""), ("CAMERA", "Scene Camera", "")])

    def act(self, context: bpy.types.Context) -> None:
        plan = self.get_plan(context)
        if self.source == "CAMERA":
            plan.add_view(_read_scene_camera(context), context.scene.camera.name)
        else:
            if context.space_data is None or context.space_data.type != "VIEW_3D":
                raise BlendsetError("There is no 3D viewport here; press the button in one.")
            if context.space_data.region_3d.view_perspective != "PERSP":
                raise BlendsetError("The viewport is not in perspective; press numpad 5, or add the scene's camera.")
            plan.add_view(_read_viewport_camera(context), "viewport")
        rows.write_lists(context, plan)


def _read_scene_camera(context: bpy.types.Context) -> Camera:
    """The scene's camera as Blender renders from it."""
    holder = context.scene.camera
    if holder is None:
        raise BlendsetError("The scene has no camera; add one, or add the viewport's view.")
    evaluated = holder.evaluated_get(context.evaluated_depsgraph_get())
    if reason := find_camera_objection(evaluated):
        raise BlendsetError(
            f"{holder.name} gives no view ({reason}); choose another camera, or add the viewport's view."
        )
    return read_camera(evaluated, get_picture_size(context.scene))


def _compute_elongation(region: bpy.types.Region) -> float:
    """Longer over shorter side of a viewport: its lens is about the one, a square picture in it about the other."""
    return max(region.width, region.height) / max(min(region.width, region.height), 1)


def _read_viewport_camera(context: bpy.types.Context) -> Camera:
    """The viewport as a square camera that sees at most what the viewport shows, which it clips too."""
    region = next(region for region in context.area.regions if region.type == "WINDOW")
    space = context.space_data
    matrix = np.array(space.region_3d.view_matrix.inverted(), dtype=np.float64)
    lens = space.lens * SENSOR_MM / VIEWPORT_SENSOR_MM * _compute_elongation(region)
    clip = (float(space.clip_start), float(space.clip_end))
    return Camera(make_pose(matrix[:3, :3], matrix[:3, 3]), 1024, 1024, float(lens), clip=clip)


CLASSES = (
    BLENDSET_OT_view_look_through,
    BLENDSET_OT_view_turn_down,
    BLENDSET_OT_view_keep_rejected,
    BLENDSET_OT_view_add,
)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Buttons about subjects: which are left out, what they are called."""

from __future__ import annotations

from typing import Any

import bpy

from blendset.errors import BlendsetError
from blendset.placement.subjects import Subject

from .. import rows, state
from ..planning.window_plan import WindowPlan
from ..properties import get_settings
from .button import Button, PlanButton


class _SubjectButton(PlanButton):
    """For operators on the selected subject."""

    @classmethod
    def explain_missing(cls, context: bpy.types.Context) -> str:
        return super().explain_missing(context) or (
            "" if state.get_selected_row(context, "subject") else "There is no subject in the list"
        )

    def get_subject(self, context: bpy.types.Context) -> tuple[WindowPlan, Subject]:
        """The plan and the subject that is selected."""
        plan, name = self.get_plan(context), state.get_selected_row(context, "subject").name
        return plan, next(subject for subject in plan.result.search.subjects if subject.id == name)


class BLENDSET_OT_subject_leave_out(_SubjectButton, bpy.types.Operator):
    """Leave this subject out of the next plan, or take it in again"""

    bl_idname = "blendset.subject_leave_out"
    bl_label = "Leave Out / Take In"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> None:
        plan, subject = self.get_subject(context)
        out, row = get_settings(context.scene).left_out, state.get_selected_row(context, "subject")
        objects: list[Any] = plan.find_objects(subject)
        if not objects:
            raise BlendsetError("Its objects were renamed or deleted; plan again.")
        row.left_out = not any(pointer.object in objects for pointer in out)
        for index in reversed(range(len(out))):
            if out[index].object in objects or out[index].object is None:
                out.remove(index)
        if row.left_out:
            for thing in objects:
                out.add().object = thing
        change = "is left out" if row.left_out else "is taken in"
        self.report({"INFO"}, f"{row.label or row.name} {change}; plan again to see what takes its place")


class BLENDSET_OT_object_take_in(Button, bpy.types.Operator):
    """Take this object in again"""

    bl_idname = "blendset.object_take_in"
    bl_label = "Take In"
    bl_options = {"REGISTER", "UNDO"}

    place: bpy.props.IntProperty(options={"HIDDEN"})

    def act(self, context: bpy.types.Context) -> None:
        get_settings(context.scene).left_out.remove(self.place)
        plan = state.get_plan(context.scene)
        if plan is not None:
            rows.write_lists(context, plan)


class BLENDSET_OT_subject_label(_SubjectButton, bpy.types.Operator):
    """Say what this subject is; the label is kept on its object and goes into every caption"""

    bl_idname = "blendset.subject_label"
    bl_label = "Label Subject"
    bl_options = {"REGISTER", "UNDO"}

    label: bpy.props.StringProperty(name="Label")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        _, subject = self.get_subject(context)
        self.label = subject.label
        return context.window_manager.invoke_props_dialog(self)

    def act(self, context: bpy.types.Context) -> None:
        plan, subject = self.get_subject(context)
        holder: Any = bpy.data.objects.get(plan.find_largest_object(subject))
        if holder is None or not holder.is_editable:
            raise BlendsetError("This object is linked from another file; label it there, or make it local.")
        if self.label.strip():
            holder["blendset_label"] = self.label.strip()
        elif "blendset_label" in holder:
            del holder["blendset_label"]
        state.get_selected_row(context, "subject").label = self.label.strip()


class BLENDSET_OT_subject_frame(_SubjectButton, bpy.types.Operator):
    """Select this subject's objects and turn the viewport to them"""

    bl_idname = "blendset.subject_frame"
    bl_label = "Frame Subject"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> None:
        plan, subject = self.get_subject(context)
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        bpy.ops.object.select_all(action="DESELECT")
        visible = [thing for thing in plan.find_objects(subject) if thing.visible_get()]
        for thing in visible:
            thing.select_set(True)
        if visible:
            context.view_layer.objects.active = visible[0]
        if context.area is not None and context.area.type == "VIEW_3D" and context.region is not None:
            region = next(region for region in context.area.regions if region.type == "WINDOW")
            with context.temp_override(region=region):
                bpy.ops.view3d.view_selected()


class BLENDSET_OT_subject_pick(_SubjectButton, bpy.types.Operator):
    """Find the active object's subject in the list"""

    bl_idname = "blendset.subject_pick"
    bl_label = "Pick from Selection"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        plan, lists = self.get_plan(context), state.get_lists(context)
        active: Any = context.view_layer.objects.active
        if active is None:
            raise BlendsetError("No object is active; click one in the viewport first.")
        for subject in plan.result.search.subjects:
            if active.name_full in plan.list_object_names(subject):
                lists.subject = lists.subjects.find(subject.id)
                return
        raise BlendsetError(f"'{active.name}' is no subject: it is structure, too small, too large or plain.")


CLASSES = (
    BLENDSET_OT_subject_leave_out,
    BLENDSET_OT_object_take_in,
    BLENDSET_OT_subject_label,
    BLENDSET_OT_subject_frame,
    BLENDSET_OT_subject_pick,
)

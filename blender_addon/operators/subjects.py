# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person says about subjects: which are left out, what they are called."""

from __future__ import annotations

from typing import Any

import bpy

from blendset.errors import BlendsetError
from blendset.placement.subjects import Subject

from .. import planning
from ..properties import settings_of
from ..ui import rows
from .button import Button, PlanButton, selected


class _SubjectButton(PlanButton):
    """For operators on the selected subject."""

    @classmethod
    def missing(cls, context: bpy.types.Context) -> str:
        return super().missing(context) or ("" if selected(context, "subject") else "There is no subject in the list")

    def chosen(self, context: bpy.types.Context) -> tuple[planning.WindowPlan, Subject]:
        """The plan and the subject that is selected."""
        plan, name = self.plan(context), selected(context, "subject").name
        return plan, next(each for each in plan.planned.found.subjects if each.id == name)


class BLENDSET_OT_subject_leave_out(_SubjectButton, bpy.types.Operator):
    """Leave this subject out of the next plan, or take it in again"""

    bl_idname = "blendset.subject_leave_out"
    bl_label = "Leave Out / Take In"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> None:
        chosen = self.chosen(context)
        out, row = settings_of(context.scene).left_out, selected(context, "subject")
        objects: list[Any] = rows.objects_of(*chosen)
        if not objects:
            raise BlendsetError("Its objects were renamed or deleted; plan again.")
        row.left_out = not any(each.object in objects for each in out)
        for place in reversed(range(len(out))):
            if out[place].object in objects or out[place].object is None:
                out.remove(place)
        if row.left_out:
            for each in objects:
                out.add().object = each
        said = "is left out" if row.left_out else "is taken in"
        self.report({"INFO"}, f"{row.label or row.name} {said}; plan again to see what takes its place")


class BLENDSET_OT_object_take_in(Button, bpy.types.Operator):
    """Take this object in again"""

    bl_idname = "blendset.object_take_in"
    bl_label = "Take In"
    bl_options = {"REGISTER", "UNDO"}

    place: bpy.props.IntProperty(options={"HIDDEN"})

    def act(self, context: bpy.types.Context) -> None:
        settings_of(context.scene).left_out.remove(self.place)
        plan = planning.plan_of(context.scene)
        if plan is not None:
            rows.refresh(context, plan)


class BLENDSET_OT_subject_label(_SubjectButton, bpy.types.Operator):
    """Say what this subject is; the label is kept on its object and goes into every caption"""

    bl_idname = "blendset.subject_label"
    bl_label = "Label Subject"
    bl_options = {"REGISTER", "UNDO"}

    label: bpy.props.StringProperty(name="Label")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        chosen = self.chosen(context)
        self.label = chosen[1].label
        return context.window_manager.invoke_props_dialog(self)

    def act(self, context: bpy.types.Context) -> None:
        chosen = self.chosen(context)
        holder: Any = bpy.data.objects.get(rows.largest_object(*chosen))
        if holder is None or not holder.is_editable:
            raise BlendsetError("This object is linked from another file; label it there, or make it local.")
        if self.label.strip():
            holder["blendset_label"] = self.label.strip()
        elif "blendset_label" in holder:
            del holder["blendset_label"]
        selected(context, "subject").label = self.label.strip()


class BLENDSET_OT_subject_frame(_SubjectButton, bpy.types.Operator):
    """Select this subject's objects and turn the viewport to them"""

    bl_idname = "blendset.subject_frame"
    bl_label = "Frame Subject"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context) -> None:
        chosen = self.chosen(context)
        if context.mode != "OBJECT":
            bpy.ops.object.mode_set(mode="OBJECT")
        bpy.ops.object.select_all(action="DESELECT")
        shown = [each for each in rows.objects_of(*chosen) if each.visible_get()]
        for each in shown:
            each.select_set(True)
        if shown:
            context.view_layer.objects.active = shown[0]
        if context.area is not None and context.area.type == "VIEW_3D" and context.region is not None:
            region = next(each for each in context.area.regions if each.type == "WINDOW")
            with context.temp_override(region=region):
                bpy.ops.view3d.view_selected()


class BLENDSET_OT_subject_pick(_SubjectButton, bpy.types.Operator):
    """Find the active object's subject in the list"""

    bl_idname = "blendset.subject_pick"
    bl_label = "Pick from Selection"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context) -> None:
        plan = self.plan(context)
        active: Any = context.view_layer.objects.active
        if active is None:
            raise BlendsetError("No object is active; click one in the viewport first.")
        for subject in plan.planned.found.subjects:
            if active.name_full in rows.names_of(plan, subject):
                rows.window(context).subject = rows.window(context).subjects.find(subject.id)
                return
        raise BlendsetError(f"'{active.name}' is no subject: it is structure, too small, too large or plain.")


CLASSES = (
    BLENDSET_OT_subject_leave_out,
    BLENDSET_OT_object_take_in,
    BLENDSET_OT_subject_label,
    BLENDSET_OT_subject_frame,
    BLENDSET_OT_subject_pick,
)

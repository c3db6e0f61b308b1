# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person says about subjects: which are left out, what they are called."""

from __future__ import annotations

from typing import Any

import bpy

from blendset.placement.subjects import Subject

from .. import planning
from ..properties import settings_of
from ..ui import rows


def _chosen(context: bpy.types.Context) -> tuple[planning.WindowPlan, Subject] | None:
    """The plan and the subject that is selected in the list."""
    plan, shown = planning.plan_of(context.scene), rows.window(context)
    if plan is None or shown.subject >= len(plan.planned.found.subjects):
        return None
    return plan, plan.planned.found.subjects[shown.subject]


class _OfSubject:
    """For operators that need a selected subject."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if _chosen(context) is None:
            cls.poll_message_set("There is no subject yet; plan cameras first")
            return False
        return True


class BLENDSET_OT_subject_leave_out(_OfSubject, bpy.types.Operator):
    """Leave this subject out of the next plan, or take it in again"""

    bl_idname = "blendset.subject_leave_out"
    bl_label = "Leave Out / Take In"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[Any]:
        chosen = _chosen(context)
        assert chosen is not None
        out, row = settings_of(context.scene).left_out, rows.window(context).subjects[rows.window(context).subject]
        objects: list[Any] = rows.objects_of(*chosen)
        if not objects:
            self.report({"ERROR"}, "Its objects were renamed or deleted; plan again.")
            return {"CANCELLED"}
        row.left_out = not any(each.object in objects for each in out)
        for place in reversed(range(len(out))):
            if out[place].object in objects or out[place].object is None:
                out.remove(place)
        if row.left_out:
            for each in objects:
                out.add().object = each
        said = "is left out" if row.left_out else "is taken in"
        self.report({"INFO"}, f"{row.label or row.name} {said}; plan again to see what takes its place")
        return {"FINISHED"}


class BLENDSET_OT_subject_label(_OfSubject, bpy.types.Operator):
    """Say what this subject is; the label is kept on its object and goes into every caption"""

    bl_idname = "blendset.subject_label"
    bl_label = "Label Subject"
    bl_options = {"REGISTER", "UNDO"}

    label: bpy.props.StringProperty(name="Label")

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[Any]:
        chosen = _chosen(context)
        assert chosen is not None
        self.label = chosen[1].label
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[Any]:
        chosen = _chosen(context)
        assert chosen is not None
        holder: Any = bpy.data.objects.get(rows.largest_object(*chosen))
        if holder is None or not holder.is_editable:
            self.report({"ERROR"}, "This object is linked from another file; label it there, or make it local.")
            return {"CANCELLED"}
        if self.label.strip():
            holder["blendset_label"] = self.label.strip()
        elif "blendset_label" in holder:
            del holder["blendset_label"]
        rows.window(context).subjects[rows.window(context).subject].label = self.label.strip()
        return {"FINISHED"}


class BLENDSET_OT_subject_frame(_OfSubject, bpy.types.Operator):
    """Select this subject's objects and turn the viewport to them"""

    bl_idname = "blendset.subject_frame"
    bl_label = "Frame Subject"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[Any]:
        chosen = _chosen(context)
        assert chosen is not None
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
        return {"FINISHED"}


class BLENDSET_OT_subject_pick(_OfSubject, bpy.types.Operator):
    """Find the active object's subject in the list"""

    bl_idname = "blendset.subject_pick"
    bl_label = "Pick from Selection"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[Any]:
        plan = planning.plan_of(context.scene)
        assert plan is not None
        active: Any = context.view_layer.objects.active
        if active is None:
            self.report({"WARNING"}, "No object is active; click one in the viewport first")
            return {"CANCELLED"}
        for place, subject in enumerate(plan.planned.found.subjects):
            if active in rows.objects_of(plan, subject):
                rows.window(context).subject = place
                return {"FINISHED"}
        self.report({"WARNING"}, f"'{active.name}' is no subject: it is structure, too small, too large or plain")
        return {"CANCELLED"}


CLASSES = (
    BLENDSET_OT_subject_leave_out,
    BLENDSET_OT_subject_label,
    BLENDSET_OT_subject_frame,
    BLENDSET_OT_subject_pick,
)

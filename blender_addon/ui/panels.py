# SPDX-License-Identifier: GPL-3.0-or-later
"""The tab "Blendset" in the 3D viewport's sidebar, from subjects to the finished dataset."""

from __future__ import annotations

from typing import Any, cast

import bpy

from .. import state
from ..properties import get_settings
from .presets import BLENDSET_PT_presets


class _Panel:
    bl_space_type = cast(Any, "VIEW_3D")
    bl_region_type = cast(Any, "UI")
    bl_category = "Blendset"


class BLENDSET_UL_subjects(bpy.types.UIList):
    """Subjects with the number of views each gets, or why it gets none."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, active: Any, name: Any, index: Any = 0
    ) -> None:
        row = layout.row(align=True)
        row.active = not item.left_out
        row.label(text=item.label or item.name, icon="HIDE_ON" if item.left_out else "NONE")
        tail = row.row()
        tail.alignment = "RIGHT"
        if item.left_out:
            tail.label(text="left out")
        elif item.cameras:
            tail.label(text=f"{item.views}/{item.cameras}")
        else:
            tail.label(text=item.unseen or "unseen")


class BLENDSET_UL_left_out(bpy.types.UIList):
    """Objects that are left out by hand."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, active: Any, name: Any, index: Any = 0
    ) -> None:
        row = layout.row(align=True)
        row.label(text=item.object.name if item.object else "deleted")
        row.operator("blendset.object_take_in", text="", icon="X", emboss=False).place = index


class BLENDSET_UL_reasons(bpy.types.UIList):
    """The funnel: each reason with its share as a bar."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, active: Any, name: Any, index: Any = 0
    ) -> None:
        split = layout.split(factor=0.6)  # a bar would take the click that selects the row
        split.label(text=item.name)
        split.progress(factor=item.share, text=f"{item.count:,}")


class BLENDSET_UL_views(bpy.types.UIList):
    """Views in render order, with their scores."""

    def draw_item(
        self, context: Any, layout: Any, data: Any, item: Any, icon: Any, active: Any, name: Any, index: Any = 0
    ) -> None:
        row = layout.row(align=True)
        row.active = not item.turned_down
        row.label(text=item.name, icon="X" if item.turned_down else "NONE")
        tail = row.row()
        tail.alignment = "RIGHT"
        tail.label(text="rejected" if item.turned_down else "by hand" if item.number < 0 else f"{item.score:.2f}")


class BLENDSET_PT_plan(_Panel, bpy.types.Panel):
    """Where everything starts."""

    bl_label = "Plan"
    bl_idname = "BLENDSET_PT_plan"

    def draw_header_preset(self, context: bpy.types.Context) -> None:
        BLENDSET_PT_presets.draw_panel_header(self.layout)

    def draw(self, context: bpy.types.Context) -> None:
        layout, lists, settings = self.layout, state.get_lists(context), get_settings(context.scene)
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(settings.cameras, "preset")
        layout.prop(settings.cameras, "views")
        row = layout.row()
        row.scale_y = 1.4
        if lists.doing:
            row.progress(factor=lists.progress, text=f"{lists.doing} (Esc cancels)")
            return
        row.operator("blendset.plan", icon="OUTLINER_OB_CAMERA")
        plan = state.get_plan(context.scene)
        if plan is not None and plan.stale:
            layout.label(text="The scene has changed since", icon="ERROR")


class BLENDSET_PT_subjects(_Panel, bpy.types.Panel):
    """What the views are about."""

    bl_label = "Subjects"
    bl_idname = "BLENDSET_PT_subjects"

    def draw(self, context: bpy.types.Context) -> None:
        layout, lists, settings = self.layout, state.get_lists(context), get_settings(context.scene)
        if state.get_plan(context.scene) and lists.subjects:
            layout.template_list("BLENDSET_UL_subjects", "", lists, "subjects", lists, "subject", rows=5)
            row = layout.row(align=True)
            row.operator("blendset.subject_label", text="Label")
            left_out = lists.subject < len(lists.subjects) and lists.subjects[lists.subject].left_out
            row.operator("blendset.subject_leave_out", text="Take In" if left_out else "Leave Out")
            row = layout.row(align=True)
            row.operator("blendset.subject_frame", text="Frame")
            row.operator("blendset.subject_pick", text="Pick")
        else:
            layout.label(text="Plan first", icon="INFO")
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        for name in ("include", "exclude"):
            column.prop(settings.subjects, name)


class BLENDSET_PT_left_out(_Panel, bpy.types.Panel):
    """What was left out by hand."""

    bl_label = "Left Out"
    bl_parent_id = "BLENDSET_PT_subjects"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return len(get_settings(context.scene).left_out) > 0

    def draw(self, context: bpy.types.Context) -> None:
        settings, lists = get_settings(context.scene), state.get_lists(context)
        self.layout.template_list("BLENDSET_UL_left_out", "", settings, "left_out", lists, "left_out", rows=3)


class BLENDSET_PT_subject_limits(_Panel, bpy.types.Panel):
    """How large a subject may be, and how many copies count."""

    bl_label = "Limits"
    bl_parent_id = "BLENDSET_PT_subjects"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        _draw_settings(self.layout, get_settings(context.scene).subjects, skip=("include", "exclude"))


class BLENDSET_PT_cameras(_Panel, bpy.types.Panel):
    """Which cameras are proposed."""

    bl_label = "Cameras"
    bl_idname = "BLENDSET_PT_cameras"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        _draw_settings(self.layout, get_settings(context.scene).cameras, skip=("preset", "views"))


class BLENDSET_PT_gates(_Panel, bpy.types.Panel):
    """What a camera is held to."""

    bl_label = "Gates"
    bl_parent_id = "BLENDSET_PT_cameras"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        _draw_settings(self.layout, get_settings(context.scene).gates)


class BLENDSET_PT_funnel(_Panel, bpy.types.Panel):
    """What became of the candidates."""

    bl_label = "Funnel"
    bl_idname = "BLENDSET_PT_funnel"

    def draw(self, context: bpy.types.Context) -> None:
        layout, lists = self.layout, state.get_lists(context)
        if not state.get_plan(context.scene):
            layout.label(text="Plan first", icon="INFO")
            return
        layout.label(text=f"{lists.candidates:,} candidates")
        layout.template_list("BLENDSET_UL_reasons", "", lists, "reasons", lists, "reason", rows=5)
        layout.prop(lists, "show_rejected", text="Show These Cameras")
        layout.operator("blendset.view_keep_rejected", icon="ADD")


class BLENDSET_PT_views(_Panel, bpy.types.Panel):
    """The planned views."""

    bl_label = "Views"
    bl_idname = "BLENDSET_PT_views"

    def draw(self, context: bpy.types.Context) -> None:
        layout, lists = self.layout, state.get_lists(context)
        if state.get_plan(context.scene) and lists.views:
            layout.prop(lists, "show_accepted")
            layout.template_list("BLENDSET_UL_views", "", lists, "views", lists, "view", rows=5)
            row = layout.row(align=True)
            row.operator("blendset.view_look_through", text="", icon="TRIA_LEFT").step = -1
            row.operator("blendset.view_look_through", icon="CAMERA_DATA").step = 0
            row.operator("blendset.view_look_through", text="", icon="TRIA_RIGHT").step = 1
            layout.operator("blendset.view_turn_down", icon="X")
        else:
            layout.label(text="Plan first", icon="INFO")
        row = layout.row(align=True)
        row.label(text="Add")
        row.operator("blendset.view_add", text="Viewport").source = "VIEWPORT"
        row.operator("blendset.view_add", text="Camera").source = "CAMERA"


class BLENDSET_PT_render(_Panel, bpy.types.Panel):
    """Where and how the views are rendered, and the job that does it."""

    bl_label = "Render"
    bl_idname = "BLENDSET_PT_render"

    def draw(self, context: bpy.types.Context) -> None:
        layout, settings = self.layout, get_settings(context.scene)
        _draw_settings(layout, settings.render)
        layout.label(text="Dataset folder")
        layout.prop(settings, "out", text="")
        row = layout.row()
        row.scale_y = 1.4
        row.operator("blendset.render", icon="RENDER_STILL")
        job = state.get_job()
        if state.get_lists(context).unfinished and (job is None or job.ended):
            layout.operator("blendset.resume", icon="PLAY")
        if job is None:
            return
        box = layout.box()
        box.progress(factor=job.share, text=f"{job.supervisor.done} of {job.supervisor.total}{job.time_left}")
        if job.ended is None:
            row = box.row(align=True)
            row.operator("blendset.job_pause", text="Go On" if job.supervisor.paused else "Pause")
            row.operator("blendset.job_cancel")
            box.label(text=job.message)
            if job.disk:
                box.label(text=job.disk, icon="DISK_DRIVE")
        else:
            box.label(text=f"{job.ended.status}: {job.ended.passed} of {job.ended.views} views pass")
            if job.ended.reason:
                box.label(text=job.ended.reason, icon="INFO" if job.ended.status == "done" else "ERROR")
        if state.get_lists(context).picture:
            box.template_icon(icon_value=state.get_lists(context).picture, scale=8)


class BLENDSET_PT_dataset(_Panel, bpy.types.Panel):
    """The folder that the views are in."""

    bl_label = "Dataset"
    bl_idname = "BLENDSET_PT_dataset"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.label(text=state.get_lists(context).there or "nothing there yet", icon="FILE_FOLDER")
        _draw_settings(layout, get_settings(context.scene).dataset)
        row = layout.row(align=True)
        row.operator("blendset.verify", icon="CHECKMARK")
        row.operator("blendset.open_folder", icon="FILE_FOLDER")
        layout.operator("blendset.open_contact_sheet", icon="IMAGE_DATA")
        layout.operator("blendset.copy_command", icon="COPYDOWN")
        row = layout.row(align=True)
        row.operator("blendset.settings_export", icon="EXPORT")
        row.operator("blendset.settings_import", icon="IMPORT")


def _draw_settings(layout: bpy.types.UILayout, group: Any, skip: tuple[str, ...] = ()) -> None:
    """Draw a button for every setting of a group."""
    column = layout.column()
    column.use_property_split = True
    column.use_property_decorate = False
    for name in type(group).__annotations__:
        if name not in skip:
            column.prop(group, name)


CLASSES = (
    BLENDSET_UL_subjects,
    BLENDSET_UL_left_out,
    BLENDSET_UL_reasons,
    BLENDSET_UL_views,
    BLENDSET_PT_plan,
    BLENDSET_PT_subjects,
    BLENDSET_PT_left_out,
    BLENDSET_PT_subject_limits,
    BLENDSET_PT_cameras,
    BLENDSET_PT_gates,
    BLENDSET_PT_funnel,
    BLENDSET_PT_views,
    BLENDSET_PT_render,
    BLENDSET_PT_dataset,
)

# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on remembers while Blender runs: the plan, the render job, and what the lists of the window show.

None of it is saved. The lists are properties of the window manager: written when something changes, and only read when
drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import bpy.utils.previews

from .planning.window_plan import WindowPlan
from .properties import make_property_group
from .render_job import RenderJob


@dataclass
class _State:
    """One plan and one job, as there is one set of lists in the window."""

    plan: WindowPlan | None = None
    job: RenderJob | None = None
    pictures: Any = None
    revision: int = 0


_state = _State()


def get_plan(scene: bpy.types.Scene) -> WindowPlan | None:
    """The plan that was last made, if it is this scene's."""
    return _state.plan if _state.plan is not None and _state.plan.scene == scene.name else None


def set_plan(plan: WindowPlan | None) -> None:
    """Make this the plan."""
    _state.plan = plan


def get_job() -> RenderJob | None:
    """The job that runs, or the last one of this session."""
    return _state.job


def set_job(job: RenderJob | None) -> None:
    """Make this the job."""
    _state.job = job


def load_picture(path: str) -> int | None:
    """The icon of a picture file, which replaces the one before; None where that is this very picture."""
    if path in _state.pictures:
        return None
    _state.pictures.clear()
    return int(_state.pictures.load(path, path, "IMAGE").icon_id)


def get_revision() -> int:
    """A number that grows whenever the overlay has other lines to draw."""
    return _state.revision


def mark_changed() -> None:
    """Have the overlay draw other lines from the next redraw on."""
    _state.revision += 1
    redraw_viewports()


def redraw_viewports() -> None:
    """Have all 3D viewports drawn again, their sidebars with them."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


# ---- the lists of the window -----------------------------------------------------------------------------------------


def _update(_lists: object, _context: object) -> None:
    """Blender calls it when somebody selects another row or switches a kind of camera on or off."""
    mark_changed()


BLENDSET_PG_subject_row = make_property_group(
    "BLENDSET_PG_subject_row",
    "A subject in the list; its name is the subject's id.",
    label=bpy.props.StringProperty(name="Label", description="What it is called; saved with the object"),
    views=bpy.props.IntProperty(),
    cameras=bpy.props.IntProperty(),
    unseen=bpy.props.StringProperty(),
    left_out=bpy.props.BoolProperty(),
)
BLENDSET_PG_reason_row = make_property_group(
    "BLENDSET_PG_reason_row",
    "What a gate took, in the funnel; its name is the reason.",
    count=bpy.props.IntProperty(),
    share=bpy.props.FloatProperty(),
)
BLENDSET_PG_view_row = make_property_group(
    "BLENDSET_PG_view_row",
    "A view in the list; its name is what it is of.",
    number=bpy.props.IntProperty(description="The candidate's number; negative for one that was added by hand"),
    score=bpy.props.FloatProperty(),
    turned_down=bpy.props.BoolProperty(),
)
BLENDSET_PG_window = make_property_group(
    "BLENDSET_PG_window",
    "What the window shows of the last plan.",
    subjects=bpy.props.CollectionProperty(type=BLENDSET_PG_subject_row),
    subject=bpy.props.IntProperty(name="Subject", update=_update),
    left_out=bpy.props.IntProperty(name="Left out"),
    reasons=bpy.props.CollectionProperty(type=BLENDSET_PG_reason_row),
    reason=bpy.props.IntProperty(name="Reason", update=_update),
    views=bpy.props.CollectionProperty(type=BLENDSET_PG_view_row),
    view=bpy.props.IntProperty(name="View", update=_update),
    candidates=bpy.props.IntProperty(),
    there=bpy.props.StringProperty(),
    picture=bpy.props.IntProperty(),
    unfinished=bpy.props.StringProperty(),
    doing=bpy.props.StringProperty(),
    done=bpy.props.IntProperty(),
    progress=bpy.props.FloatProperty(),
    show_accepted=bpy.props.BoolProperty(
        name="Chosen cameras", description="Show the cameras of the planned views", default=True, update=_update
    ),
    show_rejected=bpy.props.BoolProperty(
        name="Rejected cameras",
        description="Show the cameras that the reason selected in the funnel took",
        update=_update,
    ),
)

CLASSES = (BLENDSET_PG_subject_row, BLENDSET_PG_reason_row, BLENDSET_PG_view_row, BLENDSET_PG_window)


def get_lists(context: bpy.types.Context) -> Any:
    """What the lists show, and what is selected in each: a BLENDSET_PG_window."""
    return context.window_manager.blendset


def get_selected_row(context: bpy.types.Context, kind: str) -> Any:
    """The row that is selected in the list of this kind ("subject", "view", "reason"); None in an empty list."""
    lists = get_lists(context)
    listed, index = getattr(lists, f"{kind}s"), getattr(lists, kind)
    return listed[index] if index < len(listed) else None


def register() -> None:
    """Give the window manager its lists."""
    _state.pictures = bpy.utils.previews.new()
    bpy.types.WindowManager.blendset = bpy.props.PointerProperty(type=BLENDSET_PG_window)


def unregister() -> None:
    """Take them back, and forget the plan."""
    bpy.utils.previews.remove(_state.pictures)
    set_plan(None)
    del bpy.types.WindowManager.blendset

# SPDX-License-Identifier: Apache-2.0
"""Runs inside the Blender under test: writes down several times a second what its window knows."""

import json
import os
import sys
from importlib import import_module
from typing import Any

import bpy

PATH = sys.argv[-1]


def read_state() -> dict[str, object]:
    """What the window shows and where it stands."""
    manager: Any = bpy.context.window_manager
    if not hasattr(manager, "blendset"):
        return {"file": bpy.data.filepath, "installed": False}
    lists = manager.blendset
    job = import_module("bl_ext.user_default.blendset.state").get_job()
    area = next((each for each in manager.windows[0].screen.areas if each.type == "VIEW_3D"), None)
    if area is None:  # the file browser fills the window
        return {"file": bpy.data.filepath, "installed": True}
    sidebar = next(each for each in area.regions if each.type == "UI")
    return {
        "file": bpy.data.filepath,
        "installed": True,
        "doing": lists.doing,
        "subjects": [(row.name, row.views, row.left_out) for row in lists.subjects],
        "views": [(row.name, row.number, row.turned_down) for row in lists.views],
        "reasons": {row.name: row.count for row in lists.reasons},
        "unfinished": lists.unfinished,
        "subject": lists.subject,
        "view": lists.view,
        "reason_shown": lists.reason,
        "show_rejected": lists.show_rejected,
        "category": getattr(sidebar, "active_panel_category", ""),
        "sidebar": sidebar.width,
        "eye": [round(each, 3) for row in area.spaces.active.region_3d.view_matrix for each in row],
        "plan": id(import_module("bl_ext.user_default.blendset.state").get_plan(bpy.context.scene)),
        "last": manager.operators[-1].bl_idname if manager.operators else "",
        "job": job is not None,
        "done": job.supervisor.done if job else 0,
        "ended": job.ended.status if job and job.ended else "",
        "reason": job.ended.reason if job and job.ended else "",
    }


def write_state() -> float:
    """Called by Blender's timer; the seconds until the next call."""
    unfinished = PATH + ".tmp"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(read_state(), file)
    os.replace(unfinished, PATH)
    return 0.2


bpy.app.timers.register(write_state, first_interval=0.5, persistent=True)

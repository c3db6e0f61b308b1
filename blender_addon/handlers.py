# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender calls when a file is opened or saved, and after every change of the scene."""

from __future__ import annotations

from typing import Any

import bpy

from . import rows, state


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _reset_lists(*_: object) -> None:
    """Another file is open: the plan was of the file before."""
    state.set_plan(None)
    state.get_lists(bpy.context).doing = ""
    rows.write_lists(bpy.context, None)
    rows.write_dataset_status(bpy.context)


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _update_dataset_status(*_: object) -> None:
    """The file was saved, perhaps under another name."""
    rows.write_dataset_status(bpy.context)


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _note_change(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Called after every change, so it looks no further once the plan is stale."""
    plan = state.get_plan(scene)
    if plan is not None and not plan.stale:
        plan.stale = any(
            (update.is_updated_geometry or update.is_updated_transform)
            and isinstance(update.id, bpy.types.Object)
            and update.id.name_full in plan.objects
            for update in depsgraph.updates
        )


def _list_handlers() -> tuple[tuple[list[Any], Any], ...]:
    """Blender's lists of handlers, each with ours."""
    lists = bpy.app.handlers
    return (
        (lists.load_post, _reset_lists),
        (lists.save_post, _update_dataset_status),
        (lists.depsgraph_update_post, _note_change),
    )


def register() -> None:
    """Watch files and the scene."""
    for handlers, handler in _list_handlers():
        handlers.append(handler)


def unregister() -> None:
    """Watch no more."""
    for handlers, handler in _list_handlers():
        handlers.remove(handler)

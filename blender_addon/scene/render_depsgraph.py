# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene as the renderer gets it: render visibility, render subdivision levels, all instances.

Python can only ask for the viewport's evaluation, which differs in all three. A render engine is handed the real
one, so we are one for the length of a call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import bpy

from .overrides import Overrides

Result = TypeVar("Result")


class BlendsetSnapshotEngine(bpy.types.RenderEngine):
    """Renders nothing; runs `question` on the render depsgraph."""

    bl_idname = "BLENDSET_SNAPSHOT"
    bl_label = "Blendset snapshot"
    bl_use_preview = False
    question: Callable[[bpy.types.Depsgraph], object] | None = None
    answer: list[object] = []
    error: list[Exception] = []

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        kind = type(self)
        if kind.question is None:
            return
        try:
            kind.answer.append(kind.question(depsgraph))
        except Exception as error:  # noqa: BLE001 - Blender would print it and go on
            kind.error.append(error)


def ask_render_depsgraph(
    scene: bpy.types.Scene, layer: str, question: Callable[[bpy.types.Depsgraph], Result]
) -> Result:
    """Run `question` on the render depsgraph of a view layer and return what it returns; it must keep no reference
    into Blender's data."""
    kind = BlendsetSnapshotEngine
    kind.answer, kind.error, kind.question = [], [], staticmethod(question)
    render = scene.render
    shown: Any = bpy.data.images.get("Render Result")
    try:
        with Overrides() as overrides:
            if shown is not None:  # the picture that the user rendered last stays in its slot
                overrides.set(shown.render_slots, "active_index", len(shown.render_slots) - 1)
            overrides.set(render, "engine", kind.bl_idname)
            for name in ("use_compositing", "use_sequencer", "use_border", "use_multiview", "use_freestyle"):
                overrides.set(render, name, False)
            overrides.set(render, "resolution_x", 8)
            overrides.set(render, "resolution_y", 8)
            overrides.set(render, "resolution_percentage", 100)
            overrides.set(render, "use_motion_blur", False)
            overrides.add_camera(scene)
            bpy.ops.render.render(scene=scene.name, layer=layer)
    finally:
        kind.question = None
    if kind.error:
        raise kind.error[0]
    if not kind.answer:
        raise RuntimeError("Blender evaluated no view layer for rendering")
    answer: Any = kind.answer[0]
    return answer  # type: ignore[no-any-return]


CLASSES = (BlendsetSnapshotEngine,)

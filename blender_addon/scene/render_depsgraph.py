# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene as the renderer gets it: render visibility, render subdivision levels, all instances.

Python can only ask for the viewport's evaluation, which differs in all three. A render engine is handed the real
one, so we are one for the length of a call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import bpy

from .layers import render_only
from .overrides import Overrides

Result = TypeVar("Result")


class BlendsetSnapshotEngine(bpy.types.RenderEngine):
    """Renders nothing; calls `function` with the render depsgraph."""

    bl_idname = "BLENDSET_SNAPSHOT"
    bl_label = "Blendset snapshot"
    bl_use_preview = False
    function: Callable[[bpy.types.Depsgraph], object] | None = None
    results: list[object] = []
    errors: list[Exception] = []

    def render(self, depsgraph: bpy.types.Depsgraph) -> None:
        """Call the function with the render depsgraph, and keep its result or its error; Blender calls this."""
        kind = type(self)
        if kind.function is None:
            return
        try:
            kind.results.append(kind.function(depsgraph))
        except Exception as error:  # noqa: BLE001 - Blender would print it and go on
            kind.errors.append(error)


def call_with_render_depsgraph(
    scene: bpy.types.Scene, layer: str, function: Callable[[bpy.types.Depsgraph], Result]
) -> Result:
    """Call `function` with the render depsgraph of a view layer and return what it returns; it must keep no reference
    into Blender's data."""
    kind = BlendsetSnapshotEngine
    kind.results, kind.errors, kind.function = [], [], staticmethod(function)
    render = scene.render
    last_render: Any = bpy.data.images.get("Render Result")
    try:
        with Overrides() as overrides:
            if last_render is not None:  # the picture that the user rendered last stays in its slot
                overrides.set(last_render.render_slots, "active_index", len(last_render.render_slots) - 1)
            overrides.set(render, "engine", kind.bl_idname)
            render_only(scene, layer, overrides)
            for name in ("use_compositing", "use_sequencer", "use_border", "use_multiview", "use_freestyle"):
                overrides.set(render, name, False)
            overrides.set(render, "resolution_x", 8)
            overrides.set(render, "resolution_y", 8)
            overrides.set(render, "resolution_percentage", 100)
            overrides.set(render, "use_motion_blur", False)
            _evaluate_all_cameras(overrides.add_camera(scene), scene)
            with _leave_viewport_alone(scene):
                bpy.ops.render.render(scene=scene.name, layer=layer)
    finally:
        kind.function = None
    if kind.errors:
        raise kind.errors[0]
    if not kind.results:
        raise RuntimeError("Blender evaluated no view layer for rendering")
    result: Any = kind.results[0]
    return result  # type: ignore[no-any-return]


@contextmanager
def _leave_viewport_alone(scene: bpy.types.Scene) -> Iterator[None]:
    """Keep an operator from evaluating a scene for its viewport as well, which without a window nobody looks at: it
    brings the view layer of its context up to date, and here that is one of an empty scene at the same frame."""
    if not bpy.app.background:
        yield
        return
    empty = bpy.data.scenes.new("Blendset empty")
    empty.frame_current, empty.frame_subframe = scene.frame_current, scene.frame_subframe
    try:
        with bpy.context.temp_override(scene=empty, view_layer=empty.view_layers[0]):
            yield
    finally:
        bpy.data.scenes.remove(empty)


def _evaluate_all_cameras(watcher: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Have Blender evaluate hidden and excluded cameras too, which it leaves out: a driver of the watcher, a camera of
    ours, reads the pose and the lens of each."""
    driver = watcher.driver_add("pass_index").driver
    driver.type = "SUM"
    for holder in scene.objects:
        if holder.type == "CAMERA" and holder is not watcher:
            driver.variables.new().targets[0].id = holder
            driver.variables[-1].type = "TRANSFORMS"
            lens = driver.variables.new().targets[0]
            lens.id_type, lens.id, lens.data_path = "CAMERA", holder.data, "lens"


CLASSES = (BlendsetSnapshotEngine,)

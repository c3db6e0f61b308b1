# SPDX-License-Identifier: GPL-3.0-or-later
"""View layers: which one renders, and what it shows to cameras."""

from __future__ import annotations

from collections.abc import Collection

import bpy

from blendset.errors import BlendsetError
from blendset.naming import join_names

from .overrides import Overrides

LISTED = 5
"""Most of the things that cameras do not see that the note names."""


def find_rendered_layer(scene: bpy.types.Scene, name: str = "") -> str:
    """The view layer of that name, or else the first that is switched on for rendering; raises BlendsetError where the
    scene has none of that name."""
    if name and name not in scene.view_layers:
        raise BlendsetError(
            f"Scene '{scene.name}' has no view layer '{name}'; it has {', '.join(scene.view_layers.keys())}."
        )
    return name or next((layer.name for layer in scene.view_layers if layer.use), scene.view_layers[0].name)


def list_other_layers(scene: bpy.types.Scene, layer: str) -> list[str]:
    """The other view layers that are switched on for rendering, and that this run does not render."""
    return [each.name for each in scene.view_layers if each.use and each.name != layer]


def render_only(scene: bpy.types.Scene, layer: str, overrides: Overrides) -> None:
    """Have renders take this view layer alone, switched on or not: without a window, the operator's own argument does
    not keep Blender from rendering all that are switched on."""
    for each in scene.view_layers:
        overrides.set(each, "use", each.name == layer)


def describe_layers(scene: bpy.types.Scene, layer: str) -> list[str]:
    """A note on what is not rendered where a scene has several view layers."""
    others = list_other_layers(scene, layer)
    if not others:
        return []
    return [f"view layers: rendered: {layer}; not rendered: {', '.join(others)}; --view-layer chooses one"]


def is_seen_by_cameras(instance: bpy.types.DepsgraphObjectInstance, layer: bpy.types.ViewLayer) -> bool:
    """Whether Cycles shows an object or instance to cameras: not what only shades, lights or reflects. An instance
    goes by its instancer too."""
    thing = instance.object
    holder = instance.parent if instance.is_instance and instance.parent else thing
    only_indirect = holder.original.indirect_only_get(view_layer=layer)
    return bool(thing.visible_camera and holder.visible_camera and not only_indirect)


def describe_unseen(names: Collection[str]) -> list[str]:
    """A note on things that render and that no camera sees."""
    if not names:
        return []
    return [f"not seen by cameras (indirect only, or camera rays off): {join_names(sorted(names), LISTED)}"]

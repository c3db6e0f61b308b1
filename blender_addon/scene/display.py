# SPDX-License-Identifier: GPL-3.0-or-later
"""The display that pictures are made for: sRGB, whatever the artist's screen is."""

from __future__ import annotations

import bpy

from blendset.errors import BlendsetError

from .overrides import Overrides

SRGB_DISPLAYS = ("sRGB", "sRGB - Display")
"""What Blender's own colour management, and that of ACES, call an sRGB display."""
DATA = {"Raw", "False Color", "Filmic Log"}
"""View transforms that show data, such as exposure, and not a picture."""


def use_srgb_display(scene: bpy.types.Scene, overrides: Overrides) -> list[str]:
    """Show a scene on an sRGB display until the overrides end, with its own view transform and look where that display
    has them; return what a person should know. Raises BlendsetError where there is no such display."""
    display, view = scene.display_settings, scene.view_settings
    device, transform, look = display.display_device, view.view_transform, view.look
    data = f"its view transform {transform} shows data; choose Standard or AgX for pictures"
    notes = [data] if transform in DATA else []
    if "srgb" in f"{device} {transform}".lower():  # ACES has it as a view transform
        return notes
    overrides.restore_on_exit(view, "look", "view_transform")
    if not any(_has_set_display(scene, name, overrides) for name in SRGB_DISPLAYS):
        raise BlendsetError(
            f"The colour management of this Blender has no sRGB display, only such as {device}; unset the variable "
            "OCIO to use Blender's own."
        )
    lost = [name for name, now in ((transform, view.view_transform), (look, view.look)) if name != now]
    instead = f", with the view transform {view.view_transform} in place of {' and '.join(lost)}" if lost else ""
    return [*notes, f"its display device is {device}: pictures are rendered for sRGB{instead}"]


def _has_set_display(scene: bpy.types.Scene, name: str, overrides: Overrides) -> bool:
    """Choose a display device by name; False where there is none of that name."""
    try:
        overrides.set(scene.display_settings, "display_device", name)
    except TypeError:
        return False
    return True

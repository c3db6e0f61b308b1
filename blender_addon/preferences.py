# SPDX-License-Identifier: GPL-3.0-or-later
"""What belongs to the machine and not to a scene: the device, how many children, where datasets go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import bpy

from blendset.config import DEVICES, Config


class BLENDSET_AP_preferences(bpy.types.AddonPreferences):
    """Blendset's page in Blender's preferences."""

    bl_idname = __package__ or "blendset"

    device: bpy.props.EnumProperty(
        name="Device",
        description="What renders, where a scene's own setting is 'auto'",
        items=[(device, device, "") for device in DEVICES],
    )
    workers: bpy.props.IntProperty(
        name="Children", description="Blenders that render at once, where a scene asks for one", default=1, min=1
    )
    out: bpy.props.StringProperty(
        name="Datasets",
        description="Folder for new datasets; '//' is beside the .blend file",
        subtype="DIR_PATH",
        default="//dataset",
    )

    def draw(self, context: bpy.types.Context) -> None:
        column = self.layout.column()
        column.use_property_split = True
        for name in ("device", "workers", "out"):
            column.prop(self, name)


def get_preferences() -> Any:
    """The add-on's preferences; None in a Blender that never enabled it as an extension."""
    addon: Any = bpy.context.preferences.addons.get(__package__ or "")
    return addon.preferences if addon else None


def apply_preferences(config: Config) -> Config:
    """A scene's configuration with what the machine decides where the scene does not."""
    chosen = get_preferences()
    if chosen is None:
        return config
    if config.render.device == "auto":
        config = replace(config, render=replace(config.render, device=chosen.device))
    if config.jobs.workers == 1:
        config = replace(config, jobs=replace(config.jobs, workers=chosen.workers))
    return config


CLASSES = (BLENDSET_AP_preferences,)

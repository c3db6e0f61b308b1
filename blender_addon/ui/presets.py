# SPDX-License-Identifier: GPL-3.0-or-later
"""Presets of all settings, through Blender's own preset system."""

from __future__ import annotations

import bpy
from bl_operators.presets import AddPresetBase
from bl_ui.utils import PresetPanel

from ..properties import list_option_paths

SUBDIR = "blendset"


class BLENDSET_PT_presets(PresetPanel, bpy.types.Panel):
    """The menu of presets."""

    bl_label = "Blendset Presets"
    preset_subdir = SUBDIR
    preset_operator = "script.execute_preset"
    preset_add_operator = "blendset.preset_add"


class BLENDSET_OT_preset_add(AddPresetBase, bpy.types.Operator):
    """Keep these settings as a preset, or remove one"""

    bl_idname = "blendset.preset_add"
    bl_label = "Add Blendset Preset"
    preset_menu = "BLENDSET_PT_presets"
    preset_subdir = SUBDIR
    preset_defines = ["settings = bpy.context.scene.blendset"]
    preset_values = [f"settings.{path}" for path in list_option_paths()]


CLASSES = (BLENDSET_PT_presets, BLENDSET_OT_preset_add)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Blendset for Blender: what registers, and nothing else."""

from __future__ import annotations

import bpy

from . import command, jobs, manual, planning, preferences, properties, translations
from .operators import dataset, rendering, subjects, views
from .operators import planning as planning_operators
from .scene import render_depsgraph
from .ui import overlay, panels, presets, rows

_register_classes, _unregister_classes = bpy.utils.register_classes_factory(
    (
        *render_depsgraph.CLASSES,
        *preferences.CLASSES,
        *properties.CLASSES,
        *rows.CLASSES,
        *planning_operators.CLASSES,
        *subjects.CLASSES,
        *views.CLASSES,
        *rendering.CLASSES,
        *dataset.CLASSES,
        *presets.CLASSES,
        *panels.CLASSES,
    )
)


def register() -> None:
    """Called by Blender when the extension is enabled."""
    _register_classes()
    for module in (translations, properties, planning, rows, overlay, command, manual):
        module.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    for module in (manual, command, overlay, jobs, rows, planning, properties, translations):
        module.unregister()
    _unregister_classes()

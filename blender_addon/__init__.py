# SPDX-License-Identifier: GPL-3.0-or-later
"""Blendset for Blender: what registers, and nothing else."""

from __future__ import annotations

import bpy

from . import command, handlers, jobs, manual, preferences, properties, state, translations
from .operators import dataset, planning, rendering, subjects, views
from .scene import render_depsgraph
from .ui import overlay, panels, presets

_register_classes, _unregister_classes = bpy.utils.register_classes_factory(
    (
        *render_depsgraph.CLASSES,
        *preferences.CLASSES,
        *properties.CLASSES,
        *state.CLASSES,
        *planning.CLASSES,
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
    for module in (translations, properties, state, handlers, overlay, command, manual):
        module.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    for module in (manual, command, overlay, jobs, handlers, state, properties, translations):
        module.unregister()
    _unregister_classes()

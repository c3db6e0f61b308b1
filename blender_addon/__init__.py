# SPDX-License-Identifier: GPL-3.0-or-later
"""Blendset for Blender: what registers, and nothing else."""

from __future__ import annotations

import bpy

from . import command
from .scene import render_depsgraph

_register_classes, _unregister_classes = bpy.utils.register_classes_factory(render_depsgraph.CLASSES)


def register() -> None:
    """Called by Blender when the extension is enabled."""
    _register_classes()
    command.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    command.unregister()
    _unregister_classes()

# SPDX-License-Identifier: GPL-3.0-or-later
"""F1 and "Online Manual" on every button open the artist's guide, which the add-on carries."""

from __future__ import annotations

from pathlib import Path

import bpy

GUIDE = Path(__file__).resolve().parent / "manual" / "index.html"


def _make_manual_map() -> tuple[str, tuple[tuple[str, str], ...]]:
    return GUIDE.parent.as_uri() + "/", (("bpy.ops.blendset*", GUIDE.name), ("bpy.types.blendset*", GUIDE.name))


def register() -> None:
    """Tell Blender where the guide is."""
    bpy.utils.register_manual_map(_make_manual_map)


def unregister() -> None:
    """Take it back."""
    bpy.utils.unregister_manual_map(_make_manual_map)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that differs between the versions of Blender that Blendset runs in: 4.2 and newer."""

from __future__ import annotations

from typing import Any

import bpy

Version = tuple[int, int, int]

USE_SAMPLE_SUBSET_SINCE: Version = (4, 4, 0)
"""Cycles can render a subset of its samples."""
IMAGE_FORMAT_SINCE: dict[str, Version] = {"media_type": (5, 0, 0), "use_exr_interleave": (5, 0, 0)}
"""Attributes of `ImageFormatSettings` that older versions do not have."""
GREASE_PENCIL_TYPES = frozenset({"GREASEPENCIL", "GPENCIL"})
"""Types of grease pencil objects: 4.3 made them anew under the first name."""


def is_at_least(version: Version) -> bool:
    """Whether this Blender is of this version or newer."""
    return bpy.app.version >= version


OBJECT_INDEX_PASS = "Object Index" if is_at_least((5, 0, 0)) else "IndexOB"
"""The pass with objects' `pass_index` in a multilayer EXR file."""


def enable_nodes(world: bpy.types.World) -> None:
    """Give a world its node tree. Since 5.0 every world has one, and setting `use_nodes` warns."""
    if not is_at_least((5, 0, 0)):
        world.use_nodes = True


def has_nodes(owner: Any) -> bool:
    """Whether nodes decide what a material, world or light gives. Where they always do, for lights since 5.2 and for
    the others since 5.0, asking for `use_nodes` warns."""
    always = is_at_least((5, 2, 0) if isinstance(owner, bpy.types.Light) else (5, 0, 0))
    return owner.node_tree is not None and (always or owner.use_nodes)


def has_unsaved_changes() -> bool:
    """Whether the window holds what the file does not. Without a window this is False: only 5.2 could tell there."""
    return bpy.data.is_dirty and not bpy.app.background

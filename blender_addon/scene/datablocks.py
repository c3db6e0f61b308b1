# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that the open file holds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import bpy


def iterate_datablocks() -> Iterator[Any]:
    """Yield every datablock, a kind at a time; a kind is listed before its first one is given out."""
    for kind in bpy.data.bl_rna.properties:
        if kind.type == "COLLECTION" and kind.identifier != "all_ids":
            yield from list(getattr(bpy.data, kind.identifier))


def iterate_drivers() -> Iterator[tuple[bpy.types.ID, bpy.types.FCurve]]:
    """Yield all drivers of the file, those of node trees too, each with the datablock that it drives."""
    for owner in iterate_datablocks():
        for holder in (owner, getattr(owner, "node_tree", None)):
            animation = getattr(holder, "animation_data", None)
            for curve in animation.drivers if animation else ():
                yield owner, curve

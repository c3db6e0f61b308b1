# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers that need Python, which is off in a file of a stranger: what they drive stands where it should not."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

LISTED = 5
"""Most of the driven properties that the note names."""


def describe_blocked_drivers() -> list[str]:
    """A note on the drivers that Blender did not run because scripts are off; none where all ran."""
    if not bpy.app.autoexec_fail:
        return []
    driven = [f"{owner.name}: {_describe_property(curve)}" for owner, curve in _iterate_drivers() if _is_blocked(curve)]
    if not driven:
        return []
    more = f", and {len(driven) - LISTED} more" if len(driven) > LISTED else ""
    what = "1 driver needs" if len(driven) == 1 else f"{len(driven)} drivers need"
    return [
        f"{what} Python, which is off, so these stand at other values: {', '.join(driven[:LISTED])}{more}; "
        "bake the drivers in Blender, if the file is to be trusted"
    ]


def _iterate_drivers() -> Iterator[tuple[bpy.types.ID, bpy.types.FCurve]]:
    """All drivers of the file, each with the datablock that it drives."""
    for kind in bpy.data.bl_rna.properties:
        if kind.type == "COLLECTION" and kind.identifier != "all_ids":
            for owner in getattr(bpy.data, kind.identifier):
                for holder in (owner, getattr(owner, "node_tree", None)):
                    animation = getattr(holder, "animation_data", None)
                    for curve in animation.drivers if animation else ():
                        yield owner, curve


def _is_blocked(curve: bpy.types.FCurve) -> bool:
    """Whether Blender tried a driver and could not compute it without Python."""
    driver = curve.driver
    return driver.type == "SCRIPTED" and not driver.is_simple_expression and not driver.is_valid and not curve.mute


def _describe_property(curve: bpy.types.FCurve) -> str:
    """A driven property as a person reads it: "location z"."""
    path, _, name = curve.data_path.rpartition(".")
    vector = name in {"location", "scale", "rotation_euler"} and curve.array_index < 3
    return f"{path + '.' if path else ''}{name}{' ' + 'xyz'[curve.array_index] if vector else ''}"

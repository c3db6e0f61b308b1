# SPDX-License-Identifier: GPL-3.0-or-later
"""Drivers that need Python, which is off in a file of a stranger: what they drive stands where it should not."""

from __future__ import annotations

import bpy

from blendset.naming import join_names

from .datablocks import iterate_drivers

LISTED = 5
"""Most of the driven properties that the note names."""


def describe_blocked_drivers() -> list[str]:
    """A note on the drivers that Blender did not run because scripts are off; none where all ran."""
    if not bpy.app.autoexec_fail:
        return []
    driven = [f"{owner.name}: {_describe_property(curve)}" for owner, curve in iterate_drivers() if _is_blocked(curve)]
    if not driven:
        return []
    what = "1 driver needs" if len(driven) == 1 else f"{len(driven)} drivers need"
    return [
        f"{what} Python, which is off, so these stand at other values: {join_names(driven, LISTED)}; "
        "bake the drivers in Blender, if the file is to be trusted"
    ]


def _is_blocked(curve: bpy.types.FCurve) -> bool:
    """Whether Blender tried a driver and could not compute it without Python."""
    driver = curve.driver
    return driver.type == "SCRIPTED" and not driver.is_simple_expression and not driver.is_valid and not curve.mute


def _describe_property(curve: bpy.types.FCurve) -> str:
    """A driven property as a person reads it: "location z"."""
    path, _, name = curve.data_path.rpartition(".")
    vector = name in {"location", "scale", "rotation_euler"} and curve.array_index < 3
    return f"{path + '.' if path else ''}{name}{' ' + 'xyz'[curve.array_index] if vector else ''}"

# SPDX-License-Identifier: Apache-2.0
"""Numbers at the border: unit systems, places far from the origin, displays, and names that are no text."""

from __future__ import annotations

import bpy
import pytest

from tests.addon.runs import import_addon


@pytest.mark.parametrize(
    ("system", "scale", "metres"), [("NONE", 0.01, 1.0), ("METRIC", 0.01, 0.01), ("IMPERIAL", 0.3048, 0.3048)]
)
def test_a_scale_counts_only_where_there_are_units(system: str, scale: float, metres: float) -> None:
    """Without a unit system Blender ignores the scale that the file still holds."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.unit_settings.system, scene.unit_settings.scale_length = system, scale
    opened = import_addon("scene.snapshot").open_scene(scene, scene.view_layers[0].name)
    assert opened.snapshot.metres_per_unit == pytest.approx(metres)

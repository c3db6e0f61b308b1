# SPDX-License-Identifier: Apache-2.0
"""Overrides know which Blender brings an attribute, and take everything back; what compat.py says is true here."""

from __future__ import annotations

from typing import Any

import bpy
import pytest

from tests.addon.runs import import_addon

compat = import_addon("compat")
NEXT = (bpy.app.version[0] + 1, 0, 0)


def make_overrides() -> Any:
    """Overrides, to be used as a context manager."""
    return import_addon("scene.overrides").Overrides()


def test_an_attribute_that_no_blender_has_is_an_error() -> None:
    """A misspelled name would else be passed over, and the picture spoiled; what was set before is taken back."""
    render = bpy.context.scene.render
    before = render.resolution_percentage
    with pytest.raises(AttributeError, match="use_motion_blurr"), make_overrides() as changes:
        changes.set(render, "resolution_percentage", 37)
        assert render.resolution_percentage == 37
        changes.set(render, "use_motion_blurr", False)
    assert render.resolution_percentage == before


def test_an_attribute_of_a_later_blender_is_passed_over() -> None:
    render = bpy.context.scene.render
    with make_overrides() as changes:
        changes.set(render, "use_telepathy", True, since=NEXT)
        assert not hasattr(render, "use_telepathy")


def test_an_attribute_that_this_blender_ought_to_have_is_an_error() -> None:
    with pytest.raises(AttributeError, match="use_telepathy"), make_overrides() as changes:
        changes.set(bpy.context.scene.render, "use_telepathy", True, since=(4, 2, 0))


def test_an_attribute_that_came_with_a_version_is_set_and_restored() -> None:
    render = bpy.context.scene.render
    before = render.use_motion_blur
    with make_overrides() as changes:
        changes.set(render, "use_motion_blur", not before, since=bpy.app.version)
        assert render.use_motion_blur != before
    assert render.use_motion_blur == before


def test_this_blender_has_exactly_what_its_version_should() -> None:
    scene = bpy.context.scene
    assert hasattr(scene.cycles, "use_sample_subset") == compat.is_at_least(compat.USE_SAMPLE_SUBSET_SINCE)
    for name, since in compat.IMAGE_FORMAT_SINCE.items():
        assert hasattr(scene.render.image_settings, name) == compat.is_at_least(since)


def test_a_new_world_has_nodes_once_they_are_enabled() -> None:
    world = bpy.data.worlds.new("World")
    compat.enable_nodes(world)
    assert [node for node in world.node_tree.nodes if node.type == "BACKGROUND"]

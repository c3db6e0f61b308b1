# SPDX-License-Identifier: Apache-2.0
"""What counts as light in a scene, and that added light shows the form of things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blendset.placement.scene import SceneObject, Snapshot
from tests.addon import scenes
from tests.addon.runs import SMALL, import_addon, open_run, render_dataset, with_options


def make_world(colour: tuple[float, float, float] = (0.0509, 0.0509, 0.0509)) -> bpy.types.NodeTree:
    """Give the scene a world of one colour, as a new file of Blender has; returns its nodes."""
    world = bpy.data.worlds.new("World")
    import_addon("compat").enable_nodes(world)
    bpy.context.scene.world = world
    find_background(world.node_tree).inputs["Color"].default_value = (*colour, 1.0)
    return world.node_tree


def find_background(tree: bpy.types.NodeTree) -> Any:
    return next(node for node in tree.nodes if node.type == "BACKGROUND")


def add_lamp(energy: float, position: tuple[float, float, float] = (3.0, -3.0, 5.0)) -> bpy.types.Object:
    lamp = bpy.data.objects.new("Lamp", bpy.data.lights.new("Lamp", "POINT"))
    lamp.data.energy, lamp.location = energy, position
    bpy.context.scene.collection.objects.link(lamp)
    return lamp


def add_excluded_lamp() -> None:
    lamp, group = add_lamp(1000), bpy.data.collections.new("Lights")
    bpy.context.scene.collection.children.link(group)
    bpy.context.scene.collection.objects.unlink(lamp)
    group.objects.link(lamp)
    bpy.context.view_layer.layer_collection.children["Lights"].exclude = True


def add_gradient() -> None:
    tree = make_world()
    texture = tree.nodes.new("ShaderNodeTexGradient")
    tree.links.new(texture.outputs["Color"], find_background(tree).inputs["Color"])


def add_unused_texture() -> None:
    make_world().nodes.new("ShaderNodeTexGradient")


LIGHTS: dict[str, tuple[Callable[[], object], bool]] = {
    "the grey world of a new file": (make_world, False),
    "a bright plain world": (lambda: make_world((1.0, 1.0, 1.0)), False),
    "a texture that the world does not use": (add_unused_texture, False),
    "a gradient": (add_gradient, True),
    "a lamp beside a grey world": (lambda: (make_world(), add_lamp(1000)), True),
    "a weak lamp far away": (lambda: (make_world(), add_lamp(10, (80.0, 0.0, 40.0))), False),
    "a lamp that is off": (lambda: add_lamp(0), False),
    "a lamp that does not render": (lambda: setattr(add_lamp(1000), "hide_render", True), False),
    "a lamp in an excluded collection": (add_excluded_lamp, False),
    "a lamp alone": (lambda: add_lamp(1000), True),
}


@pytest.mark.parametrize("name", LIGHTS)
def test_light_from_everywhere_is_none_and_lamps_count_as_they_render(name: str, tmp_path: Path) -> None:
    build, expected = LIGHTS[name]
    scenes.no_light(tmp_path / "stage.blend")
    build()
    scene, layer = bpy.context.scene, bpy.context.view_layer.name
    opened = import_addon("scene.snapshot").open_scene(scene, layer)
    lighting = import_addon("planning.lighting")
    assert lighting.has_light(scene, opened, roofed=False) is expected
    assert lighting.is_dark(scene, opened) is (scene.world is None and not expected)


def test_an_untextured_block_of_houses_under_a_grey_world_gets_light_and_views(tmp_path: Path) -> None:
    scenes.grey_houses(tmp_path / "houses.blend")
    outcome = render_dataset(tmp_path / "houses.blend", tmp_path / "dataset")
    assert {view.lighting for view in outcome.views} == {"sky"}
    assert len(outcome.views) == SMALL.cameras.views and not any(view.failed_checks for view in outcome.views)


def test_no_preview_is_spent_where_nothing_gives_light(tmp_path: Path) -> None:
    scenes.no_light(tmp_path / "dark.blend")
    config = with_options(SMALL, "cameras", preset="random", views=2)
    with open_run(tmp_path / "dark.blend", tmp_path / "dataset", config) as (run, _):
        run.plan(previews=True)
        assert any("every view will be black" in note for note in run.planner._notes)


def make_block(turn_deg: float) -> Snapshot:
    """A box of 2 x 2 x 4 without top and bottom, turned about its upright axis."""
    turn = np.radians(turn_deg + np.array([45, 135, 225, 315]))
    ring = np.stack([np.cos(turn), np.sin(turn)], axis=1) * 2**0.5
    vertices = np.concatenate([np.c_[ring, np.zeros(4)], np.c_[ring, np.full(4, 4.0)]])
    sides = [(k, (k + 1) % 4) for k in range(4)]
    triangles = np.array([corner for a, b in sides for corner in ((a, b, b + 4), (a, b + 4, a + 4))], np.int32)
    only = SceneObject(1, "Block", "", "", (), "Block", (0, len(triangles)))
    return Snapshot((only,), vertices, triangles, np.full(len(triangles), 0.8, np.float32))


@pytest.mark.parametrize("turn_deg", [0.0, 20.0, 45.0])
def test_the_sun_lights_two_walls_of_a_house_differently(turn_deg: float) -> None:
    block = make_block(turn_deg)
    sun = import_addon("render.sunlight").choose_sun_direction(block)
    assert np.linalg.norm(sun) == pytest.approx(1) and sun[2] > 0.5
    shades = np.sort(np.maximum(block.normals[::2] @ sun, 0))[::-1]
    assert shades[0] > 1.5 * shades[1] > 0.1 and shades[2] == shades[3] == 0

# SPDX-License-Identifier: Apache-2.0
"""Builds a small furnished living room, lit by a window and three lamps, and saves it: the scene of `make demo`.

python demo/room.py OUT.blend                       with a Python that has bpy
blender -b --python demo/room.py -- OUT.blend       with Blender, 4.2 or newer
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import bpy
from mathutils import Vector

sys.path.insert(0, str(Path(__file__).resolve().parent))  # Blender runs a script without its folder on the path

import finishes
import furniture
from shapes import Point, link_to_scene, make_box, make_collection, make_instance, make_piece, mirror

WIDTH, DEPTH, HEIGHT = 6.0, 4.9, 2.7
WALL = 0.2
WINDOW = (1.75, 3.55, 0.75, 2.3)  # from y, to y, from z, to z, in the left wall
DOOR_X = 4.4


def main(out: Path) -> None:
    """Builds the room in an empty file and saves it at `out`."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    build_shell()
    furnish_room()
    add_lights()
    set_camera_and_render()
    out.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(out.resolve()), compress=True, check_existing=False)


def build_shell() -> None:
    """Floor, ceiling, walls and skirting; no labels, for nobody photographs a wall for its own sake."""
    low_y, high_y, low_z, high_z = WINDOW
    for name, (finish, start, end) in {
        "floor": ("oak planks", (-WALL, -WALL, -WALL), (WIDTH + WALL, DEPTH + WALL, 0)),
        "ceiling": ("ceiling white", (-WALL, -WALL, HEIGHT), (WIDTH + WALL, DEPTH + WALL, HEIGHT + WALL)),
        "back wall": ("sage plaster", (-WALL, DEPTH, 0), (WIDTH + WALL, DEPTH + WALL, HEIGHT)),
        "front wall": ("plaster", (-WALL, -WALL, 0), (WIDTH + WALL, 0, HEIGHT)),
        "right wall": ("plaster", (WIDTH, 0, 0), (WIDTH + WALL, DEPTH, HEIGHT)),
        "wall before window": ("plaster", (-WALL, 0, 0), (0, low_y, HEIGHT)),
        "wall behind window": ("plaster", (-WALL, high_y, 0), (0, DEPTH, HEIGHT)),
        "wall below window": ("plaster", (-WALL, low_y, 0), (0, high_y, low_z)),
        "wall above window": ("plaster", (-WALL, low_y, high_z), (0, high_y, HEIGHT)),
        "back skirting": ("white lacquer", (0, DEPTH - 0.018, 0), (WIDTH, DEPTH, 0.1)),
        "right skirting": ("white lacquer", (WIDTH - 0.018, 0, 0), (WIDTH, DEPTH, 0.1)),
        "left skirting": ("white lacquer", (0, 0, 0), (0.018, DEPTH, 0.1)),
        "front skirting": ("white lacquer", (0, 0, 0), (DOOR_X - 0.52, 0.018, 0.1)),
        "corner skirting": ("white lacquer", (DOOR_X + 0.52, 0, 0), (WIDTH, 0.018, 0.1)),
    }.items():
        slab = _make_slab(start, end, finish)
        slab.name = name
        bpy.context.scene.collection.objects.link(slab)
    make_piece("window", _add_window_frame(), (0, (low_y + high_y) / 2, low_z), 90)


def _make_slab(start: Point, end: Point, finish: str) -> bpy.types.Object:
    """A block from one corner to the other."""
    x, y, z = ((low + high) / 2 for low, high in zip(start, end, strict=True))
    width, depth, height = (high - low for low, high in zip(start, end, strict=True))
    return make_box((width, depth, height), (x, y, z), finish, 0.001)


def _add_window_frame() -> list[bpy.types.Object]:
    low_y, high_y, low_z, high_z = WINDOW
    width, height = high_y - low_y, high_z - low_z
    frame, sill, out = "white lacquer", 0.035, 0.14
    return [
        mirror(make_box((0.06, 0.07, height - sill), (width / 2 - 0.03, out, (height + sill) / 2), frame, 0.005)),
        make_box((0.05, 0.06, height - sill), (0, out, (height + sill) / 2), frame, 0.005),
        make_box((width - 0.12, 0.07, 0.06), (0, out, height - 0.03), frame, 0.005),
        make_box((width - 0.12, 0.07, 0.06), (0, out, sill + 0.03), frame, 0.005),
        make_box((width - 0.12, 0.05, 0.035), (0, out, 0.72 * height), frame, 0.005),
        make_box((width, 0.25, sill), (0, 0.075, sill / 2), frame, 0.008),
    ]


def furnish_room() -> None:
    """Every piece in its place; positions are metres from the room's left front corner, headings in degrees."""
    books = furniture.make_book_designs()
    _furnish_sitting_corner()
    _furnish_dining_corner()
    _furnish_right_wall()
    make_piece("bookshelf", furniture.make_bookshelf(books), (4.85, DEPTH - 0.18, 0))
    make_piece("book stack", furniture.make_book_stack(books), (2.5, 2.72, 0.4325), 25)
    make_piece(
        "curtain", furniture.make_curtains(WINDOW[1] - WINDOW[0], 2.42), (0.1, (WINDOW[0] + WINDOW[1]) / 2, 2.45), 90
    )
    make_piece("telescope", furniture.make_telescope(), (0.62, 2.95, 0), -80)
    make_piece("cactus", furniture.make_cactus(), (-0.015, 2.0, WINDOW[2] + 0.035), 60)
    make_piece("door", furniture.make_door(), (DOOR_X, 0, 0), 180)
    make_piece("wall clock", furniture.make_wall_clock(), (3.3, 0, 1.95), 180)
    make_piece("poster", furniture.make_poster(0.6, 0.85), (1.5, 0, 1.5), 180)


def _furnish_sitting_corner() -> None:
    make_piece("rug", furniture.make_rug(2.4, 1.7), (2.35, 2.95, 0))
    make_piece("sofa", furniture.make_sofa(), (2.25, 4.3, 0))
    make_piece("painting", furniture.make_painting(1.15, 0.8), (2.25, DEPTH, 1.62))
    make_piece("potted plant", furniture.make_potted_plant(), (0.55, 4.3, 0), 15)
    make_piece("floor lamp", furniture.make_floor_lamp(), (3.78, 4.42, 0))
    make_piece("coffee table", furniture.make_coffee_table(), (2.3, 2.95, 0.012))
    make_piece("flower vase", furniture.make_flower_vase(), (2.2, 3.1, 0.432))
    make_piece("teapot", furniture.make_teapot(), (2.12, 2.78, 0.432), -150)
    make_piece("armchair", furniture.make_armchair(), (4.14, 2.9, 0), -68)
    make_piece("side table", furniture.make_side_table(), (4.5, 3.72, 0))
    make_piece("mug", furniture.make_mug(), (4.45, 3.68, 0.515), 160)
    make_piece("pouf", furniture.make_pouf(), (2.85, 1.78, 0))
    make_piece("yarn basket", furniture.make_yarn_basket(), (3.88, 3.72, 0), 20)


def _furnish_dining_corner() -> None:
    make_piece("dining table", furniture.make_dining_table(), (1.6, 1.05, 0))
    make_piece("fruit bowl", furniture.make_fruit_bowl(), (1.62, 1.1, 0.73))
    make_piece("pendant lamp", furniture.make_pendant_lamp(1.05), (1.6, 1.05, HEIGHT))
    chair = make_collection("dining chair", furniture.make_dining_chair())
    for turn in (20, 118, 205, 300):
        angle = math.radians(turn)
        at = (1.6 + 0.72 * math.sin(angle), 1.05 + 0.72 * math.cos(angle), 0.0)
        link_to_scene(make_instance(chair, at, -turn), "dining chair")


def _furnish_right_wall() -> None:
    x = WIDTH - 0.25
    make_piece("sideboard", furniture.make_sideboard(), (x, 2.3, 0), 270)
    make_piece("wall mirror", furniture.make_wall_mirror(), (WIDTH, 2.3, 1.55), 270)
    make_piece("table lamp", furniture.make_table_lamp(), (x, 1.72, 0.7), 270)
    make_piece("record player", furniture.make_record_player(), (x, 2.28, 0.7), 270)
    make_piece("globe", furniture.make_desk_globe(), (x, 2.88, 0.7), 200)


def add_lights() -> None:
    """A low sun and a pale sky through the window; the lamps came with their pieces."""
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy, sun.angle, sun.color = 14.0, math.radians(1.2), (1.0, 0.86, 0.68)
    _link_aimed(bpy.data.objects.new("sun", sun), (-3.0, 2.0, 2.9), (2.0, 2.95, 0.3))
    low_y, high_y, low_z, high_z = WINDOW
    pane = bpy.data.lights.new("window light", "AREA")
    pane.shape, pane.size, pane.size_y = "RECTANGLE", high_y - low_y, high_z - low_z
    pane.energy, pane.color = 120.0, (0.78, 0.88, 1.0)
    window = (low_y + high_y) / 2, (low_z + high_z) / 2
    glow = _link_aimed(bpy.data.objects.new("window light", pane), (-0.24, *window), (3.0, *window))
    glow.visible_camera = glow.visible_glossy = False  # the sky itself is what one sees
    world = bpy.context.scene.world = finishes.make_sky()
    world.cycles.sampling_method, world.cycles.sample_map_resolution = "MANUAL", 256  # a gradient needs no finer map


def set_camera_and_render() -> None:
    """The artist's camera and render settings, modest enough for two cores."""
    scene = bpy.context.scene
    lens = bpy.data.cameras.new("camera")
    lens.lens, lens.clip_start = 22.0, 0.05
    scene.camera = _link_aimed(bpy.data.objects.new("camera", lens), (5.45, 0.35, 1.5), (2.0, 3.2, 0.92))
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.use_adaptive_sampling, scene.cycles.use_denoising = 32, True, True
    scene.cycles.max_bounces, scene.cycles.diffuse_bounces, scene.cycles.sample_clamp_indirect = 8, 4, 6.0
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 960, 640, 100
    scene.view_settings.view_transform = "AgX"
    scene.view_settings.look = "AgX - Medium High Contrast"
    scene.view_settings.exposure = 0.6
    scene.unit_settings.system, scene.unit_settings.scale_length = "METRIC", 1.0


def _link_aimed(thing: bpy.types.Object, eye: Point, target: Point) -> bpy.types.Object:
    """The light or camera in the scene, at `eye` and pointing at `target`."""
    thing.location = eye
    thing.rotation_euler = (Vector(target) - Vector(eye)).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(thing)
    return thing


if __name__ == "__main__":
    arguments = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    if len(arguments) != 1:
        sys.exit("usage: python demo/room.py OUT.blend")
    main(Path(arguments[0]))

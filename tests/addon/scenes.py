# SPDX-License-Identifier: Apache-2.0
"""The untidy scenes that strangers make, each built by a small function that saves it and returns what is true of it.

"subjects" in the returned facts maps the names of things worth photographing to where they stand, in Blender units.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import bmesh
import bpy
from mathutils import Matrix

Facts = dict[str, Any]
Point = tuple[float, float, float]

FIVE = bpy.app.version >= (5, 0, 0)
AWKWARD_NAMES = ("with spaces.blend", "ünïcödé 部屋.blend", "braces {scene} {{x}}.blend", "per cent %04d #.blend")
STAGE: dict[str, tuple[Point, str, Point]] = {
    "Red Box": ((-2.0, 0.0, 0.5), "box", (0.7, 0.05, 0.04)),
    "Green Ball": ((0.0, 1.0, 0.6), "ball", (0.05, 0.5, 0.08)),
    "Blue Cone": ((2.0, 0.0, 0.6), "cone", (0.05, 0.1, 0.7)),
}


# What the file lacks.


def tidy(path: Path) -> Facts:
    """Three things on a floor with a sun and a camera: the scene that nothing is wrong with."""
    return _save(path, _build_stage())


def no_camera(path: Path) -> Facts:
    return _save(path, _build_stage(camera=False))


def no_light(path: Path) -> Facts:
    """Neither a lamp nor a world, so that every picture would be black."""
    return _save(path, _build_stage(light=False))


def grey_houses(path: Path) -> Facts:
    """Twelve boxes of one grey material on a ground of the same, under the grey world of a new file."""
    _open_empty_file()
    grey = (0.8, 0.8, 0.8)
    for index in range(12):
        at = (5.0 * (index % 4), 5.0 * (index // 4), 0.0)
        _add_thing(f"House {index:02d}", "box", at, grey).scale = (2.0, 2.5, 3.0 + index % 5)
    _add_thing("Ground", "box", (7.5, 5.0, -0.1), grey).scale = (40.0, 40.0, 0.2)
    world = bpy.data.worlds.new("World")
    if not FIVE:
        world.use_nodes = True
    bpy.context.scene.world = world
    return _save(path, {"subjects": {}})


def no_mesh(path: Path) -> Facts:
    """A camera, a sun and an empty, and nothing to look at."""
    _open_empty_file()
    _add_camera()
    _add_sun()
    _link(bpy.data.objects.new("Empty", None))
    return _save(path, {"subjects": {}})


def missing_library(path: Path) -> Facts:
    """A box linked from a library that is no longer there, beside the stage."""
    library = path.with_name("library that went away.blend")
    _open_empty_file()
    _add_thing("Linked Box", "box", (0.0, -2.0, 0.5), (0.5, 0.5, 0.5))
    _save(library, {})
    facts = _build_stage()
    bpy.ops.wm.link(filename="Linked Box", directory=str(library / "Object") + os.sep, instance_collections=False)
    _save(path, facts)
    library.unlink()
    return facts | {"missing_files": [library.name], "missing_objects": ["Linked Box"]}


def missing_textures(path: Path) -> Facts:
    """The red box's image is missing; the ball's is packed in the file and the cone's is generated."""
    facts = _build_stage()
    lost = bpy.data.images.new("Lost", 8, 8)
    packed = bpy.data.images.new("Packed", 8, 8)
    packed.pixels[0] = 1.0  # an untouched image has nothing to pack
    packed.pack()
    lost.source, lost.filepath = "FILE", str(path.parent / "textures" / "not there.png")
    for name, image in (("Red Box", lost), ("Green Ball", packed), ("Blue Cone", bpy.data.images.new("Made", 8, 8))):
        _add_texture(bpy.data.objects[name], image)
    del facts["subjects"]["Red Box"]
    return _save(path, facts | {"missing_files": ["not there.png"], "not_subjects": ["Red Box"]})


# What is in the file but not, or not fully, in the picture.


def hidden_things(path: Path) -> Facts:
    """Every way to hide an object. Cycles renders what only the viewport hides, so such things are subjects."""
    facts = _build_stage()
    near = {"Not Rendered": -3.0, "No Camera Ray": -1.0, "Monitor Off": 1.0, "Eye Shut": 3.0}
    things = {name: _add_thing(name, "box", (x, -2.0, 0.5), (0.5, 0.5, 0.5)) for name, x in near.items()}
    things["Not Rendered"].hide_render = True
    things["No Camera Ray"].visible_camera = False
    things["Monitor Off"].hide_viewport = True
    things["Eye Shut"].hide_set(True)
    for name, x in {"Excluded": -3.0, "Switched Off": -1.0}.items():
        _add_thing(name, "box", (x, -4.0, 0.5), (0.5, 0.5, 0.5), _add_collection(f"{name} Collection"))
    bpy.context.view_layer.layer_collection.children["Excluded Collection"].exclude = True
    bpy.data.collections["Switched Off Collection"].hide_render = True
    facts["subjects"] |= {name: (near[name], -2.0, 0.5) for name in ("Monitor Off", "Eye Shut")}
    return _save(path, facts | {"not_subjects": ["Not Rendered", "No Camera Ray", "Excluded", "Switched Off"]})


def holdouts(path: Path) -> Facts:
    """A holdout object, a holdout collection and a shadow catcher: they cut holes or shade, and are no subjects."""
    facts = _build_stage()
    _add_thing("Holdout", "box", (-2.0, -2.0, 0.5), (0.5, 0.5, 0.5)).is_holdout = True
    _add_thing("Shadow Catcher", "box", (0.0, -2.0, 0.5), (0.5, 0.5, 0.5)).is_shadow_catcher = True
    _add_thing("In Holdout Collection", "box", (2.0, -2.0, 0.5), (0.5, 0.5, 0.5), _add_collection("Holdouts"))
    bpy.context.view_layer.layer_collection.children["Holdouts"].holdout = True
    return _save(path, facts | {"not_subjects": ["Holdout", "Shadow Catcher", "In Holdout Collection"]})


# Geometry that is no plain mesh.


def other_kinds(path: Path) -> Facts:
    """A curve with thickness, a curve without, a text, a metaball and a volume, which the index pass never shows."""
    facts = _build_stage()
    facts["subjects"] |= {
        "Thick Curve": _link_at(_make_curve("Thick Curve", 0.1), (-3.0, -2.0, 0.5)),
        "Text": _link_at(_make_text("Text", "Blendset"), (-1.0, -2.0, 0.2)),
        "Metaball": _link_at(_make_metaball("Metaball"), (1.5, -2.0, 0.8)),
    }
    facts["subjects"]["Text"] = (-0.5, -2.0, 0.3)  # it begins at its origin
    _link(_make_volume("Volume", (3.5, -2.0, 0.6)))
    _link_at(_make_curve("Bare Curve", 0.0), (0.0, -4.0, 0.5))
    return _save(path, facts | {"not_subjects": ["Bare Curve"], "volumes": {"Volume": (3.5, -2.0, 0.6)}})


def hair_curves(path: Path) -> Facts:
    """A bald ball in a coat of 400 hair curves."""
    facts = _build_stage()
    coat = bpy.data.hair_curves.new("Coat")
    coat.add_curves([5] * 400)
    positions = [
        value for root in _iterate_sphere_points(400) for step in range(5) for value in _scale(root, 0.6 + 0.1 * step)
    ]
    coat.attributes["position"].data.foreach_set("vector", positions)
    coat.attributes.new("radius", "FLOAT", "POINT").data.foreach_set("value", [0.004] * 2000)
    coat.materials.append(_make_material("Hair", (0.3, 0.15, 0.05)))
    hair = _link(bpy.data.objects.new("Coat", coat))
    hair.location = STAGE["Green Ball"][0]
    return _save(path, facts | {"hair_of": {"Coat": "Green Ball"}})


def particles(path: Path) -> Facts:
    """Particle hair on the ball, and an emitter whose ten particles are instances of one pebble."""
    facts = _build_stage()
    hair = _add_particle_system("Green Ball", "Particle Hair", type="HAIR", count=300, hair_length=0.4)
    hair.settings.root_radius = 0.5
    pebble = _add_thing("Pebble", "ball", (5.0, 5.0, 0.2), (0.4, 0.4, 0.4))
    pebble.scale = (0.2, 0.2, 0.2)
    ground = _add_thing("Emitter", "box", (0.0, -3.0, 0.2), (0.2, 0.2, 0.2))
    ground.scale = (4.0, 1.0, 0.4)
    emitted = _add_particle_system("Emitter", "Pebbles", count=10, frame_start=1, frame_end=1, lifetime=500)
    emitted.settings.physics_type, emitted.settings.render_type = "NO", "OBJECT"
    emitted.settings.instance_object, emitted.settings.particle_size = pebble, 1.0
    return _save(path, facts | {"emitted": {"Pebble": 10}, "hair_of": {"Particle Hair": "Green Ball"}})


def modifiers(path: Path) -> Facts:
    """An array, a mirror, and two boolean cuts: one cutter is shown as wire, which still renders, one is hidden."""
    facts = _build_stage()
    _add_array(_add_thing("Array", "box", (-4.0, -2.0, 0.25), (0.8, 0.6, 0.1), size=0.5), count=3, step=1.0)
    half = _add_thing("Mirror", "box", (1.0, -2.0, 0.25), (0.1, 0.6, 0.6), size=0.5)
    half.data.transform(Matrix.Translation((0.6, 0.0, 0.0)))
    half.modifiers.new("Mirror", "MIRROR")
    for name, x in (("Cut By Wire", 3.0), ("Cut By Hidden", 5.0)):
        cutter = _add_thing(f"{name} Cutter", "box", (x + 0.4, -2.0, 0.9), (1.0, 0.0, 1.0))
        cutter.display_type, cutter.hide_render = "WIRE", "Hidden" in name
        _add_boolean(_add_thing(name, "box", (x, -2.0, 0.5), (0.4, 0.3, 0.7)), cutter)
    bounds = {"Array": ((-4.25, -2.25, 0.0), (-1.75, -1.75, 0.5)), "Mirror": ((0.15, -2.25, 0.0), (1.85, -1.75, 0.5))}
    facts["subjects"] |= {"Array": (-4.0, -2.0, 0.25), "Mirror": (1.0, -2.0, 0.25)}
    facts["subjects"] |= {"Cut By Wire": (3.0, -2.0, 0.5), "Cut By Hidden": (5.0, -2.0, 0.5)}
    return _save(path, facts | {"bounds": bounds, "not_subjects": ["Cut By Wire Cutter", "Cut By Hidden Cutter"]})


def collection_instances(path: Path) -> Facts:
    """A chair of two parts in a collection outside the scene, standing in it twice."""
    facts = _build_stage()
    chair = bpy.data.collections.new("Chair")
    chair["blendset_label"] = "chair"
    _add_thing("Seat", "box", (0.0, 0.0, 0.5), (0.6, 0.4, 0.2), chair, size=0.5)
    _add_thing("Back", "box", (0.0, 0.25, 1.0), (0.6, 0.4, 0.2), chair, size=0.5)
    positions: dict[str, Point] = {"Chair Left": (-2.0, -3.0, 0.0), "Chair Right": (2.0, -3.0, 0.0)}
    for name, position in positions.items():
        instance = _link(bpy.data.objects.new(name, None))
        instance.instance_type, instance.instance_collection, instance.location = "COLLECTION", chair, position
    facts["subjects"] |= {name: (x, y, 0.6) for name, (x, y, _) in positions.items()}
    return _save(path, facts | {"instances": list(positions), "label": "chair"})


def geometry_nodes_instances(path: Path) -> Facts:
    """Three instances of an object, and an object that makes three instances of a mesh inside its node tree."""
    facts = _build_stage()
    original = _add_thing("Bollard", "cone", (0.0, 8.0, 0.6), (0.8, 0.7, 0.1))
    original.hide_render = True
    _add_scatter("Object Scatter", -2.0, original)
    _add_scatter("Mesh Scatter", -4.0, None)
    where, parts = ([(x, y, 0.6) for x in (-2.0, 0.0, 2.0)] for y in (-2.0, -4.0))
    return _save(path, facts | {"instances_at": where, "parts_of": "Mesh Scatter", "parts_at": parts})


# Numbers out of the ordinary.


def negative_and_zero_scale(path: Path) -> Facts:
    """A mirrored box, which is a subject, and things flattened to a plane, which renders, a line and a point."""
    facts = _build_stage()
    _add_thing("Mirrored", "box", (-2.0, -2.0, 0.5), (0.8, 0.4, 0.1)).scale = (-1.0, 1.0, 1.0)
    _add_thing("Inside Out", "ball", (0.0, -2.0, 0.6), (0.8, 0.4, 0.1)).scale = (-1.0, -1.0, -1.0)
    _add_thing("Plane", "box", (2.0, -2.0, 0.5), (0.8, 0.4, 0.1)).scale = (1.0, 0.0, 1.0)
    _add_thing("Line", "box", (3.0, -2.0, 0.5), (0.8, 0.4, 0.1)).scale = (0.0, 0.0, 1.0)
    _add_thing("Point", "box", (4.0, -2.0, 0.5), (0.8, 0.4, 0.1)).scale = (0.0, 0.0, 0.0)
    facts["subjects"] |= {"Mirrored": (-2.0, -2.0, 0.5), "Inside Out": (0.0, -2.0, 0.6)}
    return _save(path, facts | {"not_subjects": ["Line", "Point"]})


def unit_scale(path: Path) -> Facts:
    """Modelled ten times too large, with a unit scale that says so."""
    facts = _build_stage()
    settings = bpy.context.scene.unit_settings
    settings.system, settings.scale_length = "METRIC", 0.1
    return _save(path, facts | {"metres_per_unit": 0.1})


def a_kilometre_away(path: Path) -> Facts:
    """The whole stage, camera and all, 1,000 units from the origin on each ground axis."""
    facts = _build_stage()
    for thing in bpy.context.scene.objects:
        thing.location.x += 1000.0
        thing.location.y += 1000.0
    facts["subjects"] = {name: (x + 1000, y + 1000, z) for name, (x, y, z) in facts["subjects"].items()}
    return _save(path, facts)


def one_mesh(path: Path) -> Facts:
    """A room with its table, cupboard and ball in a single mesh object: a scan or an imported model."""
    _open_empty_file()
    form = bmesh.new()
    for size, at in (
        ((8, 6, 0.1), (0, 0, -0.05)),
        ((8, 0.1, 3), (0, 3, 1.5)),
        ((0.1, 6, 3), (-4, 0, 1.5)),
        ((1.6, 0.9, 0.08), (0, 0, 0.75)),
        ((0.1, 0.1, 0.75), (0, 0, 0.375)),
        ((1, 0.5, 1.8), (-2.5, 2.6, 0.9)),
    ):
        bmesh.ops.create_cube(form, size=1, matrix=Matrix.Translation(at) @ Matrix.Diagonal((*size, 1)))
    bmesh.ops.create_icosphere(form, subdivisions=3, radius=0.3, matrix=Matrix.Translation((0, 0, 1.1)))
    mesh = bpy.data.meshes.new("Everything")
    form.to_mesh(mesh)
    form.free()
    mesh.materials.append(_make_material("Room", (0.6, 0.5, 0.4)))
    mesh.materials.append(_make_material("Furniture", (0.25, 0.03, 0.02)))
    for face in mesh.polygons:
        face.material_index = int(face.center.z > 0 and abs(face.center.x) < 3 and face.center.y < 2.9)
    _link(bpy.data.objects.new("Everything", mesh))
    _add_sun()
    _add_camera()
    return _save(path, {"subjects": {"Everything": (0.0, 0.0, 0.0)}})


def many_objects(path: Path, count: int = 40_000) -> Facts:
    """A square field of linked duplicates: more objects than the 32,767 that an object index can tell apart."""
    facts = _build_stage()
    mesh = bpy.data.objects["Red Box"].data
    side = math.ceil(math.sqrt(count))
    field = bpy.data.collections.new("Field")  # filled before it is in the scene: linking would resync every time
    for index in range(count):
        thing = bpy.data.objects.new(f"Stone {index:05d}", mesh)
        thing.location = (2.0 * (index % side) - side, -6.0 - 2.0 * (index // side), 0.5)
        field.objects.link(thing)
    bpy.context.scene.collection.children.link(field)
    return _save(path, facts | {"objects": count, "first": "Stone 00000", "last": f"Stone {count - 1:05d}"})


# Settings that would spoil the pictures.


def several_scenes(path: Path) -> Facts:
    """Two scenes; the active one, "Main", has a view layer that leaves the cone out and is the active layer."""
    facts = _build_stage()
    main = bpy.context.scene
    main.name = "Main"
    cone = bpy.data.objects["Blue Cone"]
    main.collection.objects.unlink(cone)
    _link(cone, _add_collection("Left Out"))
    layer = main.view_layers.new("No Cone")
    layer.layer_collection.children["Left Out"].exclude = True
    other = bpy.data.scenes.new("Other")
    _add_thing("Elsewhere", "ball", (0.0, 0.0, 0.5), (0.8, 0.1, 0.8), other.collection)
    bpy.context.window.view_layer = layer
    contents = {"Main": sorted(facts["subjects"]), "Other": ["Elsewhere"]}
    return _save(path, facts | {"scenes": contents, "view_layers": [layer.name for layer in main.view_layers]})


def render_traps(path: Path, elsewhere: Path) -> Facts:
    """Every render setting that changes size, content or place of the output; `elsewhere` must stay empty."""
    facts = _build_stage()
    scene, render = bpy.context.scene, bpy.context.scene.render
    render.use_border = render.use_crop_to_border = True
    render.border_min_x, render.border_max_x, render.border_min_y, render.border_max_y = 0.1, 0.4, 0.2, 0.6
    render.resolution_percentage, render.pixel_aspect_x, render.pixel_aspect_y = 50, 2.0, 1.0
    render.use_multiview, render.film_transparent, render.use_simplify = True, True, True
    render.simplify_subdivision_render, render.use_motion_blur, render.use_freestyle = 0, True, True
    render.use_stamp, render.filepath = True, str(elsewhere / "render_")
    scene.camera.data.dof.use_dof, scene.camera.data.dof.aperture_fstop = True, 0.05
    scene.camera.data.dof.focus_distance = 0.5
    for lines in bpy.context.view_layer.freestyle_settings.linesets:
        lines.linestyle = bpy.data.linestyles.new("Outline")
    _animate(bpy.data.objects["Green Ball"])
    _set_compositor(scene, elsewhere)
    _set_sequencer(scene)
    return _save(path, facts | {"elsewhere": elsewhere})


def eevee(path: Path) -> Facts:
    """A file set to EEVEE, under the name that this Blender has for it."""
    facts = _build_stage()
    bpy.context.scene.render.engine = "BLENDER_EEVEE" if FIVE else "BLENDER_EEVEE_NEXT"
    return _save(path, facts)


# Files that attack, and files that cannot be read.


def scripts(path: Path, marker: Path) -> Facts:
    """A scripted driver and a text set to run on load; each writes `marker` if it is ever run."""
    facts = _build_stage()
    harm = f"__import__('pathlib').Path({str(marker)!r}).write_text('ran')"
    text = bpy.data.texts.new("register.py")
    text.write(harm)
    text.use_module = True
    driver = bpy.data.objects["Red Box"].driver_add("location", 2).driver
    driver.type, driver.expression = "SCRIPTED", f"{harm} and 0.5"
    _save(path, facts)
    marker.unlink(missing_ok=True)  # the Blender that builds the file may have run its own driver
    return facts | {"marker": marker}


def awkward_paths(folder: Path) -> Facts:
    """The tidy scene under names with spaces, letters beyond ASCII, braces and format characters."""
    paths = [folder / name for name in AWKWARD_NAMES]
    facts = [tidy(path) for path in paths]
    return facts[0] | {"paths": paths}


def not_a_blend(path: Path) -> Facts:
    """A text file that calls itself a .blend."""
    path.write_text("This is a shopping list: bread, butter, three lemons.\n" * 40, encoding="utf-8")
    return {}


def truncated(path: Path, share: float = 0.5) -> Facts:
    """The first `share` of a good file, as a broken download leaves it."""
    facts = tidy(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return facts


def from_the_future(path: Path) -> Facts:
    """A good file that claims to be saved by Blender 9.99: every Blender opens it and warns of lost data."""
    tidy(path)
    content = path.read_bytes()
    start = content.index(b"v") + 1
    digits = 4 if FIVE else 3  # "BLENDER17-01v0502" since 5.0, "BLENDER-v402" before
    path.write_bytes(content[:start] + b"0999"[-digits:] + content[start + digits :])
    return {"claimed_version": (9, 99)}


def for_newer_blenders_only(path: Path) -> Facts:
    """The same with 9.99 as the lowest version that may open it (`FileGlobal.minversion`): every Blender refuses."""
    facts = from_the_future(path)
    content = bytearray(path.read_bytes())
    block_header = 32 if FIVE else 24
    struct.pack_into("<hh", content, content.index(b"GLOB") + block_header + 6, 999, 0)
    path.write_bytes(content)
    return facts


def unknown_format(path: Path) -> Facts:
    """A header in a layout that no Blender up to 5.2 knows, as 5.0's own was to 4.2: "not a blend file"."""
    path.write_bytes(b"BLENDER17-99v0999" + bytes(4096))
    return {}


# The stage and its props.


def _build_stage(camera: bool = True, light: bool = True) -> Facts:
    _open_empty_file()
    floor = _add_thing("Floor", "box", (0.0, 0.0, -0.05), (0.5, 0.48, 0.45), size=1.0)
    floor.scale = (14.0, 14.0, 0.1)
    for name, (at, shape, colour) in STAGE.items():
        _add_thing(name, shape, at, colour)
    if light:
        _add_sun()
    if camera:
        _add_camera()
    return {"subjects": {name: at for name, (at, _, _) in STAGE.items()}}


def _open_empty_file() -> None:
    """An empty scene rendered by Cycles; unlike `read_factory_settings` this leaves enabled add-ons enabled."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    scene = bpy.context.scene
    scene.render.engine, scene.cycles.samples = "CYCLES", 16
    scene.render.resolution_x = scene.render.resolution_y = 128


def _save(path: Path, facts: Facts) -> Facts:
    path.parent.mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(path), check_existing=False, compress=False, relative_remap=False)
    return facts


def _link(thing: bpy.types.Object, collection: bpy.types.Collection | None = None) -> bpy.types.Object:
    (collection or bpy.context.scene.collection).objects.link(thing)
    return thing


def _link_at(thing: bpy.types.Object, at: Point) -> Point:
    _link(thing).location = at
    return at


def _add_collection(name: str) -> bpy.types.Collection:
    made = bpy.data.collections.new(name)
    bpy.context.scene.collection.children.link(made)
    return made


def _add_thing(
    name: str, shape: str, at: Point, colour: Point, collection: bpy.types.Collection | None = None, size: float = 1.0
) -> bpy.types.Object:
    """A box, ball or cone about `size` across, centred on `at`."""
    form = bmesh.new()
    if shape == "ball":
        bmesh.ops.create_icosphere(form, subdivisions=4, radius=0.6 * size)
    elif shape == "cone":
        bmesh.ops.create_cone(
            form, segments=48, radius1=0.6 * size, radius2=0.1 * size, depth=1.2 * size, cap_ends=True
        )
    else:
        bmesh.ops.create_cube(form, size=size)
    mesh = bpy.data.meshes.new(name)
    form.to_mesh(mesh)
    form.free()
    mesh.materials.append(_make_material(name, colour))
    thing = _link(bpy.data.objects.new(name, mesh), collection)
    thing.location = at
    return thing


def _make_material(name: str, colour: Point) -> bpy.types.Material:
    made = bpy.data.materials.new(name)
    if not FIVE:  # always on from 5.0, where setting it warns
        made.use_nodes = True
    made.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = (*colour, 1.0)
    return made


def _add_texture(thing: bpy.types.Object, image: bpy.types.Image) -> None:
    tree = thing.data.materials[0].node_tree
    texture = tree.nodes.new("ShaderNodeTexImage")
    texture.image = image
    tree.links.new(texture.outputs["Color"], tree.nodes["Principled BSDF"].inputs["Base Color"])


def _add_sun() -> None:
    sun = bpy.data.lights.new("Sun", "SUN")
    sun.energy = 4.0
    _link(bpy.data.objects.new("Sun", sun)).rotation_euler = (0.6, 0.2, 0.4)
    world = bpy.data.worlds.new("World")
    if not FIVE:
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.5, 0.6, 0.7, 1.0)
    bpy.context.scene.world = world


def _add_camera() -> None:
    camera = _link(bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera")))
    camera.data.lens = 28.0
    camera.location, camera.rotation_euler = (0.0, -9.0, 4.0), (math.radians(68), 0.0, 0.0)
    bpy.context.scene.camera = camera


def _make_curve(name: str, thickness: float) -> bpy.types.Object:
    curve = bpy.data.curves.new(name, "CURVE")
    curve.dimensions, curve.bevel_depth = "3D", thickness
    spline = curve.splines.new("BEZIER")
    spline.bezier_points.add(2)
    for point, at in zip(spline.bezier_points, ((-0.6, 0, -0.3), (0, 0, 0.4), (0.6, 0, -0.3)), strict=True):
        point.co, point.handle_left_type, point.handle_right_type = at, "AUTO", "AUTO"
    curve.materials.append(_make_material(name, (0.8, 0.5, 0.1)))
    return bpy.data.objects.new(name, curve)


def _make_text(name: str, words: str) -> bpy.types.Object:
    text = bpy.data.curves.new(name, "FONT")
    text.body, text.extrude, text.size = words, 0.05, 0.6
    text.materials.append(_make_material(name, (0.1, 0.1, 0.6)))
    thing = bpy.data.objects.new(name, text)
    thing.rotation_euler.x = math.radians(90)
    return thing


def _make_metaball(name: str) -> bpy.types.Object:
    data = bpy.data.metaballs.new(name)
    data.resolution = data.render_resolution = 0.15
    for x in (-0.35, 0.35):
        ball = data.elements.new()
        ball.co, ball.radius = (x, 0.0, 0.0), 0.8
    data.materials.append(_make_material(name, (0.7, 0.1, 0.5)))
    return bpy.data.objects.new(name, data)


def _make_volume(name: str, at: Point) -> bpy.types.Object:
    """A ball of fog, by a mesh-to-volume modifier over a ball that does not render, so that no file is needed."""
    shape = _add_thing(f"{name} Shape", "ball", at, (0.5, 0.5, 0.5))
    shape.hide_render = True
    fog = bpy.data.materials.new(name)
    if not FIVE:
        fog.use_nodes = True
    nodes, links = fog.node_tree.nodes, fog.node_tree.links
    nodes.remove(nodes["Principled BSDF"])
    links.new(nodes.new("ShaderNodeVolumePrincipled").outputs["Volume"], nodes["Material Output"].inputs["Volume"])
    thing = bpy.data.objects.new(name, bpy.data.volumes.new(name))
    thing.data.materials.append(fog)
    fill = thing.modifiers.new("Fill", "MESH_TO_VOLUME")
    fill.object, fill.density, fill.resolution_mode, fill.voxel_size = shape, 1.0, "VOXEL_SIZE", 0.1
    return thing


def _add_particle_system(owner: str, name: str, **settings: Any) -> bpy.types.ParticleSystem:
    thing = bpy.data.objects[owner]
    thing.modifiers.new(name, "PARTICLE_SYSTEM")
    system = thing.particle_systems[-1]
    system.name = system.settings.name = name
    for key, value in settings.items():
        setattr(system.settings, key, value)
    return system


def _add_array(thing: bpy.types.Object, count: int, step: float) -> None:
    row = thing.modifiers.new("Array", "ARRAY")
    row.use_relative_offset, row.use_constant_offset, row.count = False, True, count
    row.constant_offset_displace = (step, 0.0, 0.0)


def _add_boolean(thing: bpy.types.Object, cutter: bpy.types.Object) -> None:
    cut = thing.modifiers.new("Boolean", "BOOLEAN")
    cut.operation, cut.object = "DIFFERENCE", cutter


def _add_scatter(name: str, y: float, instanced: bpy.types.Object | None) -> None:
    """A carrier whose node tree puts three instances in a row: of the object, or of a cube made in the tree."""
    tree: Any = bpy.data.node_groups.new(name, "GeometryNodeTree")
    tree.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    line, instancer = (tree.nodes.new(f"GeometryNode{kind}") for kind in ("MeshLine", "InstanceOnPoints"))
    line.inputs["Count"].default_value = 3
    line.inputs["Start Location"].default_value, line.inputs["Offset"].default_value = (-2, y, 0.6), (2, 0, 0)
    source = tree.nodes.new("GeometryNodeObjectInfo" if instanced else "GeometryNodeMeshCube")
    if instanced:
        source.inputs["Object"].default_value, source.inputs["As Instance"].default_value = instanced, True
    tree.links.new(line.outputs["Mesh"], instancer.inputs["Points"])
    tree.links.new(source.outputs["Geometry" if instanced else "Mesh"], instancer.inputs["Instance"])
    tree.links.new(instancer.outputs["Instances"], tree.nodes.new("NodeGroupOutput").inputs["Geometry"])
    carrier = _link(bpy.data.objects.new(name, bpy.data.meshes.new(name)))
    carrier.modifiers.new("Scatter", "NODES").node_group = tree


def _animate(thing: bpy.types.Object) -> None:
    for frame, z in ((1, 0.6), (2, 5.0)):
        thing.location.z = z
        thing.keyframe_insert("location", index=2, frame=frame)
    bpy.context.scene.frame_set(1)


def _set_compositor(scene: bpy.types.Scene, elsewhere: Path) -> None:
    """Turns every picture upside down in colour and writes a file of its own."""
    tree = _make_compositor_tree(scene)
    layers, invert = tree.nodes.new("CompositorNodeRLayers"), tree.nodes.new("CompositorNodeInvert")
    tree.links.new(layers.outputs["Image"], invert.inputs["Color"])
    end = tree.nodes.new("NodeGroupOutput" if FIVE else "CompositorNodeComposite")
    tree.links.new(invert.outputs["Color"], end.inputs["Image"])
    file = tree.nodes.new("CompositorNodeOutputFile")
    if FIVE:
        file.directory, file.file_name = str(elsewhere), "stray"
        file.file_output_items.new("RGBA", "stray")
    else:
        file.base_path = str(elsewhere)
    tree.links.new(invert.outputs["Color"], file.inputs[0])


def _make_compositor_tree(scene: bpy.types.Scene) -> Any:
    if not FIVE:
        scene.use_nodes = True
        scene.node_tree.nodes.clear()
        return scene.node_tree
    tree: Any = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
    tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
    scene.compositing_node_group = tree
    return tree


def _set_sequencer(scene: bpy.types.Scene) -> None:
    """A strip of plain green that hides whatever is rendered."""
    scene.render.use_sequencer = scene.render.use_compositing = True
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    until: dict[str, Any] = {"length": 250} if FIVE else {"frame_end": 250}
    strip = strips.new_effect(name="Green", type="COLOR", channel=1, frame_start=1, **until)
    strip.color = (0.0, 1.0, 0.0)


def _iterate_sphere_points(count: int) -> Iterable[Sequence[float]]:
    """Evenly spread unit vectors (a Fibonacci sphere)."""
    for index in range(count):
        z = 1 - (2 * index + 1) / count
        around, ring = index * math.pi * (3 - math.sqrt(5)), math.sqrt(1 - z * z)
        yield ring * math.cos(around), ring * math.sin(around), z


def _scale(vector: Sequence[float], factor: float) -> list[float]:
    return [factor * value for value in vector]

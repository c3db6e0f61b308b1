# SPDX-License-Identifier: Apache-2.0
"""Scenes that lack something outside their file, or hide something by layers and drivers, each saved by a function."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy

from tests.addon import scenes

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123456\n"
CUT = 60
"""Bytes that are left of a picture that was not copied whole."""


def write_pictures(folder: Path) -> None:
    """A sound picture, and everything that a picture's file can be instead of one."""
    folder.mkdir(parents=True, exist_ok=True)
    image = bpy.data.images.new("sound", 32, 32)
    image.generated_type = "COLOR_GRID"
    image.filepath_raw, image.file_format = str(folder / "sound.png"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    sound = (folder / "sound.png").read_bytes()
    files = {
        "pointer.png": LFS, "empty.png": b"", "page.png": b"<html>404</html>", "cut.png": sound[:CUT],
        "misnamed.jpg": sound, "frame_0001.png": sound, "clip.mp4": LFS,
    }  # fmt: skip
    for name, data in files.items():
        (folder / name).write_bytes(data)


def make_image(path: Path | str, source: Any = "FILE") -> bpy.types.Image:
    """An image that refers to a file, which need not be there."""
    image = bpy.data.images.new(Path(path).name, 4, 4)
    image.source, image.filepath = source, str(path)
    return image


def _make_tiles(folder: Path, *lost: str) -> bpy.types.Image:
    """An image of two tiles, some of which are not there any more."""
    name = f"tiles without {len(lost)}"
    for number in ("1001", "1002"):
        (folder / f"{name}.{number}.png").write_bytes((folder / "sound.png").read_bytes())
    image = make_image(folder / f"{name}.<UDIM>.png", "TILED")
    for number in lost:
        (folder / f"{name}.{number}.png").unlink()
    return image


def make_texture(tree: Any, image: bpy.types.Image | None, kind: str = "ShaderNodeTexImage") -> Any:
    """An image node in a tree."""
    node = tree.nodes.new(kind)
    node.image = image
    return node


def add_patch(name: str, place: int, build: Callable[[Any, Any], object]) -> None:
    """A plane of one unit that shines in the colour that `build(tree, socket)` links to the socket."""
    bpy.ops.mesh.primitive_plane_add(size=1, location=(place, 0, 0))
    material = bpy.data.materials.new(name)
    if not scenes.FIVE:
        material.use_nodes = True
    tree: Any = material.node_tree
    tree.nodes.clear()
    shader, output = tree.nodes.new("ShaderNodeEmission"), tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    build(tree, shader.inputs["Color"])
    bpy.context.object.data.materials.append(material)


def _link(image: bpy.types.Image | None, kind: str = "ShaderNodeTexImage", **user: int) -> Callable[[Any, Any], object]:
    def build(tree: Any, socket: Any) -> None:
        node = make_texture(tree, image, kind)
        for key, value in user.items():
            setattr(node.image_user, key, value)
        tree.links.new(node.outputs["Color"], socket)

    return build


def _link_in_groups(image: bpy.types.Image) -> Callable[[Any, Any], object]:
    """The image within a group within a group."""
    inner, outer = (bpy.data.node_groups.new(name, "ShaderNodeTree") for name in ("inner", "outer"))
    for group in (inner, outer):
        interface: Any = group.interface
        interface.new_socket("Colour", in_out="OUTPUT", socket_type="NodeSocketColor")
    node = make_texture(inner, image)
    inner.links.new(node.outputs["Color"], inner.nodes.new("NodeGroupOutput").inputs[0])
    holder: Any = outer.nodes.new("ShaderNodeGroup")
    holder.node_tree = inner
    outer.links.new(holder.outputs[0], outer.nodes.new("NodeGroupOutput").inputs[0])

    def build(tree: Any, socket: Any) -> None:
        group = tree.nodes.new("ShaderNodeGroup")
        group.node_tree = outer
        tree.links.new(group.outputs[0], socket)

    return build


def _link_unmixed(image: bpy.types.Image) -> Callable[[Any, Any], object]:
    """The image on the side that a mix leaves out."""

    def build(tree: Any, socket: Any) -> None:
        mix = tree.nodes.new("ShaderNodeMixRGB")
        mix.inputs["Fac"].default_value, mix.inputs["Color1"].default_value = 0.0, (0.2, 0.6, 0.2, 1)
        tree.links.new(make_texture(tree, image).outputs["Color"], mix.inputs["Color2"])
        tree.links.new(mix.outputs[0], socket)

    return build


def _link_muted(image: bpy.types.Image) -> Callable[[Any, Any], object]:
    """The image in a node that is switched off."""

    def build(tree: Any, socket: Any) -> None:
        node = make_texture(tree, image)
        node.mute = True
        tree.links.new(node.outputs["Color"], socket)

    return build


def patches(folder: Path) -> list[str]:
    """A row of shining planes before a camera that looks down on all: one for each way to refer to a picture. Returns
    the names of their materials, from left to right."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    write_pictures(folder)
    tiled = [_make_tiles(folder, *lost) for lost in ((), ("1001",), ("1001", "1002"))]
    cases = {
        "sound": _link(make_image(folder / "sound.png")),
        "misnamed": _link(make_image(folder / "misnamed.jpg")),
        "generated": _link(bpy.data.images.new("generated", 4, 4)),
        "gone": _link(make_image(folder / "gone.png")),
        "pointer": _link(make_image(folder / "pointer.png")),
        "empty": _link(make_image(folder / "empty.png")),
        "page": _link(make_image(folder / "page.png")),
        "cut": _link(make_image(folder / "cut.png")),
        "folder": _link(make_image(folder)),
        "no path": _link(make_image("")),
        "no image": _link(None),
        "sky without image": _link(None, "ShaderNodeTexEnvironment"),
        "clip": _link(make_image(folder / "clip.mp4", "MOVIE")),
        "tile": _link(tiled[0]),
        "tile gone": _link(tiled[1]),
        "tiles gone": _link(tiled[2]),
        "frame": _link(make_image(folder / "frame_0009.png", "SEQUENCE"), frame_duration=1),
        "frame gone": _link(make_image(folder / "frame_0001.png", "SEQUENCE"), frame_duration=1, frame_offset=4),
        "in groups": _link_in_groups(make_image(folder / "lost in groups.png")),
        "left out of a mix": _link_unmixed(make_image(folder / "unmixed.png")),
        "muted": _link_muted(make_image(folder / "muted.png")),
    }
    for place, (name, build) in enumerate(cases.items()):
        add_patch(name, place, build)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.data.type, camera.data.ortho_scale = "ORTHO", len(cases)
    camera.location = ((len(cases) - 1) / 2, 0, 5)
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    return list(cases)


def lost_sky(path: Path) -> None:
    """The stage below a sky whose picture is not there."""
    scenes.tidy(path)
    world = bpy.data.worlds.new("Sky")
    if not scenes.FIVE:
        world.use_nodes = True
    tree: Any = world.node_tree
    background = next(node for node in tree.nodes if node.type == "BACKGROUND")
    image = make_image("//gone.hdr")
    tree.links.new(make_texture(tree, image, "ShaderNodeTexEnvironment").outputs[0], background.inputs["Color"])
    bpy.context.scene.world = world
    bpy.ops.wm.save_as_mainfile(filepath=str(path))


def lost_textures(path: Path) -> None:
    """The stage; the ball has a colour and a normal map that are pointers, the cone's picture is sound."""
    scenes.tidy(path)
    write_pictures(path.parent)
    for name, colour in (("Green Ball", "pointer.png"), ("Blue Cone", "sound.png")):
        tree: Any = bpy.data.objects[name].active_material.node_tree
        shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
        picture = make_texture(tree, make_image(f"//{colour}"))
        tree.links.new(picture.outputs["Color"], shader.inputs["Base Color"])
        tree.links.new(picture.outputs["Alpha"], shader.inputs["Alpha"])
        if colour == "pointer.png":
            bumps = tree.nodes.new("ShaderNodeNormalMap")
            tree.links.new(make_texture(tree, make_image("//gone normals.png")).outputs["Color"], bumps.inputs["Color"])
            tree.links.new(bumps.outputs[0], shader.inputs["Normal"])
    bpy.ops.wm.save_as_mainfile(filepath=str(path))


def lost_files(path: Path) -> None:
    """The stage and a text, whose font, mesh cache and volume are not there; a sound that nothing needs is lost too."""
    scenes.tidy(path)
    font = Path(bpy.utils.system_resource("DATAFILES", path="fonts"))
    copy = path.parent / "sign.woff2"
    copy.write_bytes(next(font.glob("*.woff2")).read_bytes())
    text = bpy.data.curves.new("Sign", "FONT")
    text.body, text.font = "OPEN", bpy.data.fonts.load(str(copy))
    text.font.filepath = "//sign.woff2"
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Sign", text))
    cache: Any = bpy.data.objects["Red Box"].modifiers.new("Cache", "MESH_CACHE")
    cache.filepath = "//gone.pc2"
    volume = bpy.data.volumes.new("Smoke")
    volume.filepath = "//gone.vdb"
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Smoke", volume))
    bpy.data.texts.new("unused").filepath = "//unused.py"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    copy.unlink()


def drivers(path: Path) -> None:
    """The stage; three drivers lift the box by Python, by a simple expression and by Python that is harmless."""
    scenes.tidy(path)
    for name, index, expression in (
        ("Red Box", 2, "noise.noise((1, 2, 3)) + frame"),
        ("Green Ball", 2, "frame * 0.2"),
        ("Blue Cone", 1, "frame % 3"),
    ):
        curve: Any = bpy.data.objects[name].driver_add("location", index)
        curve.driver.type, curve.driver.expression = "SCRIPTED", expression
    bpy.ops.wm.save_as_mainfile(filepath=str(path))


def layers(path: Path) -> None:
    """The stage on a first view layer, but for the cone, which a second one shows; the ball is indirect only there, and
    an instancer whose camera rays are off shows a collection."""
    scenes.tidy(path)
    scene: Any = bpy.context.scene
    for name in ("Green Ball", "Blue Cone"):
        collection = bpy.data.collections.new(f"{name} Collection")
        scene.collection.children.link(collection)
        thing = bpy.data.objects[name]
        for holder in list(thing.users_collection):
            holder.objects.unlink(thing)
        collection.objects.link(thing)
    first, second = scene.view_layers[0], scene.view_layers.new("Actors")
    first.name = "Set"
    first.layer_collection.children["Blue Cone Collection"].exclude = True
    first.layer_collection.children["Green Ball Collection"].indirect_only = True
    hidden = bpy.data.objects.new("Copies", None)
    hidden.instance_type, hidden.instance_collection = "COLLECTION", bpy.data.collections["Blue Cone Collection"]
    hidden.visible_camera = False
    scene.collection.objects.link(hidden)
    second.layer_collection.children["Green Ball Collection"].exclude = True
    bpy.ops.wm.save_as_mainfile(filepath=str(path))

# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that a scene refers to: which are not there, or are not what they should be, and what is drawn instead."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import bpy

from ..datablocks import iterate_datablocks
from .image_nodes import IMAGE_TYPES, find_file_nodes
from .object_files import list_object_files

MISSING, UNREADABLE, EMPTY = "missing", "cannot be read", "is empty"
POINTER, NO_PICTURE = "is a Git LFS pointer", "is no picture"
LFS_START = b"version https://git-lfs.github.com/spec/"
LISTED = 5
"""Most files of one kind that notes name."""
SMALL = 256
"""Bytes. So small a picture is read whole, for it may be something else."""
PICTURE_STARTS = (
    b"\x89PNG", b"\xff\xd8\xff", b"v/1\x01", b"#?R", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"BM", b"8BPS", b"RIFF",
    b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51", b"\x01\xda", b"DDS ", b"SDPX", b"XPDS", b"\x80\x2a\x5f\xd7", b"GIF8",
)  # fmt: skip
PICTURE_ENDS = {b"\x89PNG": b"IEND\xaeB`\x82"}
"""How files of a format end that are whole: cut off, they would be drawn magenta."""


@dataclass(frozen=True)
class Loss:
    """A file that a scene lacks: its `path` as the scene has it, what is wrong with it, what `kind` of file it is, and
    what is seen instead. Where nothing that renders uses it, `effect` is empty."""

    path: str
    fault: str = MISSING
    kind: str = "texture"
    effect: str = ""

    @property
    def cure(self) -> str:
        """What to do about it."""
        return "run `git lfs pull` in its folder" if self.fault == POINTER else "put it back"

    def __str__(self) -> str:
        return self.path if self.fault == MISSING else f"{self.path} ({self.fault})"


@dataclass(frozen=True)
class Externals:
    """What a scene lacks: textures by the full names of their materials, those of the world and of lamps, and all other
    files."""

    by_material: dict[str, tuple[Loss, ...]] = field(default_factory=dict)
    light: tuple[Loss, ...] = ()
    others: tuple[Loss, ...] = ()

    @property
    def missing_files(self) -> tuple[str, ...]:
        """All of them as text, for the scene's record."""
        textures = [loss for losses in self.by_material.values() for loss in losses]
        return tuple(sorted({str(loss) for loss in (*textures, *self.light, *self.others)}))

    def list_paths(self) -> dict[str, tuple[str, ...]]:
        """The paths of the textures that each material lacks, by its full name."""
        return {name: tuple(loss.path for loss in losses) for name, losses in self.by_material.items()}

    def list_notes(self, used: Iterable[str]) -> list[str]:
        """Lines for a person about what changes the pictures, where things that render lack the textures `used`."""
        textures = {loss.path: loss for losses in self.by_material.values() for loss in losses}
        textured = [textures[path] for path in sorted(set(used) & textures.keys())]
        return list(_describe_losses([*textured, *self.light, *(loss for loss in self.others if loss.effect)]))


NOTHING_LOST = Externals()


def _describe_losses(losses: Iterable[Loss]) -> Iterator[str]:
    """A line for each of the first files of every kind, and one that counts the rest of it."""
    for kind, members in groupby(
        sorted(losses, key=lambda loss: (loss.kind != "texture", loss.kind)), lambda loss: loss.kind
    ):
        lines = list(dict.fromkeys(members))
        for loss in lines[:LISTED]:
            cure = f"; {loss.cure}" if loss.fault == POINTER else ""
            yield f"{kind} {loss.fault}: {loss.path}{f' ({loss.effect})' if loss.effect else ''}{cure}"
        if len(lines) > LISTED:
            yield f"{kind}: and {len(lines) - LISTED} more; the scene's record names all"


# ---- one file --------------------------------------------------------------------------------------------------------


def resolve_path(path: str, library: bpy.types.Library | None = None) -> Path:
    """Where a path of the open file leads, or of the library that it comes from; as in Blender, "\\" may separate
    folders."""
    return Path(bpy.path.abspath(path, library=library).replace("\\", "/"))


def find_fault(path: Path, picture: bool = False) -> str:
    """What is wrong with a file or folder, "" if nothing is. A picture is decoded only where its first bytes leave a
    doubt."""
    if path.is_dir():
        return NO_PICTURE if picture else ""
    try:
        with path.open("rb") as file:
            start = file.read(SMALL)
            size = file.seek(0, 2)
            file.seek(max(0, size - SMALL))
            end = file.read()
    except PermissionError:
        return UNREADABLE
    except (OSError, ValueError):
        return MISSING
    if not size:
        return EMPTY
    if start.startswith(LFS_START):
        return POINTER
    return NO_PICTURE if picture and _is_doubtful(start, end, size) and not _can_load(path) else ""


def _is_doubtful(start: bytes, end: bytes, size: int) -> bool:
    """Whether a file's first and last bytes leave open that it is a whole picture."""
    if size < SMALL or not start.startswith(PICTURE_STARTS):
        return True
    return any(start.startswith(opening) and ending not in end for opening, ending in PICTURE_ENDS.items())


def _can_load(path: Path) -> bool:
    """Whether Blender reads a picture from a file."""
    image = bpy.data.images.load(str(path), check_existing=False)
    try:
        return bool(image.size[0])
    finally:
        bpy.data.images.remove(image)


# ---- images ----------------------------------------------------------------------------------------------------------


class ImageCheck:
    """Looks at images' files as they are needed at one frame, each file once."""

    def __init__(self, frame: int) -> None:
        self._frame = frame
        self._faults: dict[Path, str] = {}

    def list_losses(self, image: bpy.types.Image | None, user: bpy.types.ImageUser | None = None) -> list[Loss]:
        """What an image lacks: one file, or several tiles."""
        if image is None or image.source not in {"FILE", "SEQUENCE", "MOVIE", "TILED"}:
            return []
        if image.packed_file or len(image.packed_files):
            return [] if _is_sound_when_packed(image) else [Loss(f"{image.name} (packed)", NO_PICTURE)]
        if not image.filepath:
            return [Loss(f"{image.name} (without a file)")]
        found = []
        for path in self._list_paths(image, user):
            if fault := self._find_fault(resolve_path(path, image.library), image.source != "MOVIE"):
                found.append(Loss(path, fault))
        return found

    def _list_paths(self, image: bpy.types.Image, user: bpy.types.ImageUser | None) -> list[str]:
        """The files that an image needs now, as the image spells its own."""
        if image.source == "TILED":
            return [_name_tile(image.filepath, tile.number) for tile in image.tiles]
        if image.source == "SEQUENCE" and user is not None:
            return [_name_frame(image.filepath, compute_frame(user, self._frame))]
        return [image.filepath]

    def _find_fault(self, path: Path, picture: bool) -> str:
        if path not in self._faults:
            self._faults[path] = find_fault(path, picture)
        return self._faults[path]


def _is_sound_when_packed(image: bpy.types.Image) -> bool:
    """Whether a packed image is one; only what is suspiciously small is read."""
    packed = image.packed_file or image.packed_files[0].packed_file
    return packed is None or packed.size >= SMALL or bool(image.size[0])


def _name_tile(path: str, number: int) -> str:
    column, row = (number - 1001) % 10 + 1, (number - 1001) // 10 + 1
    return path.replace("<UDIM>", str(number)).replace("<UVTILE>", f"u{column}_v{row}")


def _name_frame(path: str, frame: int) -> str:
    """The path of a sequence's frame: its last number is the frame."""
    return re.sub(r"\d+(?=[^\d/\\]*$)", lambda digits: str(frame).zfill(len(digits[0])), path)


def compute_frame(user: bpy.types.ImageUser, frame: int) -> int:
    """Which image of a sequence shows at a frame of the scene, as Blender counts."""
    length = max(user.frame_duration, 1)
    number = frame - user.frame_start + 1
    number = (number - 1) % length + 1 if user.use_cyclic else min(max(number, 1), length)
    return int(number + user.frame_offset)


# ---- a scene ---------------------------------------------------------------------------------------------------------


def find_externals(scene: bpy.types.Scene, layer: str, world: bool = True) -> Externals:
    """Look at every file that the open Blender file refers to, as the current frame of a scene needs it. `world` is
    whether the scene's own world shows."""
    check = ImageCheck(scene.frame_current)
    by_material = {each.name_full: tuple(list_texture_losses(each, check)) for each in bpy.data.materials if each.users}
    light = [loss for owner in list_lights(scene, layer, world) for loss in list_texture_losses(owner, check)]
    others = [*_list_lost_data(), *_list_used_files(scene, check)]
    known = {loss.path for losses in (*by_material.values(), light, others) for loss in losses}
    others += [loss for loss in _list_unused_files() if loss.path not in known]
    return Externals({name: losses for name, losses in by_material.items() if losses}, tuple(light), tuple(others))


def list_lights(scene: bpy.types.Scene, layer: str, world: bool = True) -> list[bpy.types.ID]:
    """The world, unless another one stands in for it, and the lamps that light a view layer."""
    sky = (getattr(scene.view_layers[layer], "world_override", None) or scene.world) if world else None
    lamps = {each.data.name_full: each.data for each in scene.objects if each.type == "LIGHT" and not each.hide_render}
    return [*([sky] if sky else []), *lamps.values()]


def list_texture_losses(owner: bpy.types.ID, check: ImageCheck) -> Iterator[Loss]:
    """What Cycles would draw magenta in a material, world or lamp."""
    effect = "" if isinstance(owner, bpy.types.Material) else f"'{owner.name}' would light the scene magenta"
    for node, _ in find_file_nodes(owner):
        if node.type in IMAGE_TYPES:
            yield from (Loss(loss.path, loss.fault, effect=effect) for loss in list_node_losses(node, check))


def list_node_losses(node: bpy.types.Node, check: ImageCheck) -> list[Loss]:
    """What an image node lacks; one without an image is drawn magenta too."""
    if node.image is None:
        return [Loss(f"no image in the node '{node.label or node.name}' of '{node.id_data.name}'")]
    return check.list_losses(node.image, node.image_user)


def _list_lost_data() -> Iterator[Loss]:
    """Libraries that are not there, and what was linked from them or is not in them any more."""
    for library in bpy.data.libraries:
        if fault := find_fault(resolve_path(library.filepath, library.parent)):
            yield Loss(library.filepath, fault, "library", "what is linked from it does not render")
    for each in iterate_datablocks():
        if each.is_missing and not isinstance(each, bpy.types.Library):
            yield Loss(f"{each.name} (linked)", kind=f"linked {each.id_type.lower()}", effect="it does not render")


def _list_used_files(scene: bpy.types.Scene, check: ImageCheck) -> Iterator[Loss]:
    """Files that change the picture and are no textures: of objects, of modifiers, of nodes."""
    for path, library, kind, effect in list_object_files(scene):
        if fault := find_fault(resolve_path(path, library)):
            yield Loss(path, fault, kind, effect)
    for thing in scene.objects:
        for texture in filter(None, (getattr(modifier, "texture", None) for modifier in thing.modifiers)):
            for loss in check.list_losses(texture.image, texture.image_user) if texture.type == "IMAGE" else ():
                yield Loss(loss.path, loss.fault, "picture of a modifier", f"'{thing.name}' has another shape")
    for owner in (*bpy.data.materials, *bpy.data.lights):
        yield from _list_node_files(owner) if owner.users else ()


def _list_node_files(owner: bpy.types.Material | bpy.types.Light) -> Iterator[Loss]:
    """Profiles of lamps and scripts of shaders that are not there."""
    kinds = {"TEX_IES": ("IES profile", "shines evenly"), "SCRIPT": ("shader script", "lacks its shader")}
    for node, _ in find_file_nodes(owner):
        if node.type in kinds and node.mode == "EXTERNAL":
            kind, effect = kinds[node.type]
            if fault := find_fault(resolve_path(node.filepath, node.id_data.library)):
                yield Loss(node.filepath, fault, kind, f"'{owner.name}' {effect}")


def _list_unused_files() -> Iterator[Loss]:
    """All other files that Blender knows of and that are not there: sounds, clips, textures of nothing that renders."""
    spelled, absolute = (bpy.utils.blend_paths(absolute=each, packed=False, local=False) for each in (False, True))
    for path, place in zip(spelled, absolute, strict=True):
        if "<U" not in path and (fault := find_fault(Path(place))):
            yield Loss(path, fault, "file")

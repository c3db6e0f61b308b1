# SPDX-License-Identifier: GPL-3.0-or-later
"""Neutral images in place of those whose files are lost: `--missing neutral`."""

from __future__ import annotations

from collections.abc import Iterable

import bpy

from ..overrides import Overrides
from .files import ImageCheck, list_lights, list_node_losses
from .image_nodes import IMAGE_TYPES, find_file_nodes

GREY = 0.214
"""Linear; half of what a display can show."""
COLOURS = {
    "normal": (0.5, 0.5, 1.0, 1.0),
    "opaque": (1.0, 1.0, 1.0, 1.0),
    "grey": (GREY, GREY, GREY, 1.0),
    "half": (0.5, 0.5, 0.5, 1.0),
    "off": (0.0, 0.0, 0.0, 1.0),
}
"""What stands in for an image, by its role; "half" is for grey that is data and no colour."""


def use_stand_ins(scene: bpy.types.Scene, layer: str, overrides: Overrides) -> None:
    """Put neutral images into all nodes of materials, world and lamps that lack theirs, until the overrides end."""
    check = ImageCheck(scene.frame_current)
    owners: Iterable[bpy.types.ID] = (*bpy.data.materials, *list_lights(scene, layer))
    lost = {}
    for owner in owners:
        for node, role in find_file_nodes(owner):
            if node.type in IMAGE_TYPES and list_node_losses(node, check):
                lost[node.as_pointer()] = (node, "half" if role == "grey" and _is_data(node.image) else role)
    images: dict[str, bpy.types.Image] = {}
    for node, role in lost.values():
        if role not in images:
            images[role] = _make_image(role, overrides)
        overrides.set(node, "image", images[role])
        if node.image != images[role] and node.image is not None:  # a linked material takes no image of this file
            _repaint(node.image, role, overrides)


def _is_data(image: bpy.types.Image | None) -> bool:
    return image is not None and bool(image.colorspace_settings.is_data)


def _make_image(role: str, overrides: Overrides) -> bpy.types.Image:
    image = bpy.data.images.new(f"Blendset {role}", 1, 1, float_buffer=True, is_data=True)
    overrides.call_on_exit(bpy.data.images.remove, image)
    image.generated_color = COLOURS[role]
    return image


def _repaint(image: bpy.types.Image, role: str, overrides: Overrides) -> None:
    """Make a linked image itself neutral."""
    linear = _is_data(image)
    colour = tuple(value if linear else value ** (1 / 2.2) for value in COLOURS[role])
    overrides.set(image, "generated_color", colour)
    overrides.set(image, "source", "GENERATED")

# SPDX-License-Identifier: GPL-3.0-or-later
"""The two file formats that a render result is saved in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

from ..compat import IMAGE_FORMAT_SINCE, is_at_least

PNG = {
    "media_type": "IMAGE",
    "file_format": "PNG",
    "color_mode": "RGB",
    "color_depth": "8",
    "compression": 15,
    "color_management": "FOLLOW_SCENE",
}
EXR = {
    "media_type": "MULTI_LAYER_IMAGE",
    "file_format": "OPEN_EXR_MULTILAYER",
    "color_depth": "32",
    "exr_codec": "NONE",
    "use_exr_interleave": True,
    "color_management": "FOLLOW_SCENE",
}


@contextmanager
def use_image_format(scene: bpy.types.Scene, settings: dict[str, Any]) -> Iterator[None]:
    """Set the scene's image format until the context ends. In order both ways: what a format allows depends on what
    was set before it."""
    image = scene.render.image_settings
    before = {name: getattr(image, name) for name in {**PNG, **EXR} if _is_available(name)}
    try:
        _apply(image, settings)
        yield
    finally:
        _apply(image, before)


def _apply(image: bpy.types.ImageFormatSettings, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if _is_available(name) and getattr(image, name) != value:
            setattr(image, name, value)


def _is_available(name: str) -> bool:
    """Whether this Blender's image formats have that attribute."""
    return name not in IMAGE_FORMAT_SINCE or is_at_least(IMAGE_FORMAT_SINCE[name])

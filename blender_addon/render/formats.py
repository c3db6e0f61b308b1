# SPDX-License-Identifier: GPL-3.0-or-later
"""The two file formats that a render result is saved in, and what differs between Blender versions about them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import bpy

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
def saving_as(scene: bpy.types.Scene, settings: dict[str, Any]) -> Iterator[None]:
    """Set the scene's image format for a while. In order both ways: what a format allows depends on what was set
    before it."""
    image = scene.render.image_settings
    before = {name: getattr(image, name) for name in {**PNG, **EXR} if hasattr(image, name)}
    try:
        _set(image, settings)
        yield
    finally:
        _set(image, before)


def _set(image: bpy.types.ImageFormatSettings, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if hasattr(image, name) and getattr(image, name) != value:
            setattr(image, name, value)

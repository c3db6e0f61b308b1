# SPDX-License-Identifier: GPL-3.0-or-later
"""The scene's own view transform (and look, gamma, curves), tabulated by Blender itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy
import numpy as np

from blendset.exposure import ViewTransform

from .formats import PNG, use_image_format

STEPS = 49
LOW, HIGH = -11.0, 5.0
"""Stops; a third of one per step, so that display white (0) lies on the lattice, where the Standard transform has a
kink."""


def tabulate_view_transform(scene: bpy.types.Scene, folder: Path) -> ViewTransform:
    """A table of what Blender's display path makes of linear colours; the scene's exposure is part of it."""
    shift = scene.view_settings.exposure
    stops = 2.0 ** (np.linspace(LOW, HIGH, STEPS) - shift)
    colours = np.stack(np.meshgrid(stops, stops, stops, indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = bpy.data.images.new("Blendset lattice", STEPS * STEPS, STEPS, float_buffer=True)
    try:
        lattice.pixels.foreach_set(np.c_[colours, np.ones(len(colours))].astype(np.float32).ravel())
        path = folder / "lattice.png"
        with use_image_format(scene, PNG | {"color_depth": "16"}):
            lattice.save_render(str(path), scene=scene)
        table = read_image(path)[::-1].reshape(STEPS, STEPS, STEPS, 3)
    finally:
        bpy.data.images.remove(lattice)
    return ViewTransform(table, LOW - shift, HIGH - shift)


def read_image(path: Path) -> np.ndarray:
    """Values 0..1 (H, W, 3) of a picture file, top row first, untouched by colour management."""
    image = bpy.data.images.load(str(path), check_existing=False)
    try:
        image.colorspace_settings.name = "Non-Color"
        size: Any = image.size
        width, height = size
        pixels = np.empty(width * height * 4, dtype=np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1, :, :3]

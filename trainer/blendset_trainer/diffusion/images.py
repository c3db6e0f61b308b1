# SPDX-License-Identifier: Apache-2.0
"""Images cropped and resized to the size that a model takes, and images of a model written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from blendset_trainer.readers.images import decode_image, put_on_white, read_image_bytes

Size = tuple[int, int]
"""Width and height in pixels."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom in pixels."""
CENTRE = (0.5, 0.5)
"""Where a crop is taken: 0..1, right and down."""


@dataclass(frozen=True)
class Placement:
    """How an image covers a size: the box of it that is kept, in its own pixels, and SDXL's size conditions.

    `conditions` (arXiv 2307.01952, 2.2) are original height and width, top and left of the crop in the resized image,
    target height and width.
    """

    box: Box
    conditions: tuple[int, int, int, int, int, int]


def cover_size(size: Size, target: Size, at: tuple[float, float] = CENTRE) -> Placement:
    """The crop, `at` (0..1, right and down), with which an image of `size` covers `target`."""
    scale = max(target[0] / size[0], target[1] / size[1])
    kept = [side / scale for side in target]
    left, top = ((full - part) * where for full, part, where in zip(size, kept, at, strict=True))
    crop = round(top * scale), round(left * scale)
    return Placement((left, top, left + kept[0], top + kept[1]), (size[1], size[0], *crop, target[1], target[0]))


def crop_and_resize(image: Image.Image, size: Size, at: tuple[float, float] = CENTRE) -> NDArray[np.uint8]:
    """The pixels (height, width, ...) of an image cropped to the aspect of `size` and resized to it."""
    box = cover_size(image.size, size, at).box
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS, box))


def load_reference_image(path: Path, size: Size) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image cropped and resized to `size`: sRGB pixels (height, width, 3), and where it is opaque (height, width).

    Raises BlendsetError where it cannot be read.
    """
    image = decode_image(read_image_bytes(path), path).image.convert("RGBA")
    return crop_and_resize(put_on_white(image), size), crop_and_resize(image.getchannel("A"), size) > 127


def to_image(pixels: torch.Tensor) -> Image.Image:
    """The sRGB image of pixels (3, H, W) in -1..1."""
    levels = ((pixels.permute(1, 2, 0) + 1) * 127.5).round().to("cpu", torch.uint8)
    return Image.fromarray(levels.numpy())


def make_grid(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one size in rows of a grid that is as nearly square as they fit."""
    columns = math.ceil(math.sqrt(len(images)))
    width, height = images[0].size
    grid = Image.new("RGB", (columns * width, math.ceil(len(images) / columns) * height), "white")
    for number, image in enumerate(images):
        grid.paste(image, (number % columns * width, number // columns * height))
    return grid

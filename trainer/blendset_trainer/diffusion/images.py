# SPDX-License-Identifier: Apache-2.0
"""Image files read, cropped and resized to the size that a model takes, and images of a model written."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from blendset.errors import BlendsetError

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


def read_image_bytes(path: Path) -> bytes:
    """The bytes of a file; BlendsetError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise BlendsetError(f"{path} cannot be read ({error.strerror}); restore it.") from error


def decode_image(path: Path, data: bytes, convert: Callable[[Image.Image], Image.Image]) -> Image.Image:
    """What `convert` makes of the image in a file's bytes; BlendsetError where they are no image."""
    try:
        with Image.open(io.BytesIO(data)) as file:
            return convert(file)
    except Exception as error:  # what Pillow's readers raise over a damaged file has no common kind
        raise BlendsetError(f"{path} is no readable picture ({error}); restore it.") from error


def to_upright_rgb(file: Image.Image) -> Image.Image:
    """An image in RGB, turned as its camera was held, with white behind transparency."""
    image = ImageOps.exif_transpose(file)
    if not image.has_transparency_data:
        return image.convert("RGB")
    return put_on_white(image.convert("RGBA"))


def put_on_white(image: Image.Image) -> Image.Image:
    """An RGBA image as RGB, with white behind its transparency."""
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def load_reference_image(path: Path, size: Size) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """An image cropped and resized to `size`: sRGB pixels (height, width, 3), and where it is opaque (height, width).

    Raises BlendsetError where it cannot be read.
    """
    image = decode_image(path, read_image_bytes(path), lambda file: ImageOps.exif_transpose(file).convert("RGBA"))
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


def encode_png(image: Image.Image) -> bytes:
    """The bytes of a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()

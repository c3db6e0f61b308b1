# SPDX-License-Identifier: Apache-2.0
"""From a sample's files to pixels of a bucket's size: crop and resize, grids and tiles, masks as loss weights.

A bucket is a width and height in pixels; a micro-batch has one, and pictures go into the one of the nearest aspect.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from blendset.errors import BlendsetError
from blendset.exr import read_passes
from blendset.files import sha256_bytes
from blendset.records import encode_json
from blendset_trainer.training.data.sources import SINGLE, TILED, Sample

Bucket = tuple[int, int]
Number = TypeVar("Number", np.uint8, np.float32)
Box = tuple[float, float, float, float]
CENTRE = (0.5, 0.5)


def make_aspect_buckets(side: int, step: int, most: float = 2.0) -> tuple[Bucket, ...]:
    """Widths and heights, multiples of `step`, with as many pixels as a square of `side` or a few less, none longer
    than `most` times its other side; the square comes first.
    """
    widths = range(step, side * side // step + 1, step)
    sizes = {(width, side * side // width // step * step) for width in widths}
    sizes |= {(height, width) for width, height in sizes}
    fair = {size for size in sizes if min(size) and max(size) <= most * min(size)}
    square = (side // step * step,) * 2
    return square, *sorted(fair - {square})


def find_nearest_buckets(sizes: NDArray[np.int64], buckets: Sequence[Bucket]) -> NDArray[np.int64]:
    """The bucket whose aspect is nearest to each picture's. `sizes` has shape (pictures, 2): width, height."""
    aspects = np.log(sizes[:, 0] / sizes[:, 1])
    offered = np.log([width / height for width, height in buckets])
    return np.asarray(np.abs(aspects[:, None] - offered).argmin(axis=1))


def make_content_key(sample: Sample, layout: str, bucket: Bucket) -> str:
    """What stands for the pixels of a centred crop: the pictures by content, and how they are laid out."""
    return sha256_bytes(encode_json([sample.hashes, layout, bucket]))


@dataclass(frozen=True)
class Placement:
    """How a picture covers its bucket: the box of it that is kept, in its own pixels, and SDXL's conditions.

    `conditions` (arXiv 2307.01952, 2.2) are original height and width, top and left of the crop in the resized picture,
    target height and width.
    """

    box: Box
    conditions: tuple[int, int, int, int, int, int]


def cover_bucket(size: tuple[int, int], bucket: Bucket, at: tuple[float, float] = CENTRE) -> Placement:
    """Cover the bucket with a picture of this size and cut off what stands over, `at` (0..1, right and down)."""
    scale = max(bucket[0] / size[0], bucket[1] / size[1])
    kept = [side / scale for side in bucket]
    left, top = ((full - part) * where for full, part, where in zip(size, kept, at, strict=True))
    crop = round(top * scale), round(left * scale)
    return Placement((left, top, left + kept[0], top + kept[1]), (size[1], size[0], *crop, bucket[1], bucket[0]))


def load_pixels(sample: Sample, layout: str, bucket: Bucket, at: tuple[float, float] = CENTRE) -> NDArray[np.uint8]:
    """The sample's pixels, sRGB. Shape (height, width, 3). Raises BlendsetError for a picture that cannot be read."""
    cell = compute_cell_size(bucket, layout)
    pictures = zip(sample.pictures, sample.hashes, strict=True)
    return tile_cells([_crop_and_resize(_open_picture(path, sha256), cell, at) for path, sha256 in pictures], layout)


def load_loss_mask(
    sample: Sample, layout: str, bucket: Bucket, background: float, at: tuple[float, float] = CENTRE
) -> NDArray[np.float32]:
    """1 where the sample's subject is, `background` elsewhere, and 1 all over without passes or subject.

    Shape (height, width). Raises BlendsetError where passes cannot be read.
    """
    cell = compute_cell_size(bucket, layout)
    masks = [
        _load_subject_mask(path, objects, cell, at) if path and objects else np.ones(cell[::-1], dtype=np.float32)
        for path, objects in zip(sample.passes, sample.subjects, strict=True)
    ]
    return np.float32(background) + np.float32(1 - background) * tile_cells(masks, layout)


def compute_canvas_size(size: tuple[int, int], layout: str) -> tuple[int, int]:
    """The size of a whole layout of pictures of this size."""
    return size if layout == SINGLE else (size[0] * 2, size[1] * 2)


def compute_cell_size(bucket: Bucket, layout: str) -> Bucket:
    """The size of each picture in a layout."""
    return bucket if layout == SINGLE else (bucket[0] // 2, bucket[1] // 2)


def tile_cells(cells: Sequence[NDArray[Number]], layout: str) -> NDArray[Number]:
    """One array from one or four: as it is, four times, or top left, top right, bottom left, bottom right."""
    if layout == SINGLE:
        return cells[0]
    first, second, third, fourth = [cells[0]] * 4 if layout == TILED else cells
    return np.concatenate([np.concatenate([first, second], axis=1), np.concatenate([third, fourth], axis=1)])


def load_reference_picture(path: Path, bucket: Bucket) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture that a person gives, in a bucket's size: pixels (height, width, 3), sRGB, and where it is not to be
    seen through (height, width), all over without transparency. Raises BlendsetError where it cannot be read.
    """
    picture = _decode(path, _read_bytes(path), lambda file: ImageOps.exif_transpose(file).convert("RGBA"))
    return _crop_and_resize(_put_on_white(picture), bucket, CENTRE), _crop_and_resize(
        picture.getchannel("A"), bucket, CENTRE
    ) > 127


def _open_picture(path: Path, sha256: str) -> Image.Image:
    """A picture in RGB, if it is still the one with this hash."""
    data = _read_bytes(path)
    if sha256_bytes(data) != sha256:
        raise BlendsetError(f"{path} is not the picture that it was when it was listed; restore it, or list it again.")
    return _decode(path, data, _to_upright_rgb)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise BlendsetError(f"{path} cannot be read ({error.strerror}); restore it.") from error


def _decode(path: Path, data: bytes, wanted: Callable[[Image.Image], Image.Image]) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data)) as file:
            return wanted(file)
    except Exception as error:  # what Pillow's readers raise over a damaged file has no common kind
        raise BlendsetError(f"{path} is no readable picture ({error}); restore it.") from error


def _to_upright_rgb(file: Image.Image) -> Image.Image:
    """In RGB, turned as its camera was held, on white where one can see through it."""
    picture = ImageOps.exif_transpose(file)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    return _put_on_white(picture.convert("RGBA"))


def _put_on_white(picture: Image.Image) -> Image.Image:
    """An RGBA picture on white."""
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def _crop_and_resize(picture: Image.Image, size: Bucket, at: tuple[float, float]) -> NDArray[np.uint8]:
    box = cover_bucket(picture.size, size, at).box
    return np.asarray(picture.resize(size, Image.Resampling.LANCZOS, box))


def _load_subject_mask(
    path: Path, objects: Sequence[int], size: Bucket, at: tuple[float, float]
) -> NDArray[np.float32]:
    """The share of each pixel that is the subject's."""
    mask = Image.fromarray(np.isin(read_passes(path).id, objects).astype(np.float32))
    return np.asarray(mask.resize(size, Image.Resampling.BOX, cover_bucket(mask.size, size, at).box))

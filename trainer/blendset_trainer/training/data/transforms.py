# SPDX-License-Identifier: Apache-2.0
"""From a sample's files to pixels of a bucket's size: crop and resize, grids and tiles, masks as loss weights.

A bucket is a width and height in pixels; a micro-batch has one, and images go into the one of the nearest aspect.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.errors import BlendsetError
from blendset.exr import read_passes
from blendset.files import sha256_bytes
from blendset.records import encode_json
from blendset_trainer.diffusion.images import CENTRE, cover_size, crop_and_resize
from blendset_trainer.readers.images import READER_VERSION, decode_rgb, read_image_bytes
from blendset_trainer.training.data.sources import SINGLE, TILED, Sample, SourceSettings

Bucket = tuple[int, int]
"""Width and height in pixels."""
Number = TypeVar("Number", np.uint8, np.float32)


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
    """The number of the bucket with the nearest aspect, (N,), for images of `sizes` (N, 2): width, height."""
    aspects = np.log(sizes[:, 0] / sizes[:, 1])
    bucket_aspects = np.log([width / height for width, height in buckets])
    return np.asarray(np.abs(aspects[:, None] - bucket_aspects).argmin(axis=1))


def make_content_key(settings: SourceSettings, sample: Sample, bucket: Bucket) -> str:
    """A hash of the pixels of a sample's centred crop: of the content of its images, the layout and the size.

    Photographs may be stored in any way, so the version of their reader counts; our own pictures are plain.
    """
    reader = [READER_VERSION] if settings.folder else []
    return sha256_bytes(encode_json([sample.hashes, settings.layout, bucket, *reader]))


def load_pixels(sample: Sample, layout: str, bucket: Bucket, at: tuple[float, float] = CENTRE) -> NDArray[np.uint8]:
    """The sample's sRGB pixels (height, width, 3), cropped `at`; BlendsetError for an image that cannot be read."""
    cell = compute_cell_size(bucket, layout)
    images = [_open_image(path, sha256) for path, sha256 in zip(sample.pictures, sample.hashes, strict=True)]
    return tile_cells([crop_and_resize(image, cell, at) for image in images], layout)


def load_loss_mask(
    sample: Sample, layout: str, bucket: Bucket, background: float, at: tuple[float, float] = CENTRE
) -> NDArray[np.float32]:
    """Loss weights (height, width): 1 where the sample's subject is, `background` elsewhere; 1 without passes.

    Raises BlendsetError where passes cannot be read.
    """
    cell = compute_cell_size(bucket, layout)
    masks = [
        _load_subject_mask(path, objects, cell, at) if path and objects else np.ones(cell[::-1], dtype=np.float32)
        for path, objects in zip(sample.passes, sample.subjects, strict=True)
    ]
    return np.float32(background) + np.float32(1 - background) * tile_cells(masks, layout)


def compute_canvas_size(size: tuple[int, int], layout: str) -> tuple[int, int]:
    """Width and height of a layout of images of this size."""
    return size if layout == SINGLE else (size[0] * 2, size[1] * 2)


def compute_cell_size(bucket: Bucket, layout: str) -> Bucket:
    """Width and height of each image in a layout of the bucket's size."""
    return bucket if layout == SINGLE else (bucket[0] // 2, bucket[1] // 2)


def tile_cells(cells: Sequence[NDArray[Number]], layout: str) -> NDArray[Number]:
    """One array of cells (h, w, ...): the one, it four times, or top left, top right, bottom left, bottom right."""
    if layout == SINGLE:
        return cells[0]
    first, second, third, fourth = [cells[0]] * 4 if layout == TILED else cells
    return np.concatenate([np.concatenate([first, second], axis=1), np.concatenate([third, fourth], axis=1)])


def _open_image(path: Path, sha256: str) -> Image.Image:
    """An image in RGB; BlendsetError where its file no longer has this hash."""
    data = read_image_bytes(path)
    if sha256_bytes(data) != sha256:
        raise BlendsetError(f"{path} is not the picture that it was when it was listed; restore it, or list it again.")
    return decode_rgb(data, path)


def _load_subject_mask(
    path: Path, objects: Sequence[int], size: Bucket, at: tuple[float, float]
) -> NDArray[np.float32]:
    """The share of the subject in each pixel, (height, width)."""
    mask = Image.fromarray(np.isin(read_passes(path).id, objects).astype(np.float32))
    return np.asarray(mask.resize(size, Image.Resampling.BOX, cover_size(mask.size, size, at).box))

# SPDX-License-Identifier: Apache-2.0
"""Thumbnails of views: the picture, and objects, depth and normals in colours that a person can read.

They stay in the dataset's cache under the hash of their inputs, so that a second report needs no decoding.
"""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.dataset import CACHE, PASSES, Dataset, get_picture_name
from blendset.errors import BlendsetError, DiskError
from blendset.exr import Passes
from blendset.files import atomic_write, sha256_bytes
from blendset.records import ViewRecord
from blendset_trainer.readers.images import load_rgb

KINDS = ("Picture", "Objects", "Depth", "Normals")
MISSING = "-"
"""Stands for a picture that a view does not have."""
CACHE_VERSION = "1"
"""Raised when thumbnails come out differently, so that cached ones are made again."""
QUALITY = 78
"""Of WebP, 0 to 100."""
SIZES = ((200, 320), (1000, 224), (10**9, 144))
"""For at most so many views, the pixels on a thumbnail's longer side: a page stays below about 50 MB."""

SUBJECT_COLOUR, BACKGROUND = np.array([0.96, 0.62, 0.22]), np.array([0.10, 0.11, 0.13])
DEPTH_COLOURS = np.array([[255, 238, 204], [244, 167, 98], [178, 74, 92], [84, 40, 98], [22, 20, 48]]) / 255
"""From near to far."""

RgbImage = NDArray[np.uint8]
"""8-bit sRGB (H, W, 3)."""


def choose_size(views: int) -> int:
    """Choose the pixels on the longer side of a thumbnail for a number of views."""
    return next(size for most, size in SIZES if views <= most)


def build_thumbnails(
    dataset: Dataset, views: Sequence[ViewRecord], on_progress: Callable[[int], None] = lambda done: None
) -> list[str]:
    """Build one line per view: its KINDS as base64 WebP between spaces, MISSING for each that there is none of."""
    size, lines = choose_size(len(views)), list[str]()
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # zlib, Pillow and numpy let go of the interpreter
        for line in threads.map(lambda view: _build_line(dataset, view, size), views):
            lines.append(line)
            on_progress(len(lines))
    return lines


def encode_thumbnail(path: Path, size: int) -> str:
    """Return a picture of at most `size` pixels a side as a data URI; "" where it cannot be read."""
    encoded = _encode_webp(_read_rgb(path), size)
    return "" if encoded == MISSING else f"data:image/webp;base64,{encoded}"


def _build_line(dataset: Dataset, view: ViewRecord, size: int) -> str:
    """Build the line of one view, from the cache or into it; a line with a damaged file is never cached."""
    key_parts = [
        CACHE_VERSION,
        size,
        view.subject_objects,
        *(view.files[name].sha256 for name in (get_picture_name(view), PASSES) if name in view.files),
    ]
    key = sha256_bytes(repr(key_parts).encode())
    cached = dataset.root / CACHE / "thumbnails" / key[:2] / f"{key}.txt"
    if cached.exists():
        return cached.read_text(encoding="ascii")
    picture = _read_rgb(dataset.rgb_path(view))
    passes = _colour_passes(dataset, view, size)
    line = " ".join(_encode_webp(pixels, size) for pixels in (picture, *passes))
    if MISSING not in line.split(" ")[: 4 if PASSES in view.files else 1]:
        with suppress(DiskError):  # a report of a dataset on a read-only disk only takes longer
            atomic_write(cached, line.encode(), sync_folder=False)
    return line


def _read_rgb(path: Path) -> RgbImage | None:
    """Read a picture; None where it is damaged."""
    try:
        return np.asarray(load_rgb(path))
    except BlendsetError:
        return None


def _colour_passes(dataset: Dataset, view: ViewRecord, size: int) -> tuple[RgbImage | None, ...]:
    """Objects, depth and normals in colours, subsampled to about twice the thumbnail's size; None where missing."""
    if PASSES not in view.files:
        return None, None, None
    try:
        passes = dataset.passes(view)
    except BlendsetError:
        return None, None, None
    step = max(1, max(passes.id.shape) // (2 * size))
    subsampled = Passes(passes.depth[::step, ::step], passes.normal[::step, ::step], passes.id[::step, ::step])
    colours = (
        colour_objects(subsampled.id, view.subject_objects),
        colour_depth(subsampled.depth),
        colour_normals(subsampled),
    )
    return tuple(np.round(255 * colour).astype(np.uint8) for colour in colours)


def colour_objects(ids: NDArray[np.uint32], subject: Sequence[int]) -> NDArray[Any]:
    """Colour ids (H, W) as (H, W, 3) in 0..1: `subject` ids in shades of orange, others muted, background dark."""
    unique_ids, indices = np.unique(ids, return_inverse=True)
    shade = (unique_ids * 0.618034) % 1  # the golden ratio keeps neighbouring ids apart
    hue = np.stack([np.cos(2 * np.pi * (shade + turn)) for turn in (0.0, 1 / 3, 2 / 3)], axis=1)
    muted = 0.30 + 0.28 * ((unique_ids * 0.754878) % 1)[:, None] + 0.09 * hue
    bright = SUBJECT_COLOUR * (0.72 + 0.28 * shade[:, None])
    colours = np.where(np.isin(unique_ids, subject)[:, None], bright, muted)
    colours[unique_ids == 0] = BACKGROUND
    return np.asarray(colours[indices.reshape(ids.shape)])


def colour_depth(depth: NDArray[np.float32]) -> NDArray[Any]:
    """Colour depth (H, W) as (H, W, 3) in 0..1: near light, far dark, evenly in the logarithm of the distance."""
    near_to_far = np.full(depth.shape, np.inf)
    has_surface = np.isfinite(depth) & (depth > 0)
    if has_surface.any():
        logs = np.log(depth[has_surface])
        near, far = np.percentile(logs, (1, 99))
        near_to_far[has_surface] = np.clip((logs - near) / max(far - near, 1e-6), 0, 1)
    steps = np.linspace(0, 1, len(DEPTH_COLOURS))
    colours = np.stack([np.interp(near_to_far, steps, channel) for channel in DEPTH_COLOURS.T], axis=2)
    colours[~has_surface] = BACKGROUND
    return colours


def colour_normals(passes: Passes) -> NDArray[Any]:
    """Colour normals as (H, W, 3) in 0..1: world X, Y and Z as red, green and blue, as in normal maps."""
    colours = 0.5 + 0.5 * np.clip(passes.normal.astype(np.float64), -1, 1)
    colours[passes.id == 0] = BACKGROUND
    return colours


def _encode_webp(pixels: RgbImage | None, size: int) -> str:
    """Encode a picture as base64 WebP of at most `size` pixels a side; MISSING for None."""
    if pixels is None:
        return MISSING
    small, data = Image.fromarray(pixels), io.BytesIO()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    small.save(data, "WEBP", quality=QUALITY, method=4)
    return base64.b64encode(data.getvalue()).decode()

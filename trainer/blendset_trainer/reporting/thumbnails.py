# SPDX-License-Identifier: Apache-2.0
"""Small pictures of views: the colours, and the objects, depth and normals in colours that a person can read.

Kept in the dataset's cache under the hash of what they show, so that a second report needs no decoding.
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

from blendset.dataset import PASSES, RGB, Dataset
from blendset.errors import BlendsetError, DiskError
from blendset.exr import Passes
from blendset.files import atomic_write, sha256_bytes
from blendset.records import ViewRecord
from blendset_trainer.stages.tables import CACHE

KINDS = ("Picture", "Objects", "Depth", "Normals")
NONE = "-"
"""Stands for a picture that a view does not have."""
LOOK = "1"
"""Raised when thumbnails come out differently, so that old ones are made again."""
QUALITY = 78
SIZES = ((200, 320), (1000, 224), (10**9, 144))
"""The most views, and the pixels on the longer side that a thumbnail then has: a page stays below about 50 MB."""

SUBJECT, NOTHING = np.array([0.96, 0.62, 0.22]), np.array([0.10, 0.11, 0.13])
NEAR_TO_FAR = np.array([[255, 238, 204], [244, 167, 98], [178, 74, 92], [84, 40, 98], [22, 20, 48]]) / 255

Pixels = NDArray[np.uint8]


def size_for(views: int) -> int:
    """Pixels on the longer side of the thumbnails of that many views."""
    return next(size for most, size in SIZES if views <= most)


def thumbnails(
    dataset: Dataset, views: Sequence[ViewRecord], on_progress: Callable[[int], None] = lambda done: None
) -> list[str]:
    """One line per view: its KINDS as base64 WebP between spaces, NONE for each that cannot be shown."""
    size, lines = size_for(len(views)), list[str]()
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # zlib, Pillow and numpy let go of the interpreter
        for line in threads.map(lambda view: _line(dataset, view, size), views):
            lines.append(line)
            on_progress(len(lines))
    return lines


def _line(dataset: Dataset, view: ViewRecord, size: int) -> str:
    """The line of one view, from the cache or into it; one with a damaged file is never kept."""
    shown = [
        LOOK,
        size,
        view.subject_objects,
        *(view.files[name].sha256 for name in (RGB, PASSES) if name in view.files),
    ]
    key = sha256_bytes(repr(shown).encode())
    cached = dataset.root / CACHE / "thumbnails" / key[:2] / f"{key}.txt"
    if cached.exists():
        return cached.read_text(encoding="ascii")
    picture = _rgb(dataset.rgb_path(view))
    passes = _passes(dataset, view, size)
    line = " ".join(_webp(pixels, size) for pixels in (picture, *passes))
    if NONE not in line.split(" ")[: 4 if PASSES in view.files else 1]:
        with suppress(DiskError):  # a report of a dataset on a read-only disk only takes longer
            atomic_write(cached, line.encode(), sync_folder=False)
    return line


def _rgb(path: Path) -> Pixels | None:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError:
        return None


def _passes(dataset: Dataset, view: ViewRecord, size: int) -> tuple[Pixels | None, ...]:
    """Objects, depth and normals in colours, thinned to about twice the size that they are shown in."""
    if PASSES not in view.files:
        return None, None, None
    try:
        passes = dataset.passes(view)
    except BlendsetError:
        return None, None, None
    step = max(1, max(passes.id.shape) // (2 * size))
    thin = Passes(passes.depth[::step, ::step], passes.normal[::step, ::step], passes.id[::step, ::step])
    colours = object_colours(thin.id, view.subject_objects), depth_colours(thin.depth), normal_colours(thin)
    return tuple(np.round(255 * colour).astype(np.uint8) for colour in colours)


def object_colours(ids: NDArray[np.uint32], subject: Sequence[int]) -> NDArray[Any]:
    """Colours (height, width, 3) in 0..1: the subject's parts in shades of orange, all else muted, nothing dark."""
    present, where = np.unique(ids, return_inverse=True)
    shade = (present * 0.618034) % 1  # the golden ratio keeps neighbouring ids apart
    hue = np.stack([np.cos(2 * np.pi * (shade + turn)) for turn in (0.0, 1 / 3, 2 / 3)], axis=1)
    muted = 0.30 + 0.28 * ((present * 0.754878) % 1)[:, None] + 0.09 * hue
    bright = SUBJECT * (0.72 + 0.28 * shade[:, None])
    colours = np.where(np.isin(present, subject)[:, None], bright, muted)
    colours[present == 0] = NOTHING
    return np.asarray(colours[where.reshape(ids.shape)])


def depth_colours(depth: NDArray[np.float32]) -> NDArray[Any]:
    """Colours (height, width, 3) in 0..1, near light and far dark, spread evenly in the logarithm of the distance."""
    near_to_far = np.full(depth.shape, np.inf)
    there = np.isfinite(depth) & (depth > 0)
    if there.any():
        logs = np.log(depth[there])
        near, far = np.percentile(logs, (1, 99))
        near_to_far[there] = np.clip((logs - near) / max(far - near, 1e-6), 0, 1)
    steps = np.linspace(0, 1, len(NEAR_TO_FAR))
    colours = np.stack([np.interp(near_to_far, steps, channel) for channel in NEAR_TO_FAR.T], axis=2)
    colours[~there] = NOTHING
    return colours


def normal_colours(passes: Passes) -> NDArray[Any]:
    """Colours (height, width, 3) in 0..1: world X, Y and Z as red, green and blue, as normal maps show them."""
    colours = 0.5 + 0.5 * np.clip(passes.normal.astype(np.float64), -1, 1)
    colours[passes.id == 0] = NOTHING
    return colours


def _webp(pixels: Pixels | None, size: int) -> str:
    if pixels is None:
        return NONE
    small, data = Image.fromarray(pixels), io.BytesIO()
    small.thumbnail((size, size), Image.Resampling.LANCZOS)
    small.save(data, "WEBP", quality=QUALITY, method=4)
    return base64.b64encode(data.getvalue()).decode()

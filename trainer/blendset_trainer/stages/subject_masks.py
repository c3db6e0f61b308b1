# SPDX-License-Identifier: Apache-2.0
"""Where a picture shows its subject: by render passes, object ids, transparency, a plain background, or a segmenter.

The first three are exact. A plain background is what is connected to the border and of its colour. Of what a segmenter
finds around the middle of a picture, that counts which holds most of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from blendset.errors import BlendsetError
from blendset.masks import Mask
from blendset_trainer.models.segmenter import Segmenter
from blendset_trainer.readers.images import decode_image
from blendset_trainer.stages.mask_origins import ALPHA, AUTO, BACKGROUND, OBJECT_IDS, RENDER_PASSES, SEGMENTER
from blendset_trainer.stages.stage import View

TOLERANCE = 20
"""Grey levels, 0 to 255, by which a plain background may vary in each channel."""
MAX_BORDER = 0.1
"""Share of the border's pixels that a subject may cover; one that covers more is cut off."""
MIN_SHARE, MAX_SHARE = 0.005, 0.95
"""Shares of a picture between which a subject lies."""
SPECK = 0.05
"""Parts of a mask with fewer pixels than this share of the largest part are dust."""
GRID = (0.3, 0.5, 0.7)
"""Where the points lie that a segmenter is asked about, across and down: 0..1."""
Pixels = NDArray[np.uint8]
"""(H, W, 3), 0..255."""


class NoMaskError(BlendsetError):
    """A picture has no mask of its subject. The message says why, as a sentence
    without a beginning and an end."""


def choose_origin(view: View, requested: str, has_segmenter: bool) -> str:
    """Return by what the subject's mask of a view is found: what is requested, or the first that finds one.

    Raises NoMaskError where nothing does. What a segmenter would find is not looked at.
    """
    reason = NoMaskError("there is no mask of it")
    for origin in (*ORIGINS, SEGMENTER) if requested == AUTO else (requested,):
        if origin == SEGMENTER and has_segmenter:
            return origin
        if origin == RENDER_PASSES and view.has_passes:
            if view.record.subject:
                return origin  # whatever the passes hold is said when they are read
            raise NoMaskError("no subject is shown")
        try:
            if origin != SEGMENTER:
                find_subject_mask(view, origin)
                return origin
        except NoMaskError as error:
            reason = error
    raise reason


def find_subject_mask(view: View, origin: str, segmenter: Segmenter | None = None) -> Mask:
    """Return the mask (H, W) of a view's subject by `origin`; NoMaskError where that finds none."""
    if origin == SEGMENTER:
        assert segmenter is not None
        return segment_subject(view.rgb, segmenter)
    return ORIGINS[origin](view)


def _read_passes_mask(view: View) -> Mask:
    mask = view.subject_mask if view.has_passes else None
    if mask is None:
        raise NoMaskError("there are no render passes")
    return _refuse_nothing(mask)


def _read_ids_mask(view: View) -> Mask:
    """The subject's objects, or in a picture without a subject the object that covers most of it."""
    if not view.has_ids:
        raise NoMaskError("there are no object ids")
    if (mask := view.subject_mask) is not None:
        return _refuse_nothing(mask)
    pixels = np.bincount(view.ids.ravel(), minlength=1)
    pixels[0] = 0
    return _refuse_nothing((view.ids == pixels.argmax()) & (view.ids > 0))


def _read_alpha_mask(view: View) -> Mask:
    """What is at least half opaque."""
    image = decode_image(view.read_picture(), view.picture_path, view.cure).image
    if image.mode != "RGBA":
        raise NoMaskError("it has no transparency")
    mask = np.asarray(image.getchannel("A")) > 127
    if mask.all():
        raise NoMaskError("nothing is transparent")
    return _refuse_nothing(mask)


def cut_plain_background(rgb: Pixels) -> Mask:
    """The mask (H, W) of what stands before a plain background, in a picture (H, W, 3).

    The background's colour is the border's median. What is of this colour and connected to the border is background.
    Raises NoMaskError for a border of several colours, and where nothing, or all, stands before it.
    """
    border = _mark_border(rgb.shape[0], rgb.shape[1])
    colour = np.median(rgb[border], axis=0)
    low, high = (np.uint8(np.clip(colour + side, 0, 255)) for side in (-TOLERANCE, TOLERANCE))
    plain = np.asarray(((rgb >= low) & (rgb <= high)).all(axis=2))
    if plain[border].mean() < 1 - MAX_BORDER:
        raise NoMaskError("the background is not plain, or the subject is cut off")
    parts, count = ndimage.label(plain)
    outside = np.zeros(count + 1, bool)
    outside[parts[border & plain]] = True
    return _refuse_nothing(_remove_specks(~outside[parts]))


def segment_subject(rgb: Pixels, segmenter: Segmenter) -> Mask:
    """The mask (H, W) of the subject of a picture (H, W, 3) by a segmenter; NoMaskError where it finds none."""
    height, width = rgb.shape[:2]
    points = [(across * width, down * height) for down in GRID for across in GRID]
    masks, ratings = segmenter.segment_points(rgb, points)
    return choose_mask(masks.reshape(-1, height, width), ratings.ravel(), points)


def choose_mask(masks: NDArray[np.bool_], ratings: NDArray[np.float32], points: list[tuple[float, float]]) -> Mask:
    """Return that mask (H, W) of several (N, H, W) which holds most of the points (x, y), and of such the best rated.

    Those that are no subject by their size, or that are cut off at the border, do not count. Raises NoMaskError where
    none is left.
    """
    border = _mark_border(*masks.shape[1:])
    shares, cut_off = masks.mean(axis=(1, 2)), masks[:, border].mean(axis=1)
    sound = (shares >= MIN_SHARE) & (shares <= MAX_SHARE) & (cut_off <= MAX_BORDER)
    if not sound.any():
        raise NoMaskError("the segmenter finds no subject that stands free of the border")
    held = np.array([[mask[int(y), int(x)] for x, y in points] for mask in masks]).sum(axis=1)
    best = max(np.flatnonzero(sound), key=lambda number: (held[number], ratings[number]))
    return _remove_specks(masks[best])


def _mark_border(height: int, width: int) -> Mask:
    """The outermost pixels (H, W), one in 64 of a side deep."""
    deep = max(1, min(height, width) // 64)
    border = np.ones((height, width), bool)
    border[deep:-deep, deep:-deep] = False
    return border


def _remove_specks(mask: Mask) -> Mask:
    """A mask (H, W) without its small parts."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept: Mask = (sizes >= SPECK * sizes.max())[parts] & mask
    return kept


def _refuse_nothing(mask: Mask) -> Mask:
    if not MIN_SHARE <= mask.mean() <= MAX_SHARE:
        raise NoMaskError("the mask covers nothing" if mask.mean() < MIN_SHARE else "the mask covers all")
    return mask


ORIGINS: dict[str, Callable[[View], Mask]] = {
    RENDER_PASSES: _read_passes_mask,
    OBJECT_IDS: _read_ids_mask,
    ALPHA: _read_alpha_mask,
    BACKGROUND: lambda view: cut_plain_background(view.rgb),
}
"""What finds the mask of a subject without a model, in the order in which they are tried."""

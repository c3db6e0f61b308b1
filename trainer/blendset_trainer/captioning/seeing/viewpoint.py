# SPDX-License-Identifier: Apache-2.0
"""Camera and light of a view: camera angle, distance, brightness, colour cast and side of the light, background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from blendset.masks import Mask
from blendset_trainer.captioning.seeing.colours import MAX_COOL_CHROMA
from blendset_trainer.captioning.seeing.gbuffer import GBuffer
from blendset_trainer.captioning.seeing.segments import ObjectSegment

MAX_WARM_CHROMA = 16
"""Less colourful pixels may be white in warm light."""
MIN_EXPLAINED_VARIANCE, MIN_SLANT = 0.25, 0.1
"""The share of lightness' variance that normals must explain, and how much brighter one side must be."""


def find_camera_angle(gbuffer: GBuffer) -> str:
    """Where the camera looks from: "directly above", "above", "slightly above", "level" or "below"."""
    pitch = float(np.degrees(np.arcsin(np.clip(-gbuffer.camera.rotation[2, 2], -1, 1))))  # above the horizon
    steps = ((-65, "directly above"), (-30, "above"), (-10, "slightly above"), (12, "level"))
    return next((name for limit, name in steps if pitch < limit), "below")


def find_distance(subject: ObjectSegment | None) -> str:
    """ "wide" for a view of the scene, "close" where the subject fills much of the picture, else ""."""
    if subject is None:
        return "wide"
    return "close" if subject.share > 0.25 else ""


def describe_light(rgb: NDArray[np.uint8], covered: Mask) -> tuple[str, ...]:
    """Words for the light where it is clear: "dim" or "bright", and "warm" or "cool" by the brightest neutral pixels.

    `rgb` (H, W, 3) is 8-bit sRGB; only pixels of the mask `covered` (H, W) count.
    """
    if not covered.any():
        return ()
    lab = rgb2lab(rgb)[covered]
    mean = float(lab[:, 0].mean())
    limit = np.where(lab[:, 2] < 0, MAX_COOL_CHROMA, MAX_WARM_CHROMA)
    white = lab[(lab[:, 0] > np.percentile(lab[:, 0], 70)) & (np.hypot(lab[:, 1], lab[:, 2]) < limit)]
    cast = float(np.median(white[:, 2])) if len(white) > 0.1 * len(lab) else 0.0
    words = ["dim"] if mean < 33 else ["bright"] if mean > 64 else []
    return (*words, *(["warm"] if cast > 8 else ["cool"] if cast < -6 else []))


def is_colourless(rgb: NDArray[np.uint8]) -> bool:
    """Whether the whole picture (H, W, 3) is in shades of grey, as clay renders are."""
    span = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return float(np.mean(span > 12)) < 0.02


def find_light_side(gbuffer: GBuffer) -> str:
    """ "left" or "right" where surfaces that face that way are clearly brighter than others, else "".

    Lightness is fitted linearly to the normals in camera space, as matt surfaces of one paint behave under one light.
    Where surfaces have many colours, the fit means nothing.
    """
    covered = gbuffer.ids > 0
    if np.count_nonzero(covered) < 100:
        return ""
    normals = gbuffer.normals[covered] @ gbuffer.camera.rotation
    lightness = gbuffer.lab[covered][:, 0]
    design = np.column_stack([normals, np.ones(len(normals))])
    coefficients, *_ = np.linalg.lstsq(design, lightness, rcond=None)
    explained_variance = 1 - np.var(lightness - design @ coefficients) / max(float(np.var(lightness)), 1e-9)
    if explained_variance < MIN_EXPLAINED_VARIANCE or abs(coefficients[0]) < MIN_SLANT * lightness.mean():
        return ""
    return "right" if coefficients[0] > 0 else "left"


def describe_background(rgb: NDArray[np.uint8], covered: Mask) -> str:
    """The background, outside the mask `covered` (H, W): "dark", "pale", "plain", or "" where there is little of it."""
    if np.mean(~covered) < 0.12:
        return ""
    lightness = float(np.median(rgb2lab(rgb)[~covered][:, 0]))
    return "dark" if lightness < 35 else "pale" if lightness > 75 else "plain"

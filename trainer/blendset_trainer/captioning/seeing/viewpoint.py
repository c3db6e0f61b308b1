# SPDX-License-Identifier: Apache-2.0
"""How a view is taken: where the camera looks from, how near it is, what the light is like and where it comes from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from blendset_trainer.captioning.seeing.colours import COOL_CHROMA
from blendset_trainer.captioning.seeing.gbuffer import Mask, Picture
from blendset_trainer.captioning.seeing.segments import Thing

WARM_CHROMA = 16
"""What is less colourful may be white in warm light."""
TOLD, SLANTED = 0.25, 0.1
"""How much of the lightness the normals must explain, and how much brighter one side must be."""


def angle(picture: Picture) -> str:
    pitch = float(np.degrees(np.arcsin(np.clip(-picture.camera.rotation[2, 2], -1, 1))))  # above the horizon
    steps = ((-65, "directly above"), (-30, "above"), (-10, "slightly above"), (12, "level"))
    return next((name for limit, name in steps if pitch < limit), "below")


def distance(subject: Thing | None) -> str:
    if subject is None:
        return "wide"
    return "close" if subject.share > 0.25 else ""


def light(rgb: NDArray[np.uint8], shown: Mask) -> tuple[str, ...]:
    """What is clear about the light: how bright the picture is, and the cast of its brightest nearly neutral pixels."""
    if not shown.any():
        return ()
    lab = rgb2lab(rgb)[shown]
    mean = float(lab[:, 0].mean())
    most = np.where(lab[:, 2] < 0, COOL_CHROMA, WARM_CHROMA)
    white = lab[(lab[:, 0] > np.percentile(lab[:, 0], 70)) & (np.hypot(lab[:, 1], lab[:, 2]) < most)]
    cast = float(np.median(white[:, 2])) if len(white) > 0.1 * len(lab) else 0.0
    words = ["dim"] if mean < 33 else ["bright"] if mean > 64 else []
    return (*words, *(["warm"] if cast > 8 else ["cool"] if cast < -6 else []))


def is_colourless(rgb: NDArray[np.uint8]) -> bool:
    """Whether the whole picture is in shades of grey, as clay renders are."""
    span = rgb.max(axis=2).astype(np.int16) - rgb.min(axis=2)
    return float(np.mean(span > 12)) < 0.02


def light_side(picture: Picture) -> str:
    """ "left" or "right" where surfaces that face that way are clearly brighter than others, else "".

    Lightness is fitted to the normals in the camera's own directions: what matt surfaces of one paint do under one
    light; where they have many colours the fit means nothing.
    """
    shown = picture.ids > 0
    if np.count_nonzero(shown) < 100:
        return ""
    normals = picture.normals[shown] @ picture.camera.rotation
    light = picture.lab[shown][:, 0]
    design = np.column_stack([normals, np.ones(len(normals))])
    fit, *_ = np.linalg.lstsq(design, light, rcond=None)
    told = 1 - np.var(light - design @ fit) / max(float(np.var(light)), 1e-9)
    if told < TOLD or abs(fit[0]) < SLANTED * light.mean():
        return ""
    return "right" if fit[0] > 0 else "left"


def emptiness(rgb: NDArray[np.uint8], shown: Mask) -> str:
    """What the background without any object is like: "dark", "pale", "grey", or "" where there is little of it."""
    if np.mean(~shown) < 0.12:
        return ""
    lightness = float(np.median(rgb2lab(rgb)[~shown][:, 0]))
    return "dark" if lightness < 35 else "pale" if lightness > 75 else "plain"

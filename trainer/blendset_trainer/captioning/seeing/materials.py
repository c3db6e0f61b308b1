# SPDX-License-Identifier: Apache-2.0
"""What an object is made of, by the names of its materials, and its colour, by the pixels that they share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from blendset.masks import Mask
from blendset.records import SceneObjectRecord
from blendset_trainer.captioning.seeing.colours import name_colour
from blendset_trainer.captioning.seeing.gbuffer import GBuffer
from blendset_trainer.language.lexicon import MATERIAL_OF, SEE_THROUGH_WORDS

MIN_OPAQUE_SHARE = 0.25
"""A smaller share of a thing's pixels beside its panes is not enough to name its colour by."""
MAX_PAINT_DISTANCE = 18
"""Medians nearer than this in CIELAB's plane of a and b are one paint in different light."""


def find_material(gbuffer: GBuffer, mask: Mask, parts: Sequence[SceneObjectRecord]) -> str:
    """The adjective of the material that most pixels of a mask (H, W) have; "" where the names tell none.

    A thing is of glass where all its parts in sight are: large panes make no glass car.
    """
    pixels: dict[str, int] = defaultdict(int)
    for part in parts:
        if material := _name_material(part):
            pixels[material] += int(np.count_nonzero(gbuffer.ids[mask] == part.id))
    best = max(pixels, key=lambda name: pixels[name], default="")
    if best in SEE_THROUGH_WORDS and any(part.thing and _name_material(part) != best for part in parts):
        return ""
    return best if best and pixels[best] > 0.6 * np.count_nonzero(mask) else ""


def _name_material(part: SceneObjectRecord) -> str:
    """The adjective of an object's only material; "" where it has several, or the name tells none."""
    adjectives = {MATERIAL_OF[word] for name in part.materials for word in _split_words(name) if word in MATERIAL_OF}
    return adjectives.pop() if len(adjectives) == 1 and len(part.materials) == 1 else ""


def _split_words(name: str) -> list[str]:
    """The words of a name, lower case, without numbers."""
    return "".join(letter if letter.isalpha() else " " for letter in name).lower().split()


def name_paint_colour(
    gbuffer: GBuffer, mask: Mask, parts: Sequence[SceneObjectRecord], visible: Iterable[SceneObjectRecord]
) -> str:
    """Name the colour of an object from its mask (H, W).

    Where it has one material, all visible pixels of that material count: paint is one colour, however it is lit. Panes
    of a thing do not count where it has other parts in sight: they show the colours of what is behind them.
    """
    opaque = [part.id for part in parts if not part.thing or _name_material(part) not in SEE_THROUGH_WORDS]
    opaque_mask = mask & np.isin(gbuffer.ids, opaque)
    if opaque and opaque_mask.sum() < MIN_OPAQUE_SHARE * mask.sum():
        return ""
    object_pixels = gbuffer.lab[opaque_mask if opaque else mask]
    if len({part.materials for part in parts}) == 1 and len(parts[0].materials) == 1:
        painted_ids = [record.id for record in visible if record.materials == parts[0].materials]
        pixels = gbuffer.lab[np.isin(gbuffer.ids, painted_ids)]
        if (
            np.linalg.norm(np.median(pixels[:, 1:], axis=0) - np.median(object_pixels[:, 1:], axis=0))
            < MAX_PAINT_DISTANCE
        ):
            return name_colour(pixels) or name_colour(object_pixels)
    return name_colour(object_pixels)

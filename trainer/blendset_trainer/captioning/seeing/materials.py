# SPDX-License-Identifier: Apache-2.0
"""What the pixels of a thing are made of, by what its materials are called, and the colour that they have."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from blendset.records import SceneObjectRecord
from blendset_trainer.captioning.seeing.colours import colour_of
from blendset_trainer.captioning.seeing.gbuffer import Mask, Picture
from blendset_trainer.language.lexicon import MATERIAL_OF

SAME_COLOUR = 18
"""Two medians in CIELAB's plane of colours so near are one paint in different light."""


def material_of(picture: Picture, mask: Mask, parts: Iterable[SceneObjectRecord]) -> str:
    """The adjective of the material that most of the pixels have, by what materials are called; "" if none is told."""
    pixels: dict[str, int] = defaultdict(int)
    for each in parts:
        told = {MATERIAL_OF[word] for name in each.materials for word in _words(name) if word in MATERIAL_OF}
        if len(told) == 1 and len(each.materials) == 1:
            pixels[told.pop()] += int(np.count_nonzero(picture.ids[mask] == each.id))
    best = max(pixels, key=lambda name: pixels[name], default="")
    return best if best and pixels[best] > 0.6 * np.count_nonzero(mask) else ""


def _words(name: str) -> list[str]:
    """The words of a name, lower case, without numbers."""
    return "".join(letter if letter.isalpha() else " " for letter in name).lower().split()


def painted_colour(
    picture: Picture, mask: Mask, parts: Sequence[SceneObjectRecord], visible: Iterable[SceneObjectRecord]
) -> str:
    """The colour of a thing, from all pixels of its material where it has one: paint is one colour, however lit."""
    own = picture.lab[mask]
    if len({each.materials for each in parts}) == 1 and len(parts[0].materials) == 1:
        same = [each.id for each in visible if each.materials == parts[0].materials]
        pixels = picture.lab[np.isin(picture.ids, same)]
        if np.linalg.norm(np.median(pixels[:, 1:], axis=0) - np.median(own[:, 1:], axis=0)) < SAME_COLOUR:
            return colour_of(pixels) or colour_of(own)
    return colour_of(own)

# SPDX-License-Identifier: Apache-2.0
"""What an object's name says about it, which in most files is nothing: `Cube.004` is no label, nor is `Würfel.004`."""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from blendset.placement.default_names import DEFAULT_WORDS
from blendset.placement.scene import SceneObject

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@cache
def label_from_name(name: str) -> str:
    """Return a readable label ("desk lamp" of "Desk_Lamp.002"), or "" for a name of nothing but default words, numbers
    and codes."""
    letters = (letter if unicodedata.category(letter)[0] in "LM" else " " for letter in _CAMEL.sub(" ", name))
    words = "".join(letters).lower().split()
    telling = any(word not in DEFAULT_WORDS and (len(word) > 2 or not word.isascii()) for word in words)
    return " ".join(word for word in words if len(word) > 1 or not word.isascii()) if telling else ""


def get_label(thing: SceneObject) -> str:
    """Return what records call an object: the label that a person gave it, else the one that its name makes."""
    return thing.label or label_from_name(thing.name)

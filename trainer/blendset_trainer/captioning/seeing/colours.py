# SPDX-License-Identifier: Apache-2.0
"""The everyday name of an object's colour, from its pixels.

Each pixel is named in CIELAB by its nearest example; an object has the name that most of its pixels have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

Lab = NDArray[np.float64]
"""CIELAB colours (..., 3): lightness 0 to 100, then a and b."""

COLOUR_EXAMPLES = {
    "black": ((6, 0, 0), (14, 0, 0), (21, 1, 2)),
    "grey": ((32, 0, 0), (42, 0, 0), (52, 0, 0), (62, 0, 0), (72, 0, 0), (45, 0, 6), (62, 1, 6)),
    "white": ((84, 0, 0), (92, 0, 0), (100, 0, 0), (88, 1, 6)),
    "cream": ((89, 2, 14), (92, 0, 20)),
    "beige": ((76, 4, 16), (70, 5, 20), (64, 5, 16), (82, 5, 22)),
    "brown": (
        (18, 8, 10), (25, 13, 16), (32, 16, 24), (40, 18, 28), (48, 18, 32), (57, 18, 34), (45, 10, 18), (56, 9, 16),
    ),
    "orange": ((60, 40, 55), (68, 35, 62), (55, 36, 48), (74, 25, 60)),
    "yellow": (
        (85, 0, 60), (75, 8, 65), (65, 12, 60), (90, -8, 45), (55, 12, 52), (80, -6, 32), (68, -4, 32), (58, -2, 28),
        (78, -7, 18), (77, -10, 15),
    ),
    "red": ((45, 62, 42), (36, 50, 32), (26, 38, 22), (52, 62, 34), (46, 50, 40), (38, 40, 32)),
    "pink": ((75, 30, 6), (65, 42, 4), (82, 18, 6), (60, 55, -5), (72, 28, 16)),
    "purple": ((35, 36, -20), (50, 38, -26), (25, 26, -12), (40, 34, -4), (62, 26, -24), (80, 10, -15), (74, 18, -22)),
    "blue": (
        (35, 8, -45), (50, 0, -40), (62, -6, -32), (24, 8, -32), (72, -6, -22), (86, -6, -12),
        (76, -5, -11), (88, -4, -11), (42, -12, -26), (14, 6, -20),
    ),
    "teal": ((50, -26, -8), (36, -20, -8), (26, -15, -6), (62, -30, -8)),
    "green": (
        (50, -40, 34), (36, -28, 20), (24, -18, 10), (62, -36, 32), (76, -24, 10), (70, -40, 50), (50, -14, 10),
        (36, -10, 6), (64, -14, 8), (70, -8, 7), (58, -8, 6), (88, -9, 4), (16, -11, 5), (45, -10, 28), (80, -16, 4),
    ),
}  # fmt: skip
"""CIELAB points that people call by each name."""
_NAMES = tuple(COLOUR_EXAMPLES)
_POINTS = np.array([point for points in COLOUR_EXAMPLES.values() for point in points], dtype=np.float64)
_NAME_OF_POINT = np.repeat(np.arange(len(_NAMES)), [len(points) for points in COLOUR_EXAMPLES.values()])

SIMILAR_COLOURS = frozenset(
    frozenset((name, other))
    for name, others in {
        "black": "grey",
        "grey": "white brown",
        "white": "cream beige",
        "cream": "beige",
        "beige": "brown grey",
        "brown": "orange black",
        "orange": "yellow red",
        "red": "pink brown",
        "pink": "purple beige white orange",
        "purple": "blue black grey",
        "blue": "teal grey black",
        "teal": "green grey",
        "green": "grey black beige yellow",
        "yellow": "beige cream brown",
    }.items()
    for other in others.split()
)
"""Pairs of names that one paint may have under different shading."""
MAIN_SHARE, SECOND_SHARE = 0.55, 0.25
"""The share of its pixels that gives an object its colour, and the share that a second colour needs to be named too."""
MAX_NEUTRAL_CHROMA, MAX_COOL_CHROMA = 22, 10
"""Less colourful pixels may be white in coloured light. Lamps are often warm, so a bluish pixel is sooner blue."""
TARGET_WHITE = 92
"""The lightness that the brightest pixels of a dim picture are raised to."""


def to_balanced_lab(rgb: NDArray[np.uint8]) -> Lab:
    """Convert an 8-bit sRGB image (H, W, 3) to CIELAB (H, W, 3), and remove half of its colour cast and its dimness.

    The brightest of the nearly grey pixels count as white, as for an eye that has adapted to the light.
    """
    lab = np.asarray(rgb2lab(rgb), dtype=np.float64)
    lightness, chroma = lab[..., 0], np.hypot(lab[..., 1], lab[..., 2])
    bright = float(np.percentile(lightness, 97))
    limit = np.where(lab[..., 2] < 0, MAX_COOL_CHROMA, MAX_NEUTRAL_CHROMA)
    neutral = (chroma < limit) & (lightness > 0.75 * bright) & (lightness < 98)
    if neutral.mean() > 0.02:
        lab[..., 1:] -= 0.5 * np.median(lab[neutral][:, 1:], axis=0) * (lightness / bright)[..., None].clip(0, 1)
    return np.asarray(lab * np.clip(TARGET_WHITE / max(bright, 1.0), 1.0, 1.6))


def name_colour(pixels: Lab) -> str:
    """Name the colour of an object from its pixels (N, 3): "dark green", "black and beige", or "" where it has many."""
    if not len(pixels):
        return ""
    lit = pixels[pixels[:, 0] >= np.percentile(pixels[:, 0], 10)]  # the darkest are shadow
    nearest = np.concatenate([_find_nearest_examples(part) for part in np.array_split(lit, 1 + len(lit) // 4096)])
    shares = np.bincount(_NAME_OF_POINT[nearest], minlength=len(_NAMES)) / len(lit)
    first, second = (int(index) for index in np.argsort(-shares, kind="stable")[:2])
    near = frozenset((_NAMES[first], _NAMES[second])) in SIMILAR_COLOURS
    similar = sum(
        shares[index] for index, name in enumerate(_NAMES) if frozenset((_NAMES[first], name)) in SIMILAR_COLOURS
    )
    if (
        shares[first] >= MAIN_SHARE
        or (near and shares[first] + shares[second] >= 0.7)
        or shares[first] + similar >= 0.85
    ):
        return _name_shade(_NAMES[first], lit[_NAME_OF_POINT[nearest] == first])
    others = [
        index
        for index, name in enumerate(_NAMES)
        if frozenset((_NAMES[second], name)) in SIMILAR_COLOURS and index != first
    ]
    cluster = [second, *(index for index in others if frozenset((_NAMES[first], _NAMES[index])) not in SIMILAR_COLOURS)]
    rest = float(shares[cluster].sum())
    if not near and rest >= SECOND_SHARE and shares[first] + rest >= 0.75:
        candidates = [index for index in cluster if shares[index] > 0.2 * rest]
        candidates = [
            index for index in candidates if _NAMES[index] not in ("white", "cream")
        ] or candidates  # these may be highlights
        return f"{_NAMES[first]} and {_NAMES[max(candidates, key=lambda index: shares[index])]}"
    return ""


def _find_nearest_examples(pixels: Lab) -> NDArray[Any]:
    """The index (N,) into _POINTS of the example that is nearest to each pixel (N, 3)."""
    return np.asarray(np.argmin(((pixels[:, None] - _POINTS) ** 2).sum(axis=2), axis=1))


def _name_shade(name: str, pixels: Lab) -> str:
    """Add "dark", "light" or "pale" to a colour's name where people do so; `pixels` are (N, 3)."""
    lightness = float(np.median(pixels[:, 0]))
    if lightness < {"green": 33, "blue": 33, "grey": 33, "red": 26, "brown": 20}.get(name, 0):
        return f"dark {name}"
    if name == "yellow" and float(np.median(np.hypot(pixels[:, 1], pixels[:, 2]))) < 40:
        return "pale yellow"
    if (name in ("green", "blue", "purple") and lightness > 70) or (name == "grey" and lightness > 68):
        return f"light {name}"
    return name

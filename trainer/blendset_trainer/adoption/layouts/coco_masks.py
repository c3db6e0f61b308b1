# SPDX-License-Identifier: Apache-2.0
"""Masks as COCO writes them: polygons, and runs of pixels in columns, as numbers or packed in a text.

What pycocotools does with damaged ones is not known before (it may end the process), so all is checked first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from blendset.errors import BlendsetError
from blendset.masks import Mask

_FARTHEST = 10
"""Points of a polygon may lie this many times the picture's longer side away; pycocotools walks along its edges."""
_BITS, _FIRST_SIGN, _SIGN_BIT, _MORE_BIT = 5, 48, 0x10, 0x20
"""How numbers are packed: five bits a sign, from the lowest, and a bit that says that more follow."""


def parse_mask(segmentation: Any, height: int, width: int) -> Callable[[], Mask]:
    """Return what draws the mask (height, width) of a segmentation; ValueError for one that describes none.

    What is returned raises BlendsetError for polygons where pycocotools is not installed.
    """
    if isinstance(segmentation, Mapping):
        return partial(_draw_runs, _read_runs(segmentation, height, width), height, width)
    limit = _FARTHEST * max(height, width)
    if not isinstance(segmentation, list) or not all(_is_polygon(each, limit) for each in segmentation or [None]):
        raise ValueError("its polygons are no lists of points in or near the picture")
    return partial(_draw_polygons, segmentation, height, width)


def _read_runs(runs: Mapping[str, Any], height: int, width: int) -> list[int]:
    """The lengths of runs of pixels that are outside and inside of the instance in turn."""
    counts = runs.get("counts")
    numbers = unpack_counts(counts) if isinstance(counts, str) else counts
    if runs.get("size") != [height, width]:
        raise ValueError("its size is another than the picture's")
    if not isinstance(numbers, list) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError("its counts are no numbers of pixels")
    if sum(numbers) != height * width:
        raise ValueError("its counts do not fill the picture")
    return numbers


def _draw_runs(numbers: Sequence[int], height: int, width: int) -> Mask:
    """The mask (height, width) of runs that go down one column after another."""
    values = np.arange(len(numbers)) % 2 == 1
    return np.repeat(values, numbers).reshape(width, height).T


def unpack_counts(text: str) -> list[int]:
    """Return the lengths of runs that are packed in a text, as COCO's compressed masks are; ValueError for others.

    From the fourth on a number is the difference to the one before the last.
    """
    numbers: list[int] = []
    value = shift = 0
    for sign in text.encode():
        bits = sign - _FIRST_SIGN
        if not 0 <= bits < 2 * _MORE_BIT or shift > 2 * 32:
            raise ValueError("its counts are no packed numbers")
        value |= (bits % _MORE_BIT) << shift
        shift += _BITS
        if not bits & _MORE_BIT:
            value -= (1 << shift) if bits & _SIGN_BIT else 0
            numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("its counts end too early")
    return numbers


def _draw_polygons(polygons: Sequence[Sequence[float]], height: int, width: int) -> Mask:
    """The mask (height, width) of what lies in one of some polygons, as pycocotools draws them."""
    try:
        from pycocotools import mask
    except ImportError as error:
        raise BlendsetError(
            "Polygons need pycocotools; run 'pip install blendset-trainer[adopt]', or adopt the captions alone."
        ) from error
    decoded = mask.decode(mask.merge(mask.frPyObjects(polygons, height, width)))
    return np.asarray(decoded, bool)


def _is_polygon(points: Any, limit: float) -> bool:
    """Whether these are the coordinates of at least three points, x and y in turn."""
    if not isinstance(points, list) or len(points) < 6 or len(points) % 2 or not set(map(type, points)) <= {int, float}:
        return False
    return all(-limit <= each <= limit for each in points)

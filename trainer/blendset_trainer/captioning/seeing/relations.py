# SPDX-License-Identifier: Apache-2.0
"""Spatial relations: what supports what, what hangs, and left, right, behind, ... from the camera's point of view.

Boxes in the world decide what touches, pixels decide what a viewer sees. What is not clear has no relation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from blendset.masks import Mask
from blendset_trainer.captioning.seeing.gbuffer import MIN_LEVEL_Z, GBuffer
from blendset_trainer.captioning.seeing.segments import ObjectSegment
from blendset_trainer.captioning.seeing.surfaces import Surface
from blendset_trainer.language.lexicon import CONTAINER_NOUNS


def compute_gap(one: ObjectSegment, other: ObjectSegment) -> float:
    """The distance of two boxes in world units, 0 where they touch."""
    apart = np.maximum(np.maximum(one.box[0] - other.box[1], other.box[0] - one.box[1]), 0)
    return float(np.linalg.norm(apart))


# ---- support ---------------------------------------------------------------------------------------------------------


def find_supports(
    gbuffer: GBuffer, segments: Sequence[ObjectSegment], surfaces: Sequence[Surface]
) -> dict[ObjectSegment, ObjectSegment | Surface]:
    """What each segment stands on: level pixels at the height of its foot, right below its lowest pixels.

    Where the camera cannot see that: the container that it is in, or the object whose top is at its foot.
    """
    areas: list[ObjectSegment | Surface] = [*segments, *surfaces]
    owner = np.full(gbuffer.ids.shape, -1)
    for number, area in enumerate(areas):
        owner[area.mask] = number
    level = gbuffer.normals[..., 2] > MIN_LEVEL_Z
    supports = {}
    for number, segment in enumerate(segments):
        below = _find_support_below(segment, owner, level, gbuffer.positions[..., 2], number)
        other = next(
            (
                candidate
                for candidate in segments
                if candidate is not segment and _is_supported(segment, candidate, gbuffer)
            ),
            None,
        )
        if below >= 0:
            supports[segment] = areas[below]
        elif other:
            supports[segment] = other
    return supports


def _find_support_below(
    segment: ObjectSegment, owner: NDArray[np.int_], level: Mask, height: NDArray[np.float64], number: int
) -> int:
    """The number of the area right below a segment's lowest pixels, -1 where it is not clear.

    All planes are (H, W): the area that owns each pixel (-1: none), whether it is level, its height in world units.
    """
    columns = np.flatnonzero(segment.mask.any(axis=0))
    rows = len(segment.mask) - 1 - np.argmax(segment.mask[::-1, columns], axis=0)
    slack = 0.03 * (segment.box[1, 2] - segment.box[0, 2]) + 0.005 * segment.diagonal
    votes: list[int] = []
    for step in (1, 2, 3):
        inside = rows + step < len(segment.mask)
        pixels = rows[inside] + step, columns[inside]
        close = (
            level[pixels]
            & (np.abs(height[pixels] - segment.box[0, 2]) < slack)
            & (owner[pixels] >= 0)
            & (owner[pixels] != number)
        )
        votes += owner[pixels][close].tolist()
    if len(votes) < max(3, 0.15 * len(columns)):
        return -1
    return int(np.bincount(votes).argmax())


def _is_supported(one: ObjectSegment, other: ObjectSegment, gbuffer: GBuffer) -> bool:
    """Whether one object is in the other, a container, or stands on the other's top."""
    if other.noun.split(" ")[-1] in CONTAINER_NOUNS and is_inside(one, other):
        return True
    foot, slack = one.box[0, 2], 0.03 * max(one.diagonal, other.diagonal)
    # of the visible pixels, since a box ends at its highest knob
    top = float(np.percentile(gbuffer.positions[other.mask][:, 2], 90))
    level = max(abs(foot - top), abs(foot - other.box[1, 2])) < slack or _is_fitted_over(one, other)
    return bool(level and _compute_footprint_overlap(one, other) > 0.6 and other.diagonal > 0.5 * one.diagonal)


def _is_fitted_over(one: ObjectSegment, other: ObjectSegment) -> bool:
    """Whether one is fitted over the other as a shade over a lamp's foot: right above it, down over its upper half."""
    is_aside = np.linalg.norm((one.box.mean(axis=0) - other.box.mean(axis=0))[:2]) > 0.1 * one.diagonal
    return bool(not is_aside and other.box[:, 2].mean() < one.box[0, 2] < other.box[1, 2] < one.box[:, 2].mean())


def hangs_on_wall(gbuffer: GBuffer, segment: ObjectSegment, surfaces: Sequence[Surface]) -> bool:
    """Whether an object, not deep, touches a wall that goes on below it."""
    size = segment.box[1] - segment.box[0]
    if size[:2].min() > 0.4 * size.max():
        return False
    columns = np.flatnonzero(segment.mask.any(axis=0))
    rows = len(segment.mask) - 1 - np.argmax(segment.mask[::-1, columns], axis=0) + 2
    inside = rows < len(segment.mask)
    pixels = rows[inside], columns[inside]
    wall = np.zeros(len(pixels[0]), dtype=bool)
    for surface in surfaces:
        if surface.noun == "wall":
            wall |= surface.mask[pixels]
    if np.count_nonzero(wall) < 0.6 * len(columns):
        return False
    positions = gbuffer.positions[pixels][wall]
    offsets = np.maximum(segment.box[0] - positions, 0) - np.maximum(positions - segment.box[1], 0)
    wall_distances = np.abs((offsets * gbuffer.normals[pixels][wall]).sum(axis=1))
    return bool(np.median(wall_distances) < 0.2 * segment.diagonal)


def _compute_footprint_overlap(one: ObjectSegment, other: ObjectSegment) -> float:
    """The share of one object's footprint that lies within the other's."""
    overlap = np.minimum(one.box[1], other.box[1])[:2] - np.maximum(one.box[0], other.box[0])[:2]
    return float(np.prod(np.clip(overlap, 0, None)) / max(np.prod((one.box[1] - one.box[0])[:2]), 1e-9))


# ---- relation to the subject -----------------------------------------------------------------------------------------


def find_relation(
    segment: ObjectSegment, subject: ObjectSegment, supports: Mapping[ObjectSegment, ObjectSegment | Surface]
) -> str:
    """Where an object is, relative to the subject; what stands on something else is where that is.

    The relations are those of `Entity`; "" where it is not clear.
    """
    support = supports.get(segment)
    if supports.get(subject) is segment:
        return "under"
    if isinstance(support, ObjectSegment) and support is not subject and support is not supports.get(subject):
        return _find_view_relation(support, subject)
    stands_on = support is subject and (segment.noun or _compute_bbox_overlap(segment, subject, 0) > 0.3)
    if stands_on or (segment.noun and is_inside(segment, subject)):
        return "in" if subject.noun.split(" ")[-1] in CONTAINER_NOUNS and is_inside(segment, subject) else "on"
    if is_draped(subject, segment):
        return "over"
    overlap = max(_compute_footprint_overlap(segment, subject), _compute_footprint_overlap(subject, segment))
    if overlap > 0.3 and segment.box[0, 2] > subject.box[1, 2] + 0.1 * subject.diagonal:
        return "above"
    if overlap > 0.3 and segment.box[1, 2] < subject.box[0, 2] - 0.1 * subject.diagonal:
        return "below"
    return _find_view_relation(segment, subject)


def is_draped(segment: ObjectSegment, rod: ObjectSegment) -> bool:
    """Whether an object without a name hangs down from a level rod, which is within its top and longer than it."""
    if rod.shape.noun not in ("bar", "rod") or segment.noun or compute_gap(segment, rod) > 0:
        return False
    size = segment.box[1] - segment.box[0]
    along = int(size[:2].argmax())
    holds = rod.box[0, along] < segment.box[0, along] and rod.box[1, along] > segment.box[1, along]
    return bool(holds and rod.box[:, 2].mean() > segment.box[1, 2] - 0.3 * size[2])


def is_inside(segment: ObjectSegment, subject: ObjectSegment) -> bool:
    """Whether an object's box lies in the subject's and is clearly smaller."""
    slack = 0.02 * subject.diagonal
    inside = (segment.box[0] > subject.box[0] - slack).all() and (segment.box[1] < subject.box[1] + slack).all()
    return bool(inside and segment.diagonal < 0.7 * subject.diagonal)


def _find_view_relation(segment: ObjectSegment, subject: ObjectSegment) -> str:
    """Left, right, in front or behind, by bounding boxes and by depth."""
    scale = (segment.diagonal + subject.diagonal) / 2
    nearer = subject.depth - segment.depth
    is_off_centre = not subject.bbox[0] < segment.centroid[0] < subject.bbox[2]
    is_beside = _compute_bbox_overlap(segment, subject, 0) < (0.5 if nearer < 0 else 0.3) or (
        nearer < 0 and is_off_centre and bool(segment.noun)
    )
    if nearer < -2.5 * scale:
        return "background"
    if is_beside and abs(nearer) < scale:
        return "left" if segment.centroid[0] < subject.centroid[0] else "right"
    if not is_beside and nearer < -0.35 * scale:
        lower = segment.box[1, 2] < subject.box[0, 2] or segment.centroid[1] > subject.bbox[3] - 0.02
        around = _compute_footprint_overlap(subject, segment) > 0.6  # a board that it lies on begins in front of it
        return "" if lower or around else "behind"
    if not is_beside and nearer > 0.35 * scale:
        return "front" if segment.centroid[1] > subject.centroid[1] else ""
    if compute_gap(segment, subject) < 0.2 * scale and (is_beside or (segment.noun and not _is_flat(segment))):
        return "beside"
    return "foreground" if nearer > scale else "background" if nearer < -scale else ""


def _compute_bbox_overlap(one: ObjectSegment, other: ObjectSegment, axis: int) -> float:
    """The share of the shorter one's extent in the picture, across (axis 0) or down (1), that both have."""
    (low, high), (other_low, other_high) = one.bbox[axis::2], other.bbox[axis::2]
    return (min(high, other_high) - max(low, other_low)) / min(high - low, other_high - other_low)


def _is_flat(segment: ObjectSegment) -> bool:
    return bool((segment.box[1] - segment.box[0])[2] < 0.05 * segment.diagonal)

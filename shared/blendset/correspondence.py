# SPDX-License-Identifier: Apache-2.0
"""Where the pixels of one view are visible in another, from exact depth, ids, normals and cameras; which views see the
same things, and which of them make a good view set.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, Camera
from blendset.exr import Passes
from blendset.masks import Mask

Ids = NDArray[np.uint32]

GRAZING = 0.05
"""Least cosine between a surface's normal and the direction to the camera that is to see it."""
LEAST_OBJECT_WEIGHT = 0.75
"""Least bilinear weight that pixels of the point's own object must hold. All of it (1.0) would lose a pixel around
every object: of a ball of 90 pixels seen 70 degrees apart 19 %, against 12 %."""
DEPTH_TOLERANCE = 0.15
"""Of a pixel: its size at the point, and what depth changes over it for the slope of the surface. On renders of three
scenes a tolerance of a whole pixel's slope keeps 1 % more of what is visible, at up to three times the mean error.
"""
POINTS_ACROSS = 64
"""A share is measured on a grid of so many pixels each way."""


@dataclass(frozen=True, eq=False)
class ViewGeometry:
    """What a view knows of the scene: its camera, and the passes that were rendered with it."""

    camera: Camera
    passes: Passes

    @cached_property
    def positions(self) -> Array:
        """World positions (H, W, 3) of the pixel centres; nan where there is nothing."""
        return self.camera.unproject(np.where(np.isfinite(self.passes.depth), self.passes.depth, np.nan))

    def mask_objects(self, objects: Collection[int]) -> Mask:
        """Return the mask (H, W) of the pixels of these objects; of any object where none is named."""
        ids = self.passes.id
        return np.isin(ids, list(objects)) if objects else ids > 0


@dataclass(frozen=True, eq=False)
class Correspondence:
    """For each pixel of a target view, its counterpart in a source view."""

    coordinates: Array
    """(H, W, 2): x and y in the source, in pixels from its top-left corner; nan where the target shows nothing."""
    visible: Mask
    """(H, W): whether the source sees that very point."""
    detail: Array
    """(H, W): source pixels per world unit of the surface, cos(theta) f / z; 0 where it is not visible."""
    neighbours: NDArray[np.intp]
    """(V, 4): for each visible pixel, the pixels of the source around its coordinates, as numbers row by row."""
    weights: Array
    """(V, 4): bilinear, 0 for pixels of other objects, with sum 1."""

    def warp(self, image: NDArray[Any]) -> Array:
        """Return a source image (H, W, C) as the target sees it, (H, W, C) of the target; 0 where it is not visible."""
        result = np.zeros((*self.visible.shape, image.shape[2]))
        result[self.visible] = (self.weights[..., None] * image.reshape(-1, image.shape[2])[self.neighbours]).sum(1)
        return result


def correspond(target: ViewGeometry, source: ViewGeometry, step: int = 1) -> Correspondence:
    """Follow every `step`-th pixel centre of the target along the exact depth into the source.

    A point is visible where it faces the source (cos(theta) > GRAZING), its own object holds at least
    LEAST_OBJECT_WEIGHT of the bilinear weight around it in the source, and the depth found there is its own within
    DEPTH_TOLERANCE (1 + tan(theta)) z / f. That is in sizes of a pixel at the point, so it fits every scale; SynCD's
    (arXiv 2502.01720) is absolute.
    """
    points, ids = target.positions[::step, ::step], target.passes.id[::step, ::step]
    coordinates, depth = source.camera.project(points.reshape(-1, 3))
    coordinates, depth = coordinates.reshape(*ids.shape, 2), depth.reshape(ids.shape)
    cosine = _compute_cosine(points, target.passes.normal[::step, ::step], source.camera.position)
    size = np.array([source.camera.width, source.camera.height])
    with np.errstate(invalid="ignore"):
        visible = (
            (ids > 0) & (depth > 0) & (cosine > GRAZING) & ((coordinates >= 0) & (coordinates <= size)).all(axis=-1)
        )
    cosine, depth = cosine[visible], depth[visible]
    neighbours, weights = find_neighbours(coordinates[visible], size)
    weights, enough = mask_weights(
        weights, source.passes.id.ravel()[neighbours] == ids[visible][:, None], LEAST_OBJECT_WEIGHT
    )
    nearness = (weights / source.passes.depth.ravel()[neighbours]).sum(axis=1)  # over a plane 1 / z is linear, z is not
    footprint = depth / source.camera.focal_length_px
    slope = np.sqrt(np.maximum(1 / cosine**2 - 1, 0))
    sound = enough & (np.abs(1 - depth * nearness) < DEPTH_TOLERANCE * (1 + slope) * footprint * nearness)

    visible[visible] = sound
    detail = np.zeros(ids.shape)
    detail[visible] = (cosine / footprint)[sound]
    return Correspondence(coordinates, visible, detail, neighbours[sound], weights[sound])


def _compute_cosine(points: Array, normals: NDArray[np.float32], position: Array) -> Array:
    """Between normals (..., 3) and the directions from points (..., 3) to a position (3,)."""
    towards = position - points
    return np.asarray((normals * towards).sum(axis=-1) / np.linalg.norm(towards, axis=-1))


def find_neighbours(coordinates: Array, size: NDArray[np.intp]) -> tuple[NDArray[np.intp], Array]:
    """Return the four pixels (N, 4) around coordinates (N, 2) in an image of this size (width, height), as numbers row
    by row, and their bilinear weights (N, 4). Outside the image its edge goes on.
    """
    at = np.clip(coordinates - 0.5, 0, size - 1)
    low = np.floor(at).astype(np.intp)
    (left, top), (right, bottom), (x, y) = low.T, np.minimum(low + 1, size - 1).T, (at - low).T
    numbers = [row * size[0] + column for row in (top, bottom) for column in (left, right)]
    weights = [up * across for up in (1 - y, y) for across in (1 - x, x)]
    return np.stack(numbers, axis=1), np.stack(weights, axis=1)


def mask_weights(weights: Array, mask: Mask, least: float) -> tuple[Array, Mask]:
    """Return the weights (N, 4) under a mask (N, 4), scaled to sum 1, and where (N,) they held at least `least` before;
    they are 0 elsewhere."""
    weights = weights * mask
    total = weights.sum(axis=1)
    enough = total >= least
    return np.divide(weights, total[:, None], out=np.zeros_like(weights), where=enough[:, None]), enough


# ---- view sets -------------------------------------------------------------------------------------------------------


def compute_covisibility(target: ViewGeometry, source: ViewGeometry, objects: Collection[int] = ()) -> float:
    """Return the share of the target's pixels of these objects (of any, where none is named) that the source sees.

    It is 0 where there are none, and is measured on a grid of about POINTS_ACROSS pixels each way.
    """
    step = max(1, max(target.passes.id.shape) // POINTS_ACROSS)
    counted = target.mask_objects(objects)[::step, ::step]
    return float(correspond(target, source, step).visible[counted].mean()) if counted.any() else 0.0


def compute_baseline_deg(one: Camera, other: Camera, point: Array) -> float:
    """Return the angle in degrees between the directions from a world point (3,) to two cameras."""
    first, second = one.position - point, other.position - point
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(first, second)), first @ second)))


def find_viewed_point(views: Sequence[ViewGeometry], objects: Collection[int] = ()) -> Array:
    """Return the centre (3,) of the box around all points of these objects that the views show."""
    points = np.concatenate([view.positions[view.mask_objects(objects)] for view in views])
    return np.asarray((points.min(axis=0) + points.max(axis=0)) / 2)


def choose_view_sets(
    views: Sequence[ViewGeometry], size: int, objects: Collection[int] = (), covisible: float = 0.25
) -> list[tuple[int, ...]]:
    """Return sets of `size` views (their numbers) of one subject's `objects`, found greedily, wide ones first; no view
    is in two.

    Each view of a set after the first shares at least `covisible` with one before it, which can hand it what it shows;
    among those, the one is taken whose least baseline to the set is the widest. (SynCD asks for a tenth of the frame
    in common, of all pairs, and takes the least common.)
    """
    point = find_viewed_point(views, objects)
    shared, apart = np.zeros((2, len(views), len(views)))
    for one, other in permutations(range(len(views)), 2):
        shared[one, other] = compute_covisibility(views[one], views[other], objects)
        apart[one, other] = compute_baseline_deg(views[one].camera, views[other].camera, point)
    linked = np.minimum(shared, shared.T) >= covisible
    left, sets = list(range(len(views))), []
    while grown := [found for first in left if (found := _grow_set(first, left, size, linked, apart))]:
        sets.append(max(grown, key=lambda view_set: min(apart[pair] for pair in combinations(view_set, 2))))
        left = [view for view in left if view not in sets[-1]]
    return sets


def _grow_set(first: int, left: Sequence[int], size: int, linked: Mask, apart: Array) -> tuple[int, ...]:
    """The set of `size` views that grows from the first one; empty where no more of those left are linked to it."""
    found = [first]
    while len(found) < size:
        open_to = [view for view in left if view not in found and linked[found, view].any()]
        if not open_to:
            return ()
        found.append(max(open_to, key=lambda view: float(apart[found, view].min())))
    return tuple(found)

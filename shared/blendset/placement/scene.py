# SPDX-License-Identifier: Apache-2.0
"""A scene as placement sees it: objects, their triangles in world space, and a way to cast rays at them.

Blender's side fills a Snapshot once; everything after that is numpy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array

Index = NDArray[np.int32]

BACKDROP_RATIO = 4
"""An object is a backdrop when it is so many times as large as the smaller half of the scene and what lies between."""
GROUND_RATIO, GROUND_FLATNESS = 1.5, 0.05
"""Ground is level, with a height of this share of its width, and so many times as wide as all else together."""
OUTLIER_SHARE = 0.05
"""Share of the summed sizes of all objects that may lie outside the extent on each side."""


@dataclass(frozen=True)
class SceneObject:
    """One object, or one instance of it, as it stands in the scene.

    `unit` is the same for the objects of one collection instance, or of one point of a scatterer; else it is the own
    name. `label` is what a person called
    it, or empty. `parents` are the names of what it is parented to, the nearest first. `objection` says why it can be
    no subject, in words for a person; empty where it can. `missing_files` are the files that its materials lack.
    """

    id: int
    name: str
    label: str
    collection: str
    materials: tuple[str, ...]
    unit: str
    triangles: tuple[int, int]
    instance_of: str = ""
    parents: tuple[str, ...] = ()
    objection: str = ""
    missing_files: tuple[str, ...] = ()
    textured: bool = False
    bounds: tuple[tuple[float, float, float], tuple[float, float, float]] | None = None


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Everything that renders, in world space. Object ids count from 1 in the order of `objects`.

    `vertices` (V, 3), `triangles` (T, 3) vertex indices sorted by owner, `albedo` (T,) expected grey of the surface
    in 0..1. `fringe` holds points (N, 3) of what renders without triangles, such as hair, by the id of its object.
    """

    objects: tuple[SceneObject, ...]
    vertices: Array
    triangles: Index
    albedo: NDArray[np.float32]
    metres_per_unit: float = 1.0
    fringe: Mapping[int, Array] = field(default_factory=dict)

    @cached_property
    def owner(self) -> Index:
        """Object id of every triangle, (T,)."""
        counts = [thing.triangles[1] - thing.triangles[0] for thing in self.objects]
        return np.repeat(np.arange(1, len(self.objects) + 1, dtype=np.int32), counts)

    @cached_property
    def _crosses(self) -> Array:
        a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
        return np.cross(b - a, c - a)

    @cached_property
    def areas(self) -> Array:
        """Triangle areas, (T,)."""
        return np.asarray(np.linalg.norm(self._crosses, axis=1) / 2)

    @cached_property
    def normals(self) -> Array:
        """Unit normals, (T, 3); zero for degenerate triangles."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.nan_to_num(self._crosses / (2 * self.areas[:, None]))

    @cached_property
    def bounds(self) -> Array:
        """Lower and upper corner of every object, (O, 2, 3); NaN where an object has no triangles and no stated
        bounds."""
        boxes = np.full((len(self.objects), 2, 3), np.nan)
        ranges = np.array([thing.triangles for thing in self.objects], dtype=np.intp).reshape(-1, 2)
        solid = ranges[:, 1] > ranges[:, 0]
        if solid.any():
            a, b, c = (self.vertices[self.triangles[:, k]] for k in range(3))
            boxes[solid, 0] = np.minimum.reduceat(np.minimum(np.minimum(a, b), c), ranges[solid, 0])
            boxes[solid, 1] = np.maximum.reduceat(np.maximum(np.maximum(a, b), c), ranges[solid, 0])
        for row, thing in zip(boxes, self.objects, strict=True):
            if thing.bounds is not None:
                row[:] = thing.bounds
        for id_, points in self.fringe.items():
            row = boxes[id_ - 1]
            row[0], row[1] = np.fmin(row[0], points.min(axis=0)), np.fmax(row[1], points.max(axis=0))
        return boxes

    @cached_property
    def extent(self) -> Array:
        """Box (2, 3) of the scene without its outliers: a stray ground plane must not decide what is large."""
        return compute_extent(self.bounds[~np.isnan(self.bounds[:, 0, 0])])

    @cached_property
    def diagonal(self) -> float:
        """Length of the extent's diagonal: the scene's size, to which gates and framing are relative."""
        return float(np.linalg.norm(self.extent[1] - self.extent[0]))

    def find_triangles(self, ids: Iterable[int]) -> NDArray[np.intp]:
        """Return the indices (N,) of all triangles of these objects."""
        ranges = [np.arange(*self.objects[id_ - 1].triangles) for id_ in sorted(ids)]
        return ranges[0] if len(ranges) == 1 else np.concatenate([np.zeros(0, dtype=np.intp), *ranges])


def compute_extent(boxes: Array) -> Array:
    """Box (2, 3) around boxes (N, 2, 3) without their outliers."""
    boxes = _drop_ground(boxes)
    if not len(boxes):
        return np.zeros((2, 3))
    sizes = np.linalg.norm(boxes[:, 1] - boxes[:, 0], axis=1)
    order = np.argsort(sizes, kind="stable")
    boxes, sizes = boxes[order], sizes[order]
    count = _count_without_backdrops(boxes, sizes)
    quantiles = ((0, OUTLIER_SHARE), (1, 1 - OUTLIER_SHARE))
    return np.stack(
        [_compute_weighted_quantile(boxes[:count, corner], sizes[:count], share) for corner, share in quantiles]
    )


def _drop_ground(boxes: Array) -> Array:
    """Boxes (N, 2, 3) without those of level ground that is wider than all else."""
    sizes = boxes[:, 1] - boxes[:, 0]
    by_width = boxes[np.argsort(np.linalg.norm(sizes[:, :2], axis=1), kind="stable")]
    while len(by_width) > 1:
        size = by_width[-1, 1] - by_width[-1, 0]
        rest = by_width[:-1, 1].max(axis=0) - by_width[:-1, 0].min(axis=0)
        if size[2] > GROUND_FLATNESS * size.max() or np.linalg.norm(size[:2]) < GROUND_RATIO * np.linalg.norm(rest[:2]):
            break
        by_width = by_width[:-1]
    return by_width


def _count_without_backdrops(boxes: Array, sizes: Array) -> int:
    """How many boxes (N, 2, 3), smallest first, come before one that dwarfs all the smaller half and more together."""
    spans = np.linalg.norm(np.maximum.accumulate(boxes[:, 1]) - np.minimum.accumulate(boxes[:, 0]), axis=1)
    half = len(boxes) // 2
    dwarfing = np.flatnonzero(sizes[half + 1 :] > BACKDROP_RATIO * spans[half:-1])
    return half + 1 + int(dwarfing[0]) if len(dwarfing) else len(boxes)


def _compute_weighted_quantile(values: Array, weights: Array, share: float) -> Array:
    """The least value of each column (N, 3) -> (3,) up to which this share of the weights (N,) lies: size counts,
    not number."""
    order = np.argsort(values, axis=0)
    reached = np.cumsum(weights[order], axis=0) >= share * weights.sum()
    return np.asarray(np.take_along_axis(values, order, axis=0)[reached.argmax(axis=0), np.arange(3)])


class Geometry(Protocol):
    """Rays and distances against a snapshot's triangles."""

    def cast(self, origins: Array, directions: Array) -> tuple[Array, NDArray[Any]]:
        """Cast rays from origins (N, 3) along directions (N, 3) and return the first hit of each.

        That is the distance (N,) in units of the direction's length, inf on a miss, and the triangle (N,), -1 on a
        miss.
        """
        ...

    def is_near(self, points: Array, radius: float) -> NDArray[np.bool_]:
        """Return whether any surface lies within `radius` of each point (N, 3), as (N,)."""
        ...

    def restrict_to(self, ids: Iterable[int]) -> Geometry:
        """Return the same scene with nothing but these objects; triangle numbers stay those of the full scene."""
        ...


OPEN_SKY_SHARE = 0.3
"""A point lies under the open sky when so many of the rays upwards from it meet nothing."""


def has_roof(scene: Snapshot, geometry: Geometry) -> bool:
    """Return whether the middle of a scene has a roof over it."""
    low, high = scene.extent
    grid = np.stack(np.meshgrid([0.3, 0.5, 0.7], [0.3, 0.5, 0.7], [0.4, 0.6]), axis=-1).reshape(-1, 3)
    return is_covered(geometry, low + grid * (high - low))


def is_covered(geometry: Geometry, points: Array) -> bool:
    """Return whether most of what is above these points (N, 3) is no open sky."""
    upwards = fibonacci_sphere(64)
    upwards = upwards[upwards[:, 2] > 0.25]
    distances, _ = geometry.cast(np.repeat(points, len(upwards), axis=0), np.tile(upwards, (len(points), 1)))
    return float(np.mean(np.isinf(distances))) <= OPEN_SKY_SHARE


def fibonacci_sphere(count: int) -> Array:
    """Return unit directions (count, 3) spread evenly over the sphere."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    turn = np.pi * (1 + 5**0.5) * k
    radius = np.sqrt(1 - z * z)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn), z], axis=1)

# SPDX-License-Identifier: Apache-2.0
"""`geometry`: whether the views of a set show the same space, from depth passes and cameras, without a model.

The views of a rendered set agree nearly everywhere; those of a generator, or of a moved object, do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from blendset.cameras import Array, Camera
from blendset_trainer.stages.stage import Column, Scorer, View
from blendset_trainer.stages.view_sets import group_by_view_set

POINTS_ACROSS = 64
"""A view is sampled at a grid of so many points in each direction."""
TOLERANCE = 0.01
"""How far, as a share of the depth, a point may lie outside the depths of its pixel and that pixel's neighbours."""

Counts = npt.NDArray[np.int64]
"""Counts (3,) of one view's points in another: those that agree with its depth, those in front of it, and all."""


@dataclass(frozen=True)
class GeometryScorer(Scorer):
    """Computes how many of each view's points agree with the other views of its set; see `compare_depth`."""

    name = "geometry"
    reads = frozenset({"passes", "record"})
    whole_sets = True
    parameters: ClassVar[Mapping[str, Any]] = {"points_across": POINTS_ACROSS, "tolerance": TOLERANCE}
    columns: ClassVar[Mapping[str, Column]] = {
        "agreement": Column(pa.float32(), "share, 0 to 1, of the points that another view of the set should show"),
        "covisible": Column(pa.float32(), "share, 0 to 1, of the points that another view shows too, mean over views"),
    }

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        loaded = [_ViewPoints(view) if view.has_passes else None for view in views]
        counts = np.zeros((len(views), 3), np.int64)
        for positions in group_by_view_set(views):
            for one, other in permutations(positions, 2):
                first, second = loaded[one], loaded[other]
                if first is not None and second is not None:
                    counts[one] += compare_depth(first.points, second.camera, second.depth)
        return [_compute_shares(*row) for row in counts.tolist()]


class _ViewPoints:
    """A view's depth (H, W), its camera, and world points (N, 3) on a grid over its picture."""

    def __init__(self, view: View) -> None:
        self.depth = view.passes.depth
        self.camera = Camera.from_record(view.record.camera)
        steps = [slice(None, None, max(1, length // POINTS_ACROSS)) for length in self.depth.shape]
        finite = np.isfinite(self.depth)
        positions = self.camera.unproject(np.where(finite, self.depth, 0.0))
        self.points = positions[steps[0], steps[1]][finite[steps[0], steps[1]]]


def compare_depth(points: Array, camera: Camera, depth: npt.NDArray[np.float32]) -> Counts:
    """Return how many world points (N, 3) agree with a view's depth (H, W), how many lie in front of it, and N.

    A point agrees where its depth lies among those of the pixel that it projects to and of that pixel's neighbours. A
    point behind them is hidden, which is no fault. A point in front of them should be visible in the view and is not.
    """
    pixels, distance = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = (distance > 0) & ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
    columns, rows = pixels[inside].astype(np.int64).T
    near, far = (extreme[rows, columns] for extreme in _find_extremes(depth))
    agrees = (distance[inside] >= near * (1 - TOLERANCE)) & (distance[inside] <= far * (1 + TOLERANCE))
    in_front = distance[inside] < near * (1 - TOLERANCE)
    return np.array([agrees.sum(), in_front.sum(), len(points)])


def _find_extremes(depth: npt.NDArray[np.float32]) -> tuple[Array, Array]:
    """Return the least and the greatest depth (H, W) of each pixel and its eight neighbours."""
    padded = np.pad(depth.astype(np.float64), 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return windows.min(axis=(2, 3)), windows.max(axis=(2, 3))


def _compute_shares(agree: int, in_front: int, points: int) -> dict[str, float | None]:
    """Return the columns of a row; None where no other view could show any point."""
    judged = agree + in_front
    return {"agreement": agree / judged if judged else None, "covisible": agree / points if points else None}

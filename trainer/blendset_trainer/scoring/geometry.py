# SPDX-License-Identifier: Apache-2.0
"""`geometry`: whether the views of a set show one and the same space, from float depth and cameras, without a model.

Rendered sets agree nearly everywhere; what a generator or a moved object made does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from blendset.cameras import Array, Camera
from blendset_trainer.stages.stage import Column, View
from blendset_trainer.stages.view_sets import group_by_view_set

POINTS_ACROSS = 64
"""A grid of so many points each way stands for a view."""
TOLERANCE = 0.01
"""Of the depth, beyond what depth varies over the pixel's own neighbours."""

Counts = npt.NDArray[np.int64]
"""Points of one view in another: those that agree with its depth, those that it sees through, all that there are."""


@dataclass(frozen=True)
class GeometryScorer:
    """Shares of each view's points, taken into the other views of its set (see `compared`)."""

    name: ClassVar[str] = "geometry"
    version: ClassVar[str] = "1"
    revision: ClassVar[str] = ""
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"passes", "record"})
    whole_sets: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Any]] = {"points_across": POINTS_ACROSS, "tolerance": TOLERANCE}
    columns: ClassVar[Mapping[str, Column]] = {
        "agreement": Column(pa.float32(), "share, 0 to 1, of the points that another view of the set should show"),
        "covisible": Column(pa.float32(), "share, 0 to 1, of the points that another view shows too, mean over views"),
    }

    def setup(self) -> None:
        """There is no model."""

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        seen = [_Seen(view) if view.has_passes else None for view in views]
        counts = np.zeros((len(views), 3), np.int64)
        for places in group_by_view_set(views):
            for one, other in permutations(places, 2):
                first, second = seen[one], seen[other]
                if first is not None and second is not None:
                    counts[one] += compare_depth(first.points, second.camera, second.depth)
        return [_shares(*row) for row in counts.tolist()]


class _Seen:
    def __init__(self, view: View) -> None:
        self.depth = view.passes.depth
        self.camera = Camera.from_record(view.record.camera)
        steps = [slice(None, None, max(1, length // POINTS_ACROSS)) for length in self.depth.shape]
        finite = np.isfinite(self.depth)
        positions = self.camera.unproject(np.where(finite, self.depth, 0.0))
        self.points = positions[steps[0], steps[1]][finite[steps[0], steps[1]]]


def compare_depth(points: Array, camera: Camera, depth: npt.NDArray[np.float32]) -> Counts:
    """How many world points (N, 3) agree with a view's depth (H, W), how many it sees through, and N.

    A point agrees where its depth lies among those of the pixel it falls on and of the pixel's neighbours; a point
    behind them is hidden, which is no fault; a point before them should have been seen and was not.
    """
    pixels, distance = camera.project(points)
    with np.errstate(invalid="ignore"):
        inside = (distance > 0) & ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
    columns, rows = pixels[inside].astype(np.int64).T
    near, far = (extreme[rows, columns] for extreme in _extremes(depth))
    agrees = (distance[inside] >= near * (1 - TOLERANCE)) & (distance[inside] <= far * (1 + TOLERANCE))
    through = distance[inside] < near * (1 - TOLERANCE)
    return np.array([agrees.sum(), through.sum(), len(points)])


def _extremes(depth: npt.NDArray[np.float32]) -> tuple[Array, Array]:
    """The least and the greatest depth of each pixel and its eight neighbours."""
    padded = np.pad(depth.astype(np.float64), 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return windows.min(axis=(2, 3)), windows.max(axis=(2, 3))


def _shares(agree: int, through: int, points: int) -> dict[str, float | None]:
    """The figures; None where no other view could show anything."""
    judged = agree + through
    return {"agreement": agree / judged if judged else None, "covisible": agree / points if points else None}

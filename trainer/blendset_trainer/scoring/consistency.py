# SPDX-License-Identifier: Apache-2.0
"""`consistency`: whether the pictures of a view set agree, by warping each into the others along exact depth.

Made for synthesized views, whose geometry is known and whose pixels may not agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.color import rgb2lab
from skimage.feature import canny

from blendset.cameras import Array
from blendset.correspondence import Ids, ViewGeometry, correspond
from blendset.errors import BlendsetError
from blendset.masks import Mask
from blendset_trainer.scoring.greys import Grey, to_grey
from blendset_trainer.scoring.ssim import find_windows_within, ssim_map
from blendset_trainer.stages.stage import SHARE, Column, Scorer, View
from blendset_trainer.stages.view_sets import build_set_geometries, size_mismatch

SMALLEST = 64
"""An object with fewer pixels than this, over all pairs of views, is not reported as the worst."""
EDGE = 0.05
"""Upper threshold of Canny's detector (the lower is half of it) on grey in 0..1.

Measured on 68 renders of four scenes at 256 pixels: 91 to 96 % of the subjects' outlines lie on edges (medians), and
25 to 53 % once the picture is moved by six pixels against its mask.
"""


@dataclass(frozen=True)
class Consistency(Scorer):
    """Compares each view with its siblings where both show the same points, and its subject's outline with edges."""

    name = "consistency"
    reads = frozenset({"rgb", "passes", "record"})
    whole_sets = True
    parameters: ClassVar[Mapping[str, Any]] = {"smallest": SMALLEST, "edge": EDGE}
    columns: ClassVar[Mapping[str, Column]] = {
        "delta_e": Column(pa.float32(), "CIE76 colour difference, 0 is none and 2 just noticeable"),
        "subject_delta_e": Column(pa.float32(), "the same, of the subject's pixels"),
        "worst_delta_e": Column(pa.float32(), "the same, of the object that differs most"),
        "worst_object": Column(pa.int64(), "its id in the passes"),
        "ssim": Column(pa.float32(), "similarity, -1 to 1"),
        "silhouette": Column(pa.float32(), f"{SHARE}, of the subject's outline that lies on edges of the picture"),
        "compared": Column(pa.float32(), f"{SHARE}, of the objects' pixels that another view shows, mean over views"),
    }

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        rows: list[dict[str, Any] | BlendsetError] = [
            size_mismatch(view) or dict.fromkeys(self.columns) for view in views
        ]
        for members in build_set_geometries(views):
            loaded = {position: _ViewPlanes(views[position], geometry) for position, geometry in members.items()}
            for position, target in loaded.items():
                siblings = [other for other in loaded.values() if other is not target]
                residuals = _compute_residuals(target, siblings)
                rows[position] = {**dict.fromkeys(self.columns), **target.compute_outline(), **residuals}
        return rows


class _ViewPlanes:
    """A view's geometry and its picture as planes (height, width, 4): L, a and b of CIELAB, and grey."""

    def __init__(self, view: View, geometry: ViewGeometry) -> None:
        self.geometry, self.subject = geometry, view.record.subject_objects
        self.grey: Grey = to_grey(view.rgb)
        self.planes: Array = np.dstack([rgb2lab(view.rgb), self.grey])

    def compute_outline(self) -> dict[str, float]:
        """Return the column `silhouette`; empty without a subject in the picture."""
        share = compute_silhouette(self.grey, self.geometry.mask_objects(self.subject)) if self.subject else None
        return {} if share is None else {"silhouette": share}


def compute_silhouette(picture: Grey, mask: Mask) -> float | None:
    """Return the share of a mask's outline that is within a pixel of an edge of the picture; None without an outline.

    `picture` and `mask` are (H, W). Where the mask runs out of the picture there is no outline.
    """
    outline = mask & ~binary_erosion(mask, border_value=1)
    edges = canny(picture / 255, low_threshold=EDGE / 2, high_threshold=EDGE)
    return float(binary_dilation(edges, np.ones((3, 3)))[outline].mean()) if outline.any() else None


def _compute_residuals(target: _ViewPlanes, siblings: Sequence[_ViewPlanes]) -> dict[str, float | int]:
    """Return the columns that need siblings, over all pixels and windows that any sibling shows too."""
    pairs = [_compare_pair(target, source) for source in siblings]
    if not pairs:
        return {}
    ids, differences, similarities = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    row = _find_worst(ids.astype(np.int64), differences)
    means = {"delta_e": differences, "subject_delta_e": differences[np.isin(ids, target.subject)], "ssim": similarities}
    row |= {name: float(values.mean()) for name, values in means.items() if len(values)}
    objects = int((target.geometry.passes.id > 0).sum())
    return row | ({"compared": len(ids) / (objects * len(siblings))} if objects else {})


def _compare_pair(target: _ViewPlanes, source: _ViewPlanes) -> tuple[Ids, Array, Array]:
    """Return the object ids and colour differences of the pixels in both views, and the SSIM of windows within them."""
    match = correspond(target.geometry, source.geometry)
    warped = match.warp(source.planes)
    difference = np.linalg.norm((target.planes - warped)[match.visible, :3], axis=-1)
    greys = (np.rint(planes[..., 3]).astype(np.uint8) for planes in (target.planes, warped))
    return target.geometry.passes.id[match.visible], difference, ssim_map(*greys)[find_windows_within(match.visible)]


def _find_worst(ids: npt.NDArray[np.int64], differences: Array) -> dict[str, float | int]:
    """Return the columns about the object with the highest mean difference; empty where all objects are too small."""
    counts = np.bincount(ids, minlength=1)
    means = np.bincount(ids, differences, 1) / np.maximum(counts, 1)
    means[counts < SMALLEST] = -1
    worst = int(means.argmax())
    return {"worst_delta_e": float(means[worst]), "worst_object": worst} if means[worst] >= 0 else {}

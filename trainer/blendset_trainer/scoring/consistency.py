# SPDX-License-Identifier: Apache-2.0
"""`consistency`: whether the pictures of a view set show one and the same thing, by warping each into the others along
exact depth. Made for synthesized views, whose geometry is known and whose pixels are only claimed to agree with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.ndimage import binary_dilation, binary_erosion
from skimage.color import rgb2lab
from skimage.feature import canny

from blendset.cameras import Array
from blendset.correspondence import Ids, Mask, ViewGeometry, correspond
from blendset.errors import BlendsetError
from blendset_trainer.scoring.greys import Grey, to_grey
from blendset_trainer.scoring.ssim import find_windows_within, ssim_map
from blendset_trainer.stages.stage import SHARE, Column, View
from blendset_trainer.stages.view_sets import build_set_geometries, size_mismatch

SMALLEST = 64
"""Pixels of an object, over all its pairs, below which it is not called the worst."""
EDGE = 0.05
"""Upper threshold of Canny's detector (the lower is half of it) on grey in 0..1.

Measured on 68 renders of four scenes at 256 pixels: 91 to 96 % of the subjects' outlines lie on edges (medians), and
25 to 53 % once the picture is moved by six pixels against its mask.
"""


@dataclass(frozen=True)
class Consistency:
    """Residuals of a view against the warps of its siblings, where both see the same points; and its outline."""

    name: ClassVar[str] = "consistency"
    version: ClassVar[str] = "1"
    revision: ClassVar[str] = ""
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})
    whole_sets: ClassVar[bool] = True
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

    def setup(self) -> None:
        """There is no model."""

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        rows: list[dict[str, Any] | BlendsetError] = [
            size_mismatch(each) or dict.fromkeys(self.columns) for each in views
        ]
        for members in build_set_geometries(views):
            seen = {place: _Seen(views[place], geometry) for place, geometry in members.items()}
            for place, each in seen.items():
                siblings = [other for other in seen.values() if other is not each]
                rows[place] = {**dict.fromkeys(self.columns), **each.outline(), **_residuals(each, siblings)}
        return rows


class _Seen:
    def __init__(self, view: View, geometry: ViewGeometry) -> None:
        self.geometry, self.subject = geometry, view.record.subject_objects
        self.grey: Grey = to_grey(view.rgb)
        self.planes: Array = np.dstack([rgb2lab(view.rgb), self.grey])

    def outline(self) -> dict[str, float]:
        """The figure `silhouette`; nothing without a subject in the picture."""
        share = compute_silhouette(self.grey, self.geometry.mask_objects(self.subject)) if self.subject else None
        return {} if share is None else {"silhouette": share}


def compute_silhouette(picture: Grey, mask: Mask) -> float | None:
    """The share of a mask's outline (both (H, W)) within a pixel of an edge of the picture; None without an outline.

    Where the mask runs out of the picture there is no outline.
    """
    outline = mask & ~binary_erosion(mask, border_value=1)
    edges = canny(picture / 255, low_threshold=EDGE / 2, high_threshold=EDGE)
    return float(binary_dilation(edges, np.ones((3, 3)))[outline].mean()) if outline.any() else None


def _residuals(target: _Seen, siblings: Sequence[_Seen]) -> dict[str, float | int]:
    """The figures that need siblings, over all pixels and windows that any of them shows."""
    found = [_residual(target, source) for source in siblings]
    if not found:
        return {}
    ids, differences, similarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    row = _worst(ids.astype(np.int64), differences)
    means = {"delta_e": differences, "subject_delta_e": differences[np.isin(ids, target.subject)], "ssim": similarities}
    row |= {name: float(values.mean()) for name, values in means.items() if len(values)}
    objects = int((target.geometry.passes.id > 0).sum())
    return row | ({"compared": len(ids) / (objects * len(siblings))} if objects else {})


def _residual(target: _Seen, source: _Seen) -> tuple[Ids, Array, Array]:
    """Of the pixels that both see: their objects and colour differences; and the similarities of whole windows."""
    match = correspond(target.geometry, source.geometry)
    warped = match.warp(source.planes)
    difference = np.linalg.norm((target.planes - warped)[match.visible, :3], axis=-1)
    greys = (np.rint(planes[..., 3]).astype(np.uint8) for planes in (target.planes, warped))
    return target.geometry.passes.id[match.visible], difference, ssim_map(*greys)[find_windows_within(match.visible)]


def _worst(ids: npt.NDArray[np.int64], differences: Array) -> dict[str, float | int]:
    """The object of the highest mean difference, of those that are not too small to judge; nothing without one."""
    counts = np.bincount(ids, minlength=1)
    means = np.bincount(ids, differences, 1) / np.maximum(counts, 1)
    means[counts < SMALLEST] = -1
    worst = int(means.argmax())
    return {"worst_delta_e": float(means[worst]), "worst_object": worst} if means[worst] >= 0 else {}

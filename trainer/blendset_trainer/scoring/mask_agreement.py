# SPDX-License-Identifier: Apache-2.0
"""`mask-agreement:MODEL`: whether a picture shows its subject where its exact mask is, by a segmenter such as SAM.

The segmenter must take a box as its prompt. `consistency` has a column `silhouette`, by edges, which needs no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset.masks import Mask, find_bounding_slices
from blendset_trainer.models.segmenter import BOXES, Segmenter
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import SHARE, Column, View
from blendset_trainer.stages.view_sets import size_mismatch

SMALLEST = 0.001
"""Subjects with a smaller share of the picture are not judged. These models make masks of about 256 x 256 cells at any
picture size, and for a subject of fewer than eight by eight cells the value would only measure rounding."""


@dataclass
class MaskAgreement(TransformersScorer):
    """Computes the overlap of the subject's exact mask with the mask that a segmenter finds in its bounding box.

    Of several masks for a box, the one that the model itself rates best counts, whatever the exact mask is.
    """

    scheme: ClassVar[str] = "mask-agreement"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "ids", "record"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {"smallest": SMALLEST}
    columns: ClassVar[Mapping[str, Column]] = {
        "iou": Column(pa.float32(), f"{SHARE}, intersection over union of the subject's exact mask and the model's")
    }

    def setup(self) -> None:
        """Load the segmenter; BlendsetError where it takes no box."""
        self._segmenter = Segmenter(self.weights, BOXES)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        return [size_mismatch(view) or {"iou": self._compute_iou(view)} for view in views]

    def _compute_iou(self, view: View) -> float | None:
        mask = view.subject_mask
        if mask is None or mask.mean() < SMALLEST:
            return None
        rows, columns = find_bounding_slices(mask)
        box = columns.start, rows.start, columns.stop, rows.stop
        return iou(mask, self._segmenter.segment_box(view.rgb, box))


def iou(mask: Mask, other: Mask) -> float:
    """Return the intersection over union of two masks (H, W), which must not both be empty."""
    return float((mask & other).sum() / (mask | other).sum())


def find_mask_scorer(spec: str) -> MaskAgreement:
    """Return the stage of `mask-agreement:SPEC`, a transformers model such as facebook/sam2.1-hiera-small."""
    return MaskAgreement(find_model(spec))

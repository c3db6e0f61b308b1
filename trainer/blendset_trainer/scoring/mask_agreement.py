# SPDX-License-Identifier: Apache-2.0
"""`mask-agreement:MODEL`: whether a picture shows its subject where its exact mask is, by a segmenter that is told
where to look (SAM, SAM 2 and their kin). Without one there is `consistency`'s silhouette, by edges.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from transformers import AutoModelForMaskGeneration

from blendset.errors import BlendsetError
from blendset_trainer.captioning.seeing.gbuffer import Mask, bounding
from blendset_trainer.models.loading import best_device, load_model
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import SHARE, Column, View
from blendset_trainer.stages.view_sets import size_mismatch

SMALLEST = 0.001
"""Of the picture. These models draw masks in some 256 x 256 cells whatever a picture's size, and of a subject that
takes fewer than eight by eight of them the figure would say how it was rounded."""


@dataclass
class MaskAgreement(TransformersScorer):
    """The overlap of the subject's exact mask with what a segmenter finds in that mask's box.

    Of the masks that a model draws for a box, the one counts that it holds for the best itself; the truth has no say.
    """

    scheme: ClassVar[str] = "mask-agreement"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "ids", "record"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {"smallest": SMALLEST}
    columns: ClassVar[Mapping[str, Column]] = {
        "iou": Column(pa.float32(), f"{SHARE}, intersection over union of the subject's exact mask and the model's")
    }

    def setup(self) -> None:
        self._loaded = load_model(self.weights, "a segmenter", AutoModelForMaskGeneration)
        if "input_boxes" not in inspect.signature(self._loaded[1].__call__).parameters:
            raise BlendsetError(
                f"{self.weights.source} takes no box that says what to segment; give a segmenter that does, such as "
                "SAM or SAM 2."
            )

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        return [size_mismatch(view) or {"iou": self._iou(view)} for view in views]

    def _iou(self, view: View) -> float | None:
        mask = view.subject_mask
        return None if mask is None or mask.mean() < SMALLEST else iou(mask, self._found(view.rgb, mask))

    @torch.inference_mode()
    def _found(self, rgb: npt.NDArray[np.uint8], mask: Mask) -> Mask:
        """What the model finds in a picture (H, W, 3) within the box of a mask (H, W); of the same size."""
        assert self._loaded is not None
        model, processor = self._loaded
        rows, columns = bounding(mask)
        box = [float(side) for side in (columns.start, rows.start, columns.stop, rows.stop)]
        inputs = processor(images=Image.fromarray(rgb), input_boxes=[[box]], return_tensors="pt")
        answer = model(**inputs.to(best_device(), torch.float32))  # SAM's boxes are doubles, which not all devices know
        sizes = [inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        found = processor.post_process_masks(answer.pred_masks, *sizes)[0][0]
        return np.asarray(found[answer.iou_scores[0, 0].argmax()].cpu())


def iou(mask: Mask, other: Mask) -> float:
    """The area of two masks (H, W) that both cover, as a share of what either does; not for two that are empty."""
    return float((mask & other).sum() / (mask | other).sum())


def find_mask_scorer(spec: str) -> MaskAgreement:
    """The stage of `mask-agreement:SPEC`, a transformers model such as facebook/sam2.1-hiera-small."""
    return MaskAgreement(find_model(spec))

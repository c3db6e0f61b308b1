# SPDX-License-Identifier: Apache-2.0
"""A segmenter of transformers such as SAM or SAM 2, which says what of a picture belongs to a box or to a point."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from transformers import AutoModelForMaskGeneration

from blendset.errors import BlendsetError
from blendset.masks import Mask
from blendset_trainer.models.loading import choose_device, load_model
from blendset_trainer.models.weights import Weights

BOXES, POINTS = "input_boxes", "input_points"
"""What a segmenter can be asked by, as its processor calls it."""
_WORDS = {BOXES: "box", POINTS: "point"}


class Segmenter:
    """A loaded segmenter that can be asked by boxes or by points; BlendsetError for one that cannot."""

    def __init__(self, weights: Weights, asked_by: str) -> None:
        self._model, self._processor = load_model(weights, "a segmenter", AutoModelForMaskGeneration)
        if asked_by not in inspect.signature(self._processor.__call__).parameters:
            raise BlendsetError(
                f"{weights.source} takes no {_WORDS[asked_by]} that says what to segment; give a segmenter that does, "
                "such as SAM or SAM 2."
            )

    def segment_box(self, rgb: npt.NDArray[np.uint8], box: Sequence[float]) -> Mask:
        """Return the mask (H, W) of what is in a box (left, top, right, bottom) of a picture (H, W, 3): of those that
        the model finds, the one that it rates best."""
        masks, ratings = self._propose(rgb, input_boxes=[[[*box]]])
        return np.asarray(masks[0, ratings[0].argmax()])

    def segment_points(
        self, rgb: npt.NDArray[np.uint8], points: Sequence[tuple[float, float]]
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        """Return what each point (x, y) of a picture (H, W, 3) may belong to: masks (points, N, H, W), and the model's
        own rating of each (points, N)."""
        asked = [[[*map(float, point)]] for point in points]
        return self._propose(rgb, input_points=[asked], input_labels=[[[1]] * len(asked)])

    @torch.inference_mode()
    def _propose(
        self, rgb: npt.NDArray[np.uint8], **asked: Any
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32]]:
        inputs = self._processor(images=Image.fromarray(rgb), return_tensors="pt", **asked)
        output = self._model(**inputs.to(choose_device(), torch.float32))  # SAM's are doubles, which some devices lack
        sizes = [inputs[name] for name in ("original_sizes", "reshaped_input_sizes") if name in inputs]
        [masks] = self._processor.post_process_masks(output.pred_masks, *sizes)
        return np.asarray(masks.cpu()), np.asarray(output.iou_scores[0].float().cpu())

# SPDX-License-Identifier: Apache-2.0
"""`depth-agreement:MODEL`: whether a picture's depth, by a monocular depth model, agrees with its passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForDepthEstimation

from blendset.cameras import Array
from blendset.errors import BlendsetError
from blendset_trainer.models.loading import choose_device, load_model
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import SHARE, Column, View
from blendset_trainer.stages.view_sets import size_mismatch

RATIO = 1.25
"""Depths agree where neither is more than so many times the other: delta 1 of Eigen et al. (arXiv 1406.2283)."""
METRIC_MODELS = ("depth_pro", "zoedepth")
"""Model types that predict depth without a setting that says so; all others predict inverse depth, as MiDaS does."""


@dataclass
class DepthAgreement(TransformersScorer):
    """Compares a model's depth, fitted to the passes in scale and shift, with the passes on all surfaces."""

    scheme: ClassVar[str] = "depth-agreement"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {"ratio": RATIO}
    columns: ClassVar[Mapping[str, Column]] = {
        "agreement": Column(pa.float32(), f"{SHARE}, of the pixels whose depth is right within 25 %"),
        "relative_error": Column(pa.float32(), "mean of |depth - true depth| / true depth"),
    }

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self._loaded = load_model(self.weights, "a depth model", AutoModelForDepthEstimation, AutoImageProcessor)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        return [size_mismatch(view) or self._compute_row(view) for view in views]

    def _compute_row(self, view: View) -> dict[str, float | None]:
        surface = view.has_passes and np.isfinite(view.passes.depth) & (view.passes.depth > 0)
        if not np.any(surface):
            return dict.fromkeys(self.columns)
        prediction, metric = self._predict(view.rgb)
        true = view.passes.depth[surface].astype(np.float64)
        depth = align_depth(prediction[surface], true, metric)
        agree = np.maximum(depth / true, true / depth) < RATIO
        return {"agreement": float(agree.mean()), "relative_error": float(np.mean(np.abs(depth - true) / true))}

    @torch.inference_mode()
    def _predict(self, rgb: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float32], bool]:
        """Return the model's prediction per pixel (H, W), and whether it is depth rather than inverse depth."""
        assert self._loaded is not None
        model, processor = self._loaded
        inputs = processor(images=Image.fromarray(rgb), return_tensors="pt").to(choose_device())
        sizes = [tuple(rgb.shape[:2])]
        depth = processor.post_process_depth_estimation(model(**inputs), target_sizes=sizes)[0]["predicted_depth"]
        metric = getattr(model.config, "depth_estimation_type", "") == "metric"
        return depth.float().cpu().numpy(), metric or model.config.model_type in METRIC_MODELS


def align_depth(prediction: npt.NDArray[np.float32], true: Array, metric: bool) -> Array:
    """Return depths (N,) from a prediction (N,), fitted in scale and shift to the true depths (N,).

    The prediction is of depth where `metric` is true, else of inverse depth. The fit is MiDaS's (arXiv 1907.01341,
    section 5): least squares in the quantity that is predicted. A negative scale, which would turn near into far, is 0.
    """
    target = true if metric else 1 / true
    centred = prediction.astype(np.float64) - prediction.mean()
    spread = float(centred @ centred)
    scale = max(float(centred @ target) / spread, 0.0) if spread else 0.0
    fitted = np.maximum(target.mean() + scale * centred, target.min() / 10)  # nothing lies behind the camera
    return np.asarray(fitted if metric else 1 / fitted)


def find_depth_scorer(spec: str) -> DepthAgreement:
    """Return the stage of `depth-agreement:SPEC`, a model such as depth-anything/Depth-Anything-V2-Small-hf."""
    return DepthAgreement(find_model(spec))

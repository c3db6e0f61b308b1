# SPDX-License-Identifier: Apache-2.0
"""`feature-consistency:MODEL`: whether the pictures of a view set agree in a vision model's patch features.

Unlike `consistency`, which compares colours, it tolerates differences of light and grain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from transformers import AutoImageProcessor

from blendset.correspondence import ViewGeometry, correspond
from blendset.errors import BlendsetError
from blendset.tokens import Grid, label_tokens, pool_correspondence
from blendset_trainer.models.loading import choose_device, load_model, normalize_rows
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import COSINE, Column, View
from blendset_trainer.stages.view_sets import build_set_geometries, size_mismatch

Features = npt.NDArray[np.float32]
KIND = "a vision model of patches"


@dataclass
class FeatureConsistency(TransformersScorer):
    """Computes cosines of a view's patch features with those of its siblings at the same points."""

    scheme: ClassVar[str] = "feature-consistency"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})
    whole_sets: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Any]] = {}
    columns: ClassVar[Mapping[str, Column]] = dict.fromkeys(("cosine", "subject_cosine"), Column(pa.float32(), COSINE))

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self._loaded = load_model(self.weights, KIND, processor=AutoImageProcessor)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        rows: list[dict[str, Any] | BlendsetError] = [
            size_mismatch(view) or dict.fromkeys(self.columns) for view in views
        ]
        for members in build_set_geometries(views):
            if len(members) > 1:
                grid, features = self._encode([views[position].rgb for position in members])
                by_position = dict(zip(members, features, strict=True))
                for position in members:
                    rows[position] = _compute_row(
                        position, members, by_position, grid, views[position].record.subject_objects
                    )
        return rows

    @torch.inference_mode()
    def _encode(self, pictures: list[npt.NDArray[np.uint8]]) -> tuple[Grid, Features]:
        """Return the grid (rows, columns) of patches over a picture, and unit features (N, T, D), row by row."""
        assert self._loaded is not None
        model, processor = self._loaded
        patch = model.config.patch_size
        side = model.config.image_size // patch * patch
        options = {"size": {"height": side, "width": side}, "do_center_crop": False}
        inputs = processor(images=[Image.fromarray(picture) for picture in pictures], return_tensors="pt", **options)
        hidden = model(**inputs.to(choose_device())).last_hidden_state
        grid = side // patch, side // patch
        return grid, normalize_rows(
            hidden[:, -grid[0] * grid[1] :]
        ).cpu().numpy()  # tokens before these are of the whole picture


def _compute_row(
    position: int,
    members: Mapping[int, ViewGeometry],
    features: Mapping[int, Features],
    grid: Grid,
    subject: Sequence[int],
) -> dict[str, float | None]:
    """Return mean cosines over the patches of which a sibling shows at least half; None where there are none."""
    target = members[position]
    cosines, labels = [np.zeros(0)], [np.zeros(0, np.uint32)]
    for other in members.keys() - {position}:
        source = members[other]
        match = pool_correspondence(correspond(target, source), target.passes.id, source.passes.id, grid)
        warped = (match.weights[..., None] * features[other][match.neighbours]).sum(axis=1)
        visible = match.alpha >= 0.5
        cosines.append((features[position] * warped).sum(axis=1)[visible] / np.linalg.norm(warped[visible], axis=1))
        labels.append(label_tokens(target.passes.id, grid)[visible])
    values, on_subject = np.concatenate(cosines), np.isin(np.concatenate(labels), subject)
    return {"cosine": _compute_mean(values), "subject_cosine": _compute_mean(values[on_subject])}


def _compute_mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def find_feature_scorer(spec: str) -> FeatureConsistency:
    """Return the stage of `feature-consistency:SPEC`, a transformers model such as facebook/dinov2-base."""
    return FeatureConsistency(find_model(spec))

# SPDX-License-Identifier: Apache-2.0
"""`feature-consistency:MODEL`: `consistency` by what a vision model makes of each patch, which forgives light and
grain and minds what a thing is.
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
from blendset_trainer.models.loading import best_device, load_model, normalize_rows
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import COSINE, Column, View
from blendset_trainer.stages.view_sets import build_set_geometries, size_mismatch

Features = npt.NDArray[np.float32]
KIND = "a vision model of patches"


@dataclass
class FeatureConsistency(TransformersScorer):
    """Cosines of a view's patch features with those of its siblings at the same points."""

    scheme: ClassVar[str] = "feature-consistency"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})
    whole_sets: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Any]] = {}
    columns: ClassVar[Mapping[str, Column]] = dict.fromkeys(("cosine", "subject_cosine"), Column(pa.float32(), COSINE))

    def setup(self) -> None:
        self._loaded = load_model(self.weights, KIND, processor=AutoImageProcessor)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        rows: list[dict[str, Any] | BlendsetError] = [
            size_mismatch(each) or dict.fromkeys(self.columns) for each in views
        ]
        for members in build_set_geometries(views):
            if len(members) > 1:
                grid, features = self._features([views[place].rgb for place in members])
                known = dict(zip(members, features, strict=True))
                for place in members:
                    rows[place] = _row(place, members, known, grid, views[place].record.subject_objects)
        return rows

    @torch.inference_mode()
    def _features(self, pictures: list[npt.NDArray[np.uint8]]) -> tuple[Grid, Features]:
        """The grid of patches over each whole picture, and unit vectors (N, T, D) row by row."""
        assert self._loaded is not None
        model, processor = self._loaded
        patch = model.config.patch_size
        side = model.config.image_size // patch * patch
        whole = {"size": {"height": side, "width": side}, "do_center_crop": False}
        inputs = processor(images=[Image.fromarray(each) for each in pictures], return_tensors="pt", **whole)
        hidden = model(**inputs.to(best_device())).last_hidden_state
        grid = side // patch, side // patch
        return grid, normalize_rows(
            hidden[:, -grid[0] * grid[1] :]
        ).cpu().numpy()  # what comes before them is of the whole


def _row(
    place: int,
    members: Mapping[int, ViewGeometry],
    features: Mapping[int, Features],
    grid: Grid,
    subject: Sequence[int],
) -> dict[str, float | None]:
    """The means over all patches of which siblings show at least half; None where there is none."""
    target = members[place]
    cosines, labels = [np.zeros(0)], [np.zeros(0, np.uint32)]
    for other in members.keys() - {place}:
        source = members[other]
        match = pool_correspondence(correspond(target, source), target.passes.id, source.passes.id, grid)
        warped = (match.weights[..., None] * features[other][match.neighbours]).sum(axis=1)
        seen = match.alpha >= 0.5
        cosines.append((features[place] * warped).sum(axis=1)[seen] / np.linalg.norm(warped[seen], axis=1))
        labels.append(label_tokens(target.passes.id, grid)[seen])
    every, own = np.concatenate(cosines), np.isin(np.concatenate(labels), subject)
    return {"cosine": _mean(every), "subject_cosine": _mean(every[own])}


def _mean(values: npt.NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


def find_feature_scorer(spec: str) -> FeatureConsistency:
    """The stage of `feature-consistency:SPEC`, a transformers model such as facebook/dinov2-base."""
    return FeatureConsistency(find_model(spec))

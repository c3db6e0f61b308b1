# SPDX-License-Identifier: Apache-2.0
"""`dino:MODEL`: whether the views of a set show the same subject, by DINOv2 or DINOv3 features of its crops.

SynCD (arXiv 2502.01720) keeps groups of mean >= 0.7 (paper); its loader keeps an image that has a pair of
0.7 <= cosine <= 0.98 (code): `best_pair` is made for that rule.
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
from transformers import AutoConfig, AutoImageProcessor

from blendset.masks import find_bounding_slices
from blendset_trainer.models.loading import choose_device, load_model, normalize_rows
from blendset_trainer.models.weights import explain_load_errors, find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import COSINE, Column, View
from blendset_trainer.stages.view_sets import group_by_view_set

NEAR_DUPLICATE = 0.98
"""Pairs of views with a higher cosine are near duplicates, which teach nothing (SynCD's loader)."""


def crop_subject(view: View) -> Image.Image:
    """Return the square crop around the subject's pixels; the whole picture where they are unknown."""
    picture, mask = Image.fromarray(view.rgb), view.subject_mask
    return picture if mask is None or not mask.any() else picture.crop(find_square(mask))


def find_square(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """Return left, top, right, bottom of the smallest square over a mask (H, W), within the picture where it fits."""
    rows, columns = find_bounding_slices(mask)
    side = max(rows.stop - rows.start, columns.stop - columns.start)
    left = _find_start(columns.start, columns.stop, side, mask.shape[1])
    top = _find_start(rows.start, rows.stop, side, mask.shape[0])
    return left, top, left + side, top + side


def _find_start(first: int, end: int, side: int, length: int) -> int:
    """Return the start of an interval of length `side`, centred on first..end and, if it fits, within 0..length."""
    centred = (first + end - side) // 2
    return min(max(centred, 0), length - side) if side <= length else (length - side) // 2


def summarize_cosines(cosines: npt.NDArray[np.float32]) -> list[dict[str, float | None]]:
    """Return, for each of N views of a set, the columns from the cosines (N, N) between all views.

    They are the mean, least and greatest cosine of the set's pairs, and the greatest cosine of the view's pairs that
    are no near duplicates; None where there is no such pair.
    """
    pairs = cosines[np.triu_indices(len(cosines), k=1)]
    if not len(pairs):
        return [dict.fromkeys(("set_mean", "set_min", "set_max", "best_pair")) for _ in cosines]
    of_set = {"set_mean": float(pairs.mean()), "set_min": float(pairs.min()), "set_max": float(pairs.max())}
    others = [np.delete(row, position) for position, row in enumerate(cosines)]
    distinct = [row[row <= NEAR_DUPLICATE] for row in others]
    return [{**of_set, "best_pair": float(row.max()) if len(row) else None} for row in distinct]


@dataclass
class DinoScorer(TransformersScorer):
    """Computes cosines between the subject crops of a view set, and each crop's embedding."""

    width: int

    scheme: ClassVar[str] = "dino"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "ids", "record"})
    whole_sets: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Any]] = {"near_duplicate": NEAR_DUPLICATE}

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row; the embedding's length depends on the model."""
        cosine = Column(pa.float32(), COSINE)
        names = ("set_mean", "set_min", "set_max", "best_pair")
        return {**dict.fromkeys(names, cosine), "embedding": Column(pa.list_(pa.float32(), self.width), "unit vector")}

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self._loaded = load_model(self.weights, "a DINO image encoder", processor=AutoImageProcessor)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        embeddings = self.encode([crop_subject(view) for view in views])
        rows: list[dict[str, Any]] = [{"embedding": embedding} for embedding in embeddings]
        for positions in group_by_view_set(views):
            members = embeddings[positions]
            for position, summary in zip(positions, summarize_cosines(members @ members.T), strict=True):
                rows[position] |= summary
        return rows

    @torch.inference_mode()
    def encode(self, crops: list[Image.Image]) -> npt.NDArray[np.float32]:
        """Return unit embeddings (N, D) of N crops."""
        assert self._loaded is not None
        model, processor = self._loaded
        features = model(**processor(images=crops, return_tensors="pt").to(choose_device())).pooler_output
        return np.asarray(normalize_rows(features).cpu().numpy())


def find_dino_scorer(spec: str) -> DinoScorer:
    """Return the stage of `dino:SPEC`, a transformers model such as facebook/dinov2-large."""
    weights = find_model(spec)
    with explain_load_errors(spec, "a DINO image encoder"):
        config = AutoConfig.from_pretrained(weights.source, revision=weights.commit, trust_remote_code=False)
        return DinoScorer(weights, config.hidden_size)

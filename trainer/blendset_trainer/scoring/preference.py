# SPDX-License-Identifier: Apache-2.0
"""`preference:MODEL`: which picture people would prefer for a caption, by models of CLIP's form (PickScore, HPSv2).

PickScore is the cosine times the model's logit scale, HPSv2 is the cosine; there is a column for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import torch
from PIL import Image

from blendset_trainer.models.loading import choose_device, load_model, normalize_rows
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import COSINE, Column, View


@dataclass
class PreferenceScorer(TransformersScorer):
    """Computes how much a picture is preferred for its caption; None where there is no caption."""

    scheme: ClassVar[str] = "preference"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "caption"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {}
    columns: ClassVar[Mapping[str, Column]] = {
        "cosine": Column(pa.float32(), COSINE),
        "score": Column(pa.float32(), "cosine times the model's logit scale"),
        "tokens": Column(pa.int32(), "tokens of the caption, beginning and end included"),
        "truncated": Column(pa.bool_(), "whether the model read only the caption's beginning"),
    }

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self._loaded = load_model(self.weights, "a preference model in the form of CLIP")

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        captioned = [position for position, view in enumerate(views) if view.caption]
        rows: list[dict[str, Any]] = [dict.fromkeys(self.columns) for _ in views]
        for position, row in zip(
            captioned, self._score_captioned([views[position] for position in captioned]), strict=True
        ):
            rows[position] = row
        return rows

    @torch.inference_mode()
    def _score_captioned(self, views: Sequence[View]) -> list[dict[str, Any]]:
        if not views:
            return []
        assert self._loaded is not None
        model, processor = self._loaded
        limit = model.config.text_config.max_position_embeddings
        captions = [view.caption for view in views]
        counts = [len(ids) for ids in processor.tokenizer(captions).input_ids]
        words = processor(text=captions, padding="max_length", truncation=True, max_length=limit, return_tensors="pt")
        pictures = processor(images=[Image.fromarray(view.rgb) for view in views], return_tensors="pt")
        image_features = normalize_rows(model.get_image_features(**pictures.to(choose_device())).pooler_output)
        text_features = normalize_rows(model.get_text_features(**words.to(choose_device())).pooler_output)
        cosines = (image_features * text_features).sum(dim=1)
        scores = cosines * model.logit_scale.exp()
        return [
            {"cosine": cosine, "score": score, "tokens": tokens, "truncated": tokens > limit}
            for cosine, score, tokens in zip(cosines.tolist(), scores.tolist(), counts, strict=True)
        ]


def find_preference_scorer(spec: str) -> PreferenceScorer:
    """Return the stage of `preference:SPEC`, a transformers CLIPModel such as yuvalkirstain/PickScore_v1."""
    return PreferenceScorer(find_model(spec))

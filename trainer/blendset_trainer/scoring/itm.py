# SPDX-License-Identifier: Apache-2.0
"""`itm:MODEL`: the probability that a picture and its caption belong together, by BLIP's image-text matching (Li et
al., arXiv 2201.12086). It is row 7 of SynthVLM's curation, where 0.8 of Salesforce/blip-itm-base-coco passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import pyarrow as pa
import torch
from PIL import Image
from transformers import BlipForImageTextRetrieval

from blendset.errors import BlendsetError
from blendset_trainer.models.loading import choose_device, load_model
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.transformers_scorer import TransformersScorer
from blendset_trainer.stages.stage import Column, View


@dataclass
class ItmScorer(TransformersScorer):
    """Computes how probable it is that picture and caption match; None where there is no caption."""

    scheme: ClassVar[str] = "itm"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "caption"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {}
    columns: ClassVar[Mapping[str, Column]] = {"p_match": Column(pa.float32(), "probability, 0 to 1")}

    def setup(self) -> None:
        """Load the model; BlendsetError for one without a head that matches, which would be filled with noise."""
        model, processor = load_model(self.weights, "BLIP for image-text matching", BlipForImageTextRetrieval)
        if BlipForImageTextRetrieval.__name__ not in (model.config.architectures or ()):
            raise BlendsetError(
                f"{self.weights.source} has no head for image-text matching; name a BlipForImageTextRetrieval, such as "
                "Salesforce/blip-itm-base-coco."
            )
        self._loaded = model, processor

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        matches = iter(self._compute_matches([view for view in views if view.caption]))
        return [{"p_match": next(matches) if view.caption else None} for view in views]

    @torch.inference_mode()
    def _compute_matches(self, views: Sequence[View]) -> list[float]:
        """The probability of each view with a caption; of a longer caption the model reads what it has room for."""
        if not views:
            return []
        assert self._loaded is not None
        model, processor = self._loaded
        inputs = processor(
            images=[Image.fromarray(view.rgb) for view in views],
            text=[view.caption for view in views],
            padding=True,
            truncation=True,
            max_length=model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        scores = model(**inputs.to(choose_device())).itm_score
        return scores.float().softmax(dim=-1)[:, 1].tolist()  # type: ignore[no-any-return]


def find_itm_scorer(spec: str) -> ItmScorer:
    """Return the stage of `itm:SPEC`, a BlipForImageTextRetrieval of transformers."""
    return ItmScorer(find_model(spec))

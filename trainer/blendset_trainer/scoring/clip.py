# SPDX-License-Identifier: Apache-2.0
"""`clip:MODEL`: how well a picture and its caption agree, by any open_clip model, and the picture's embedding.

Cosines are not clamped or scaled. A threshold is valid only for the model that it was found with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from blendset.naming import slugify
from blendset_trainer.models.clip import ClipModel, ClipWeights, find_clip
from blendset_trainer.stages.stage import COSINE, Column, View

SYNTHVLM_MODEL, SYNTHVLM_PREFIX = "ViT-B-32/openai", "A photo depicts "
"""The model of SynthVLM's CLIPScore, which is max(cosine, 0), and the words before each caption (its repository)."""


@dataclass
class ClipScorer:
    """Computes the cosine of picture and caption, the caption's tokens, whether it was cut, and the embedding."""

    weights: ClipWeights
    prefix: str = ""
    name: str = ""
    _clip: ClipModel | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "caption"})
    whole_sets: ClassVar[bool] = False

    def __post_init__(self) -> None:
        self.name = self.name or slugify(f"clip-{self.weights.title}")

    @property
    def revision(self) -> str:
        """The revision of the weights."""
        return self.weights.revision

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The model and the words before each caption."""
        return {"model": self.weights.title, "prefix": self.prefix}

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row; the embedding's length depends on the model."""
        return {
            "similarity": Column(pa.float32(), COSINE),
            "tokens": Column(pa.int32(), "tokens of the caption, beginning and end included"),
            "truncated": Column(pa.bool_(), "whether the model read only the caption's beginning"),
            "embedding": Column(pa.list_(pa.float32(), self.weights.width), "unit vector"),
        }

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self._clip = ClipModel(self.weights)

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        assert self._clip is not None
        pictures = self._clip.encode_pictures([view.rgb for view in views]).cpu()
        captions = self._clip.encode_texts([self.prefix + view.caption for view in views]).cpu()
        cosines = (pictures * captions).sum(dim=1).tolist()
        return [
            self._compute_agreement(view.caption, cosine) | {"embedding": picture.numpy()}
            for view, cosine, picture in zip(views, cosines, pictures, strict=True)
        ]

    def encode_captions(self, captions: Sequence[str], batch: int) -> npt.NDArray[np.float32]:
        """Return unit embeddings (N, D) of captions, behind the words that stand before each; loads the model first."""
        if self._clip is None:
            self.setup()
        assert self._clip is not None
        texts = [self.prefix + caption for caption in captions]
        parts = [self._clip.encode_texts(texts[start : start + batch]).cpu() for start in range(0, len(texts), batch)]
        return np.concatenate([part.numpy() for part in parts])

    def _compute_agreement(self, caption: str, cosine: float) -> dict[str, Any]:
        """Return the columns about the caption, None where there is no caption."""
        if not caption:
            return dict.fromkeys(("similarity", "tokens", "truncated"))
        assert self._clip is not None
        tokens = self._clip.count_tokens(self.prefix + caption)
        return {"similarity": cosine, "tokens": tokens, "truncated": tokens > self._clip.token_limit}


def find_clip_scorer(spec: str) -> ClipScorer:
    """Return the stage of `clip:SPEC`; `clip:synthvlm` is SynthVLM's CLIPScore, with its words before the caption."""
    if spec == "synthvlm":
        return ClipScorer(find_clip(SYNTHVLM_MODEL), SYNTHVLM_PREFIX, "clip-synthvlm")
    return ClipScorer(find_clip(spec))

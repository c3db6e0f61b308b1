# SPDX-License-Identifier: Apache-2.0
"""`vqa:MODEL`: VQAScore (Lin et al., arXiv 2404.01291), the probability of "yes" to whether a picture shows a caption.

Unlike CLIP's score it has no limit of 77 tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.naming import slugify
from blendset_trainer.models.chat.chat_model import ChatRequest
from blendset_trainer.models.chat.local import LocalChatModel
from blendset_trainer.models.weights import find_model
from blendset_trainer.stages.stage import PROBABILITY, Column, View

QUESTION = 'Does this figure show "{caption}"? Please answer yes or no.'
"""The question of the paper."""


@dataclass
class VqaScorer:
    """Computes P(yes) and P(no); where both are small, the model does not answer the question."""

    model: LocalChatModel

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "caption"})
    whole_sets: ClassVar[bool] = False
    parameters: ClassVar[Mapping[str, Any]] = {"question": QUESTION}
    columns: ClassVar[Mapping[str, Column]] = {
        "p_yes": Column(pa.float32(), PROBABILITY),
        "p_no": Column(pa.float32(), PROBABILITY),
    }

    def __post_init__(self) -> None:
        self.name = slugify(f"vqa-{self.model.title}")
        self.revision = self.model.revision

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self.model.setup()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any]]:
        """Return one row of the stage's columns for each view, in their order."""
        requests = [ChatRequest([view.rgb], QUESTION.format(caption=view.caption)) for view in views if view.caption]
        answers = iter(self.model.compute_probabilities(requests, ("yes", "no")))
        return [dict(zip(self.columns, next(answers) if view.caption else (None, None), strict=True)) for view in views]


def find_vqa_scorer(spec: str) -> VqaScorer:
    """Return the stage of `vqa:SPEC`, any chat model of transformers that reads pictures."""
    return VqaScorer(LocalChatModel(find_model(spec)))

# SPDX-License-Identifier: Apache-2.0
"""`vlm-quality:MODEL`: Bootstrap3D's judgement of a view set from 1 to 5 by a model that sees, "unparsable" apart.

An answer that holds no score is never taken for the worst one, as Bootstrap3D's own script does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, find_chat_model
from blendset_trainer.models.chat.instructions import QUALITIES, labelled, prompt, quality
from blendset_trainer.stages.stage import Column, View
from blendset_trainer.stages.view_sets import group_by_view_set

TOKENS = 384


@dataclass
class QualityScorer:
    """One judgement for each view set; a view of no set is judged alone."""

    answerer: ChatModel

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb"})
    whole_sets: ClassVar[bool] = True
    columns: ClassVar[Mapping[str, Column]] = {
        "quality": Column(pa.string(), " or ".join(QUALITIES)),
        "score": Column(pa.int8(), "1 worst to 5 best"),
        "reason": Column(pa.string()),
    }

    def __post_init__(self) -> None:
        self.name = slugify(f"vlm-quality-{self.answerer.title}")
        self.revision = self.answerer.revision
        self.parameters = {**self.answerer.parameters, "prompt": prompt("quality")}

    def setup(self) -> None:
        self.answerer.setup()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        sets = group_by_view_set(views)
        questions = [ChatRequest([views[place].rgb for place in places], prompt("quality")) for places in sets]
        rows: dict[int, dict[str, Any] | BlendsetError] = {}
        for places, reply in zip(sets, self.answerer.generate(questions, TOKENS), strict=True):
            rows |= dict.fromkeys(places, _judgement(reply))
        return [rows[place] for place in range(len(views))]


def _judgement(reply: str | BlendsetError) -> dict[str, Any] | BlendsetError:
    if isinstance(reply, BlendsetError):
        return reply
    found = quality(reply)
    return {
        "quality": found,
        "score": None if found == "unparsable" else int(found),
        "reason": labelled(reply, "reason"),
    }


def find_quality_scorer(spec: str) -> QualityScorer:
    """The stage of `vlm-quality:SPEC`; SPEC is a model, or openai:URL[#MODEL]."""
    scheme, _, rest = spec.partition(":")
    return QualityScorer(find_chat_model("openai", rest) if scheme == "openai" else find_chat_model("hf", spec))

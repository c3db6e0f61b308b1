# SPDX-License-Identifier: Apache-2.0
"""`vlm-quality:MODEL`: Bootstrap3D's quality of a view set, from 1 to 5, by a chat model that reads pictures.

An answer without a score is "unparsable". It does not count as the worst score, as it does in Bootstrap3D's script.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError
from blendset_trainer.models.chat.finding import find_chat_model
from blendset_trainer.models.chat.instructions import QUALITIES, parse_label, parse_quality, read_prompt
from blendset_trainer.models.chat.replies import refuse_no_answer, strip_thoughts
from blendset_trainer.stages.stage import Column, View
from blendset_trainer.stages.view_sets import group_by_view_set

TOKENS = 384
"""The longest answer where a scorer sets no other."""


@dataclass
class QualityScorer:
    """Asks for one judgement per view set; a view of no set is judged alone.

    An answer of more than `max_tokens` tokens (None: of more than TOKENS) is cut, and no judgement.
    """

    chat_model: ChatModel
    max_tokens: int | None = None

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
        self.name = slugify(f"vlm-quality-{self.chat_model.title}")
        self.revision = self.chat_model.revision
        self.parameters = {**self.chat_model.parameters, "prompt": read_prompt("quality")}

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self.chat_model.setup()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        sets = group_by_view_set(views)
        requests = [
            ChatRequest([views[position].rgb for position in positions], read_prompt("quality")) for positions in sets
        ]
        rows: dict[int, dict[str, Any] | BlendsetError] = {}
        for positions, answer in zip(sets, self.chat_model.generate(requests, self.max_tokens or TOKENS), strict=True):
            rows |= dict.fromkeys(positions, _parse_judgement(answer))
        return [rows[position] for position in range(len(views))]


def _parse_judgement(answer: str | BlendsetError) -> dict[str, Any] | BlendsetError:
    if isinstance(answer, BlendsetError):
        return answer
    found = parse_quality(answer)
    if found == "unparsable":
        try:
            refuse_no_answer(strip_thoughts(answer))
        except ReplyError as error:
            return error
    return {
        "quality": found,
        "score": None if found == "unparsable" else int(found),
        "reason": parse_label(answer, "reason"),
    }


def find_quality_scorer(spec: str) -> QualityScorer:
    """Return the stage of `vlm-quality:SPEC`; SPEC is a model, or openai:URL[#MODEL]."""
    scheme, _, rest = spec.partition(":")
    return QualityScorer(find_chat_model("openai", rest) if scheme == "openai" else find_chat_model("hf", spec))

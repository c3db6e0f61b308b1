# SPDX-License-Identifier: Apache-2.0
"""`vlm-filter:MODEL`: BlendFusion's filter by a vision-language model (arXiv 2604.09022), which keeps the pictures that
are easy to caption. The model sees the picture alone and answers GOOD or BAD with a reason.

An answer that is neither has no verdict. The paper does not say what it made of such ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError, WeighedAnswer
from blendset_trainer.models.chat.finding import find_chat_model
from blendset_trainer.models.chat.instructions import parse_verdict, read_prompt
from blendset_trainer.models.chat.replies import refuse_no_answer, strip_thoughts
from blendset_trainer.stages.stage import PROBABILITY, Column, View

PROMPT = "good-or-bad"
VERDICTS = ("GOOD", "BAD")
TOKENS = 64
"""The longest answer where a scorer sets no other."""


@dataclass
class VlmFilter:
    """Asks for a verdict on each view, and for the probability of both.

    A local model gives all columns. A server gives the probabilities where it sends `logprobs`. An answer of more than
    `max_tokens` tokens (None: of more than TOKENS) is cut; it counts if its verdict is there.
    """

    chat_model: ChatModel
    max_tokens: int | None = None

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb"})
    whole_sets: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, Column]] = {
        "p_good": Column(pa.float32(), PROBABILITY),
        "p_bad": Column(pa.float32(), PROBABILITY),
        "good": Column(pa.bool_(), "true or false"),
        "reason": Column(pa.string()),
    }

    def __post_init__(self) -> None:
        self.name = slugify(f"vlm-filter-{self.chat_model.title}")
        self.revision = self.chat_model.revision
        self.parameters = {**self.chat_model.parameters, "prompt": read_prompt(PROMPT)}

    def setup(self) -> None:
        """Load the model; called once per process, before the first rows."""
        self.chat_model.setup()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        requests = [ChatRequest([view.rgb], read_prompt(PROMPT)) for view in views]
        return list(map(_make_row, self.chat_model.generate_weighed(requests, VERDICTS, self.max_tokens or TOKENS)))


def _make_row(weighed: WeighedAnswer) -> dict[str, Any] | BlendsetError:
    answer = weighed.answer
    text = answer.text if isinstance(answer, ReplyError) else answer
    verdict, reason = (None, None) if isinstance(text, BlendsetError) else parse_verdict(text, VERDICTS)
    if verdict is None:
        if isinstance(answer, BlendsetError):
            return answer
        try:
            refuse_no_answer(strip_thoughts(answer))
        except ReplyError as error:
            return error
    p_good, p_bad = weighed.probabilities or (None, None)
    good = None if verdict is None else verdict == VERDICTS[0]
    return {"p_good": p_good, "p_bad": p_bad, "good": good, "reason": reason}


def find_vlm_filter(spec: str) -> VlmFilter:
    """Return the stage of `vlm-filter:SPEC`; SPEC is a model, or openai:URL[#MODEL]."""
    scheme, _, rest = spec.partition(":")
    return VlmFilter(find_chat_model("openai", rest) if scheme == "openai" else find_chat_model("hf", spec))

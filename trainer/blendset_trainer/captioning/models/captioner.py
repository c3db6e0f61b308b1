# SPDX-License-Identifier: Apache-2.0
"""`hf:MODEL` and `openai:URL`: captions by a model that sees, of each view or of whole view sets.

BlendFusion's factual caption (arXiv 2604.09022, 1.5) gives the short form; Bootstrap3D's (arXiv 2406.00093) gives one
caption to a set, after a chain of thought that ends in a score from 1 to 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.errors import BlendsetError
from blendset.naming import slugify
from blendset_trainer.captioning.grounding import ground_caption
from blendset_trainer.captioning.models.facts_prompt import build_facts_prompt
from blendset_trainer.captioning.seeing.facts import extract_facts
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, find_chat_model
from blendset_trainer.models.chat.instructions import QUALITIES, parse_caption, parse_label, parse_quality, read_prompt
from blendset_trainer.stages.stage import SHARE, Column, View
from blendset_trainer.stages.view_sets import group_by_view_set

VIEW_PROMPTS, SET_PROMPTS = {"short": ["short"], "dense": ["dense"]}, {"set": ["view-set", "quality"]}
"""The files that each question is made of."""
TOKENS = {"short": 64, "dense": 192, "set": 768}
"""Room for the words that are asked for, and for thoughts where there are any."""
GROUNDING = {"grounded_share": Column(pa.float32(), SHARE), "unsupported": Column(pa.list_(pa.string()))}

Row = dict[str, Any] | BlendsetError


@dataclass
class ModelCaptioner:
    """Asks for a short and a dense caption of each view, or with `view_sets` once about all views of a set, each of
    which gets the answer. `facts` adds to the prompt what the id pass knows.
    """

    answerer: ChatModel
    scheme: str
    facts: bool = True
    view_sets: bool = False

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["captions"]] = "captions"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})

    @property
    def name(self) -> str:
        return slugify(f"{self.scheme}-{self.answerer.title}")

    @property
    def revision(self) -> str:
        return self.answerer.revision

    @property
    def whole_sets(self) -> bool:
        return self.view_sets

    @property
    def parameters(self) -> Mapping[str, Any]:
        asked = {name: read_prompt(*files) for name, files in (SET_PROMPTS if self.view_sets else VIEW_PROMPTS).items()}
        return {**self.answerer.parameters, "prompts": asked | ({"facts": read_prompt("facts")} if self.facts else {})}

    @property
    def columns(self) -> Mapping[str, Column]:
        text = Column(pa.string())
        judged = {"reason": text, "quality": Column(pa.string(), " or ".join(QUALITIES))} if self.view_sets else {}
        return {"short": text, "dense": text, **judged, **GROUNDING}

    def setup(self) -> None:
        self.answerer.setup()

    def compute_rows(self, views: Sequence[View]) -> list[Row]:
        answers = self._of_sets(views) if self.view_sets else self._of_views(views)
        return [
            answer if isinstance(answer, BlendsetError) else answer | _grounding(view, answer)
            for view, answer in zip(views, answers, strict=True)
        ]

    def _of_views(self, views: Sequence[View]) -> list[Row]:
        short, dense = (
            self.answerer.generate([self._question(read_prompt(*files), [view]) for view in views], TOKENS[name])
            for name, files in VIEW_PROMPTS.items()
        )
        return [_captions(*both) for both in zip(short, dense, strict=True)]

    def _of_sets(self, views: Sequence[View]) -> list[Row]:
        sets = group_by_view_set(views)
        asked = read_prompt(*SET_PROMPTS["set"])
        questions = [self._question(asked, [views[place] for place in places]) for places in sets]
        replies = self.answerer.generate(questions, TOKENS["set"])
        found = {place: reply for places, reply in zip(sets, replies, strict=True) for place in places}
        return [_set_captions(found[place]) for place in range(len(views))]

    def _question(self, asked: str, views: Sequence[View]) -> ChatRequest:
        facts = build_facts_prompt(views) if self.facts else ""
        return ChatRequest([view.rgb for view in views], "\n\n".join(filter(None, (facts, asked))))


def _captions(short: str | BlendsetError, dense: str | BlendsetError) -> Row:
    if isinstance(short, BlendsetError):
        return short
    return dense if isinstance(dense, BlendsetError) else {"short": parse_caption(short), "dense": parse_caption(dense)}


def _set_captions(reply: str | BlendsetError) -> Row:
    if isinstance(reply, BlendsetError):
        return reply
    return {name: parse_label(reply, name) for name in ("short", "dense", "reason")} | {"quality": parse_quality(reply)}


def _grounding(view: View, captions: Mapping[str, Any]) -> dict[str, Any]:
    """The caption held against what the index pass shows; None where there is no pass, or nothing was said."""
    said = " ".join(filter(None, (captions["short"], captions["dense"])))
    if not view.has_passes or not said:
        return dict.fromkeys(GROUNDING)
    found = ground_caption(said, extract_facts(view.record, view.scene, view.rgb, view.passes).nouns)
    return {"grounded_share": found.share, "unsupported": list(found.unsupported)}


def local_captioner(spec: str) -> ModelCaptioner:
    """The stage of `hf:SPEC`, a transformers image-text-to-text model: a folder, or its id on the hub."""
    return ModelCaptioner(find_chat_model("hf", spec), "hf")


def server_captioner(spec: str) -> ModelCaptioner:
    """The stage of `openai:SPEC`; see `vision_language.server.find_server`."""
    return ModelCaptioner(find_chat_model("openai", spec), "openai")

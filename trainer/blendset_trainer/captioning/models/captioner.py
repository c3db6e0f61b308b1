# SPDX-License-Identifier: Apache-2.0
"""`hf:MODEL` and `openai:URL`: captions by a vision-language model, of each view or of whole view sets.

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
from blendset.records import ViewRecord
from blendset_trainer.captioning.grounding import ground_caption
from blendset_trainer.captioning.models.facts_prompt import build_facts_prompt
from blendset_trainer.captioning.models.repeats import review_repeats
from blendset_trainer.captioning.seeing.facts import extract_facts
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError
from blendset_trainer.models.chat.finding import find_chat_model
from blendset_trainer.models.chat.instructions import (
    QUALITIES,
    parse_caption,
    parse_label,
    parse_labelled_captions,
    parse_quality,
    read_prompt,
    remove_rendering_words,
)
from blendset_trainer.stages.caption_forms import CAPTION_FORMS, DENSE, SHORT
from blendset_trainer.stages.stage import SHARE, Column, View
from blendset_trainer.stages.view_sets import group_by_view_set

VIEW_PROMPTS, SET_PROMPTS = {SHORT: ["short"], DENSE: ["dense"]}, {"set": ["view-set", "quality"]}
"""The prompt files that each request consists of."""
TOKENS = {SHORT: 64, DENSE: 192, "set": 768}
"""The most tokens of a reply where a captioner sets no other; a set's reply has room for thoughts."""
RENDER = "render"
"""The source of views that are renderings."""
GROUNDING = {"grounded_share": Column(pa.float32(), SHARE), "unsupported": Column(pa.list_(pa.string()))}

Row = dict[str, Any] | BlendsetError


@dataclass
class ModelCaptioner:
    """Requests a short and a dense caption of each view.

    With `view_sets` there is one request about all views of a set, and each of them gets the reply. `facts` adds to
    the prompt what the id pass knows. A reply of more than `max_tokens` tokens (None: of more than TOKENS) is cut, and
    no caption; those that end do not depend on it.
    """

    chat_model: ChatModel
    scheme: str
    facts: bool = True
    view_sets: bool = False
    max_tokens: int | None = None

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["captions"]] = "captions"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record"})

    @property
    def name(self) -> str:
        """The name of the stage, which is also that of its folder."""
        return slugify(f"{self.scheme}-{self.chat_model.title}")

    @property
    def revision(self) -> str:
        """The revision of the model's weights."""
        return self.chat_model.revision

    @property
    def whole_sets(self) -> bool:
        """Whether the views of a set have to be captioned in one call."""
        return self.view_sets

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the captions depend on besides the views: the model's parameters and the prompts."""
        files = SET_PROMPTS if self.view_sets else VIEW_PROMPTS
        prompts = {name: read_prompt(*names) for name, names in files.items()}
        facts = {"facts": read_prompt("facts")} if self.facts else {}
        return {**self.chat_model.parameters, "prompts": prompts | facts}

    @property
    def columns(self) -> Mapping[str, Column]:
        """The columns of a row; view sets have a quality and the reason for it too."""
        text = Column(pa.string())
        quality = {"reason": text, "quality": Column(pa.string(), " or ".join(QUALITIES))} if self.view_sets else {}
        return {SHORT: text, DENSE: text, **quality, **GROUNDING}

    def setup(self) -> None:
        """Load the model."""
        self.chat_model.setup()

    def compute_rows(self, views: Sequence[View]) -> list[Row]:
        """One row of captions for each view, or why it has none."""
        rows = self._caption_sets(views) if self.view_sets else self._caption_views(views)
        return [
            row if isinstance(row, BlendsetError) else row | _compute_grounding(view, row)
            for view, row in zip(views, rows, strict=True)
        ]

    def review_rows(
        self, records: Sequence[ViewRecord], rows: Sequence[Mapping[str, Any]], notes: list[str]
    ) -> Sequence[Mapping[str, Any] | BlendsetError]:
        """Return the rows of a shard; those that say the same of everything have become errors."""
        return review_repeats(records, rows, notes)

    def _caption_views(self, views: Sequence[View]) -> list[Row]:
        short, dense = (
            self._generate(name, [self._build_request(read_prompt(*files), [view]) for view in views])
            for name, files in VIEW_PROMPTS.items()
        )
        return [_merge_captions(*both) for both in zip(short, dense, strict=True)]

    def _caption_sets(self, views: Sequence[View]) -> list[Row]:
        sets = group_by_view_set(views)
        prompt = read_prompt(*SET_PROMPTS["set"])
        requests = [self._build_request(prompt, [views[position] for position in positions]) for positions in sets]
        replies = self._generate("set", requests)
        reply_of = {position: reply for positions, reply in zip(sets, replies, strict=True) for position in positions}
        return [_parse_set_captions(reply_of[position]) for position in range(len(views))]

    def _generate(self, form: str, requests: Sequence[ChatRequest]) -> list[str | BlendsetError]:
        return self.chat_model.generate(requests, self.max_tokens or TOKENS[form])

    def _build_request(self, prompt: str, views: Sequence[View]) -> ChatRequest:
        facts = build_facts_prompt(views) if self.facts else ""
        if any(view.record.source != RENDER for view in views):
            prompt = remove_rendering_words(prompt)
        return ChatRequest([view.rgb for view in views], "\n\n".join(filter(None, (facts, prompt))))


def _merge_captions(short: str | BlendsetError, dense: str | BlendsetError) -> Row:
    """A row of two replies, or why the first that is no caption is none."""
    row: dict[str, Any] = {}
    for form, reply in ((SHORT, short), (DENSE, dense)):
        if isinstance(reply, BlendsetError):
            return reply
        try:
            row[form] = parse_caption(reply)
        except ReplyError as error:
            return error
    return row


def _parse_set_captions(reply: str | BlendsetError) -> Row:
    """The row that each view of a set gets."""
    if isinstance(reply, BlendsetError):
        return reply
    try:
        captions = parse_labelled_captions(reply, CAPTION_FORMS)
    except ReplyError as error:
        return error
    return captions | {"reason": parse_label(reply, "reason"), "quality": parse_quality(reply)}


def _compute_grounding(view: View, captions: Mapping[str, Any]) -> dict[str, Any]:
    """The columns GROUNDING of a view's captions; None where it has no passes or no captions."""
    text = " ".join(filter(None, (captions[form] for form in CAPTION_FORMS)))
    if not view.has_passes or not text:
        return dict.fromkeys(GROUNDING)
    grounding = ground_caption(text, extract_facts(view.record, view.scene, view.rgb, view.passes).nouns)
    return {"grounded_share": grounding.share, "unsupported": list(grounding.unsupported)}


def find_local_captioner(spec: str) -> ModelCaptioner:
    """Find the stage of `hf:SPEC`, a transformers image-text-to-text model: a folder, or its id on the hub."""
    return ModelCaptioner(find_chat_model("hf", spec), "hf")


def find_server_captioner(spec: str) -> ModelCaptioner:
    """Find the stage of `openai:SPEC`; see `blendset_trainer.models.chat.server`."""
    return ModelCaptioner(find_chat_model("openai", spec), "openai")

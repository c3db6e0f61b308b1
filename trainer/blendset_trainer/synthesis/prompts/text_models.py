# SPDX-License-Identifier: Apache-2.0
"""What models say of prompts: their perplexity, a judgement in one word, and embeddings, by which they differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset.records import encode_json
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest
from blendset_trainer.models.chat.local import LocalChatModel
from blendset_trainer.models.chat.replies import strip_thoughts
from blendset_trainer.models.clip import ClipModel, find_clip
from blendset_trainer.models.loading import choose_device, load_model, normalize_rows
from blendset_trainer.models.weights import Weights, explain_use_errors, find_model
from blendset_trainer.synthesis.prompts.reply_cache import Answer, AnswerCache, ReplyCache, make_key

BATCH = 8
"""Texts that a model reads at a time."""
YES, NO = "yes", "no"
LEAST_ANSWERED = 0.1
"""Where P(yes) + P(no) is less, the model does not answer the question."""
_FIRST_WORD = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


@dataclass
class PerplexityModel:
    """A causal language model of transformers. The perplexity of a text is exp of the model's own loss: the mean over
    all tokens but the first. Of a text that is longer than the model reads, its beginning counts.
    """

    weights: Weights
    cache: AnswerCache
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False)

    def compute(self, texts: Sequence[str]) -> list[float | None]:
        """The perplexity of each text; None for a text of one token."""
        keys = [sha256_bytes(encode_json(["perplexity", self.weights.revision, text])) for text in texts]
        answers = self.cache.answer(dict(zip(keys, texts, strict=True)), self._measure)
        return [answers[key]["perplexity"] for key in keys]

    def _measure(self, texts: Sequence[str]) -> list[Answer | BlendsetError]:
        if self._loaded is None:
            self._loaded = load_model(self.weights, "a causal language model", AutoModelForCausalLM, AutoTokenizer)
        order = sorted(range(len(texts)), key=lambda number: len(texts[number]))  # little padding
        found: dict[int, float | None] = {}
        with explain_use_errors(self.weights.source):
            for start in range(0, len(order), BATCH):
                numbers = order[start : start + BATCH]
                found |= zip(numbers, self._measure_batch([texts[number] for number in numbers]), strict=True)
        return [{"perplexity": found[number]} for number in range(len(texts))]

    @torch.inference_mode()
    def _measure_batch(self, texts: Sequence[str]) -> list[float | None]:
        """Perplexities from logits (N, L, V) in float32; what fills up shorter texts does not count."""
        assert self._loaded is not None
        model, tokenizer = self._loaded
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token or tokenizer.unk_token
        limit = getattr(model.config, "max_position_embeddings", None)
        inputs = tokenizer(texts, padding=True, padding_side="right", truncation=bool(limit), max_length=limit,
                           return_tensors="pt").to(choose_device())  # fmt: skip
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        if ids.shape[1] < 2:
            return [None] * len(texts)
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
        counts = mask[:, 1:].sum(dim=1)
        means = (losses * mask[:, 1:]).sum(dim=1) / counts.clamp(min=1)
        return [mean if count else None for mean, count in zip(means.exp().tolist(), counts.tolist(), strict=True)]


@dataclass
class PromptJudge:
    """A chat model that is asked whether a prompt is good, and answers yes or no. `template` holds `{prompt}`."""

    model: ChatModel
    cache: AnswerCache
    template: str
    max_tokens: int
    _ready: bool = field(default=False, init=False)

    def judge(self, texts: Sequence[str]) -> list[float | None]:
        """P(yes) / (P(yes) + P(no)) of each prompt: of a local model by its next token, of a server, which says one
        word, 0 or 1. None where the model says neither.
        """
        questions = [self.template.replace("{prompt}", text) for text in texts]
        if isinstance(self.model, LocalChatModel):
            return self._weigh(questions)
        replies = ReplyCache(self.model, self.cache, self.max_tokens).generate(questions)
        return [_parse_word(reply.text) for reply in replies]

    def _weigh(self, questions: Sequence[str]) -> list[float | None]:
        keys = [make_key(self.model, [YES, NO], question) for question in questions]
        answers = self.cache.answer(dict(zip(keys, questions, strict=True)), self._ask)
        return [_share_yes(*answers[key]["probabilities"]) for key in keys]

    def _ask(self, questions: Sequence[str]) -> list[Answer | BlendsetError]:
        assert isinstance(self.model, LocalChatModel)
        if not self._ready:
            self.model.setup()
            self._ready = True
        requests = [ChatRequest((), question) for question in questions]
        return [{"probabilities": row} for row in self.model.compute_probabilities(requests, (YES, NO))]


def _share_yes(yes: float, no: float) -> float | None:
    return yes / (yes + no) if yes + no >= LEAST_ANSWERED else None


def _parse_word(reply: str) -> float | None:
    word = _FIRST_WORD.match(strip_thoughts(reply))
    return float(word[1].lower() == YES) if word else None


class TextEncoder(Protocol):
    """A model that embeds texts."""

    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit embeddings (N, D) of N texts."""


@dataclass
class HfTextEncoder:
    """A text encoder of transformers: a model's own text features where it has such, else the mean over its tokens."""

    weights: Weights
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> torch.Tensor:
        """Return unit embeddings (N, D) of N texts; what is longer than the model reads is cut off."""
        if self._loaded is None:
            self._loaded = load_model(self.weights, "a model that embeds text", AutoModel, AutoTokenizer)
        model, tokenizer = self._loaded
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
        limit = getattr(getattr(model.config, "text_config", model.config), "max_position_embeddings", None)
        with explain_use_errors(self.weights.source):
            inputs = tokenizer(list(texts), padding=True, truncation=bool(limit), max_length=limit,
                               return_tensors="pt").to(choose_device())  # fmt: skip
            if hasattr(model, "get_text_features"):
                return normalize_rows(model.get_text_features(**inputs).pooler_output)
            encoder = model.get_encoder() if model.config.is_encoder_decoder else model
            mask = inputs["attention_mask"][..., None]
            hidden = encoder(**inputs).last_hidden_state.float() * mask
            return normalize_rows(hidden.sum(dim=1) / mask.sum(dim=1))


def find_clip_encoder(spec: str) -> TextEncoder:
    """Return the text encoder of `clip:SPEC`, any open_clip model."""
    return ClipModel(find_clip(spec))


def find_text_encoder(spec: str) -> TextEncoder:
    """Return the text encoder of `hf:SPEC`, a model of transformers that reads text."""
    return HfTextEncoder(find_model(spec))


def embed_texts(encoder: TextEncoder, texts: Sequence[str], batch: int = 64) -> NDArray[np.float32]:
    """Return unit embeddings (N, D) of N texts."""
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))  # little padding
    rows = [
        encoder.encode_texts([texts[number] for number in order[start : start + batch]]).float().cpu().numpy()
        for start in range(0, len(order), batch)
    ]
    embedded = np.empty((len(texts), rows[0].shape[1]), dtype=np.float32)
    embedded[order] = np.concatenate(rows)
    return embedded

# SPDX-License-Identifier: Apache-2.0
"""Chat models of transformers that run in this process, for pictures and text or for text alone.

Requests go through the model's own chat template in batches. Decoding is greedy, so that answers can be repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer

from blendset.errors import BlendsetError
from blendset_trainer.models.chat.chat_model import ChatRequest, WeighedAnswer, make_cut_error
from blendset_trainer.models.loading import choose_device, choose_language_dtype, load_model
from blendset_trainer.models.weights import Weights

BATCH = 8
"""Requests that are answered at a time."""
CAPTION_MODELS = {"blip", "blip-2"}
"""Model types that describe a picture without being asked anything."""


@dataclass
class LocalChatModel:
    """A transformers model in this process; a `ChatModel`.

    With pictures, a model without a chat template must be one of CAPTION_MODELS: it takes one picture and no text.
    With `text_only`, a model without a chat template continues the text.
    """

    weights: Weights
    text_only: bool = False
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False, compare=False)

    parameters: ClassVar[Mapping[str, Any]] = {"decoding": "greedy"}

    @property
    def title(self) -> str:
        """The name of the model's folder or hub repository."""
        return Path(self.weights.source).name

    @property
    def revision(self) -> str:
        """The revision of the weights."""
        return self.weights.revision

    def setup(self) -> None:
        """Load model and processor; BlendsetError where the model cannot be loaded or cannot be asked."""
        if self.text_only:
            self._load_text_model()
        else:
            self._load_picture_model()
        self._tokenizer.padding_side = "left"  # the answer follows the request

    @property
    def has_chat_template(self) -> bool:
        """Whether the loaded model can be sent a conversation."""
        return bool(getattr(self._processor, "chat_template", None))

    def generate(self, requests: Sequence[ChatRequest], max_tokens: int) -> list[str | BlendsetError]:
        """Return one answer per request; a ReplyError for one that had not ended after `max_tokens` tokens."""
        return [answer for batch in _split_batches(requests) for answer in self._generate_batch(batch, max_tokens)]

    @torch.inference_mode()
    def compute_probabilities(self, requests: Sequence[ChatRequest], words: Sequence[str]) -> list[list[float]]:
        """Return, per request and word, the probability that the answer begins with that word.

        All spellings of a word count: as given, in small letters, with a capital, and with a space before it. The
        probabilities are over all tokens that the model has, so a row need not sum to 1. Of a word that is several
        tokens as given, the first counts. Raises BlendsetError for a model without a chat template, and for words that
        begin with the same token.
        """
        if not self.has_chat_template:
            raise BlendsetError(f"{self.weights.source} has no chat template and cannot be asked; name a chat model.")
        tokens = [self._find_first_tokens(word) for word in words]
        if len({token for found in tokens for token in found}) < sum(map(len, tokens)):
            raise BlendsetError(
                f"{self.weights.source} begins '{words[0]}' and '{words[1]}' with one token; name another model."
            )
        rows: list[list[float]] = []
        for batch in _split_batches(requests):
            probabilities = self._model(**self._encode(batch)).logits[:, -1].float().softmax(dim=-1)
            rows += torch.stack([probabilities[:, ids].sum(dim=1) for ids in tokens], dim=1).tolist()
        return rows

    def generate_weighed(
        self, requests: Sequence[ChatRequest], words: Sequence[str], max_tokens: int
    ) -> list[WeighedAnswer]:
        """Return one answer per request, and the probabilities of `compute_probabilities`."""
        probabilities = self.compute_probabilities(requests, words)
        return list(map(WeighedAnswer, self.generate(requests, max_tokens), probabilities))

    @property
    def _model(self) -> Any:
        assert self._loaded is not None
        return self._loaded[0]

    @property
    def _processor(self) -> Any:
        """The processor, which is the tokenizer itself for a model of text only."""
        assert self._loaded is not None
        return self._loaded[1]

    @property
    def _tokenizer(self) -> Any:
        return self._processor if self.text_only else self._processor.tokenizer

    def _load_text_model(self) -> None:
        dtype = choose_language_dtype(choose_device())
        self._loaded = load_model(
            self.weights, "a model that writes text", AutoModelForCausalLM, AutoTokenizer, dtype=dtype
        )
        self._tokenizer.pad_token = (
            self._tokenizer.pad_token or self._tokenizer.eos_token
        )  # the attention mask hides it

    def _load_picture_model(self) -> None:
        dtype = choose_language_dtype(choose_device())
        self._loaded = load_model(
            self.weights, "a model that describes pictures", AutoModelForImageTextToText, dtype=dtype
        )
        if not self.has_chat_template and self._model.config.model_type not in CAPTION_MODELS:
            raise BlendsetError(
                f"{self.weights.source} has no chat template, so it is not known how to ask it; name a chat model."
            )

    @torch.inference_mode()
    def _generate_batch(self, requests: Sequence[ChatRequest], max_tokens: int) -> list[str | BlendsetError]:
        inputs = self._encode(requests)
        padding = {"pad_token_id": self._tokenizer.pad_token_id} if self.text_only else {}
        ids = self._model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, **padding)
        generated = ids[:, inputs["input_ids"].shape[1] if "input_ids" in inputs else 0 :]
        answers = [answer.strip() for answer in self._processor.batch_decode(generated, skip_special_tokens=True)]
        full = generated.shape[1] >= max_tokens
        ended = torch.isin(generated.cpu(), torch.tensor(self._find_end_tokens())).any(dim=1).tolist()
        return [
            make_cut_error(answer, max_tokens) if full and not end else answer
            for answer, end in zip(answers, ended, strict=True)
        ]

    def _find_end_tokens(self) -> list[int]:
        """The tokens with which the model ends an answer, by what it was saved with and by its tokenizer."""
        text = self._model.config.get_text_config()
        holders = (self._model.generation_config, text, self._tokenizer)
        found = [getattr(holder, name, None) for holder in holders for name in ("eos_token_id", "sep_token_id")]
        lists = [each if isinstance(each, list) else [each] for each in found]
        return sorted({token for tokens in lists for token in tokens if token is not None})

    def _encode(self, requests: Sequence[ChatRequest]) -> Any:
        """Return the model's inputs on its device: (N, L) tokens that are padded on the left, and the pictures."""
        if self.text_only:
            return _encode_texts(self._tokenizer, requests).to(choose_device())
        if self.has_chat_template:
            inputs = self._processor.apply_chat_template(
                [_to_conversation(request) for request in requests],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        else:
            pictures = [Image.fromarray(_get_only_picture(request)) for request in requests]
            inputs = self._processor(images=pictures, return_tensors="pt")
        return inputs.to(choose_device(), self._model.dtype)

    def _find_first_tokens(self, word: str) -> list[int]:
        """Return the tokens that each spell the word whole; else those that the word as given begins with."""
        tokenizer = self._tokenizer
        spellings = [space + cased for space in ("", " ") for cased in (word, word.lower(), word.capitalize())]
        first = [tokenizer(spelling, add_special_tokens=False).input_ids[0] for spelling in spellings]
        texts = {token: tokenizer.decode([token]).strip().lower() for token in first}
        whole = sorted(token for token, text in texts.items() if text == word.lower())
        parts = {token for token, spelling in zip(first, spellings, strict=True) if spelling.strip() == word}
        as_given = {token for token in parts if texts[token] and word.lower().startswith(texts[token])}
        if not (whole or as_given):
            raise BlendsetError(f"{self.weights.source} has no token that '{word}' begins with; name another model.")
        return sorted({*whole, *as_given})


def _split_batches(requests: Sequence[ChatRequest]) -> Iterator[Sequence[ChatRequest]]:
    return (requests[start : start + BATCH] for start in range(0, len(requests), BATCH))


def _encode_texts(tokenizer: Any, requests: Sequence[ChatRequest]) -> Any:
    """Return (N, L) tokens, padded on the left; without a chat template the tokens of the bare texts."""
    if not tokenizer.chat_template:
        return tokenizer([request.text for request in requests], padding=True, return_tensors="pt")
    return tokenizer.apply_chat_template(
        [[{"role": "user", "content": request.text}] for request in requests],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
    )


def _to_conversation(request: ChatRequest) -> list[dict[str, Any]]:
    pictures = [{"type": "image", "image": Image.fromarray(picture)} for picture in request.pictures]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": request.text}]}]


def _get_only_picture(request: ChatRequest) -> Any:
    if len(request.pictures) != 1:
        raise BlendsetError("A model without a chat template sees one picture at a time; name a chat model for sets.")
    return request.pictures[0]

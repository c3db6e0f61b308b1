# SPDX-License-Identifier: Apache-2.0
"""`hf:MODEL`: any text generation model of transformers, asked in batches, through its chat template where it has one;
greedy, so the same questions get the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from blendset.errors import BlendsetError
from blendset_trainer.models.chat.chat_model import Question
from blendset_trainer.models.loading import best_device, language_dtype, load_model
from blendset_trainer.models.weights import Weights, find_model

BATCH = 8
"""Questions at a time."""


@dataclass
class LanguageModel:
    """An answerer that sees no pictures; see `vision_language.questions.Answerer`."""

    weights: Weights
    _loaded: tuple[Any, Any] | None = field(default=None, init=False, repr=False, compare=False)

    parameters: ClassVar[Mapping[str, Any]] = {"decoding": "greedy"}

    @property
    def title(self) -> str:
        return Path(self.weights.source).name

    @property
    def revision(self) -> str:
        return self.weights.revision

    def setup(self) -> None:
        dtype = language_dtype(best_device())
        model, tokenizer = load_model(
            self.weights, "a model that writes text", AutoModelForCausalLM, AutoTokenizer, dtype=dtype
        )
        tokenizer.padding_side = "left"  # what is generated follows the question
        tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token  # the attention mask hides it
        self._loaded = model, tokenizer

    def replies(self, questions: Sequence[Question], max_tokens: int) -> list[str | BlendsetError]:
        texts = [question.text for question in questions]
        batches = (texts[start : start + BATCH] for start in range(0, len(texts), BATCH))
        return [reply for batch in batches for reply in self._generated(batch, max_tokens)]

    @torch.inference_mode()
    def _generated(self, texts: Sequence[str], max_tokens: int) -> list[str]:
        assert self._loaded is not None
        model, tokenizer = self._loaded
        inputs = _inputs(tokenizer, texts).to(best_device())
        ids = model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        new = ids[:, inputs["input_ids"].shape[1] :]
        return [reply.strip() for reply in tokenizer.batch_decode(new, skip_special_tokens=True)]


def local_model(spec: str) -> LanguageModel:
    """The model in a folder, or on the hub; BlendsetError where there is none."""
    return LanguageModel(find_model(spec))


def _inputs(tokenizer: Any, texts: Sequence[str]) -> Any:
    """(N, L) tokens, padded on the left; a model that was not made to chat goes on from the text itself."""
    if not tokenizer.chat_template:
        return tokenizer(list(texts), padding=True, return_tensors="pt")
    return tokenizer.apply_chat_template(
        [[{"role": "user", "content": text}] for text in texts],
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
        padding=True,
    )

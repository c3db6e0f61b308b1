# SPDX-License-Identifier: Apache-2.0
"""Any image-text-to-text model of transformers, asked in batches through its own chat template; greedy, so the same
pictures give the same words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText

from blendset.errors import BlendsetError
from blendset_trainer.models.chat.chat_model import Question
from blendset_trainer.models.loading import best_device, language_dtype, load_model
from blendset_trainer.models.weights import Weights

BATCH = 8
"""Questions at a time."""
WITHOUT_WORDS = {"blip", "blip-2"}
"""Models that describe a picture when they are asked nothing."""


@dataclass
class LocalModel:
    """A model in this process. Without a chat template it is shown one picture and asked nothing (BLIP)."""

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
        self._loaded = load_model(
            self.weights,
            "a model that describes pictures",
            model=AutoModelForImageTextToText,
            dtype=language_dtype(best_device()),
        )
        if not self.chats and self._model.config.model_type not in WITHOUT_WORDS:
            raise BlendsetError(
                f"{self.weights.source} has no chat template, so it is not known how to ask it; name a chat model."
            )
        self._processor.tokenizer.padding_side = "left"  # what is generated follows the question

    @property
    def chats(self) -> bool:
        return bool(getattr(self._processor, "chat_template", None))

    def replies(self, questions: Sequence[Question], max_tokens: int) -> list[str | BlendsetError]:
        return [reply for batch in self._batches(questions) for reply in self._generated(batch, max_tokens)]

    @torch.inference_mode()
    def probabilities(self, questions: Sequence[Question], words: Sequence[str]) -> list[list[float]]:
        """How probable it is that each answer begins with each of the words, in any spelling with or without a
        capital and a space before; over all that the model could say, so they need not sum to 1."""
        if not self.chats:
            raise BlendsetError(f"{self.weights.source} has no chat template and cannot be asked; name a chat model.")
        tokens = [self._first_tokens(word) for word in words]
        rows: list[list[float]] = []
        for batch in self._batches(questions):
            shares = self._model(**self._inputs(batch)).logits[:, -1].float().softmax(dim=-1)
            rows += torch.stack([shares[:, ids].sum(dim=1) for ids in tokens], dim=1).tolist()
        return rows

    @property
    def _model(self) -> Any:
        assert self._loaded is not None
        return self._loaded[0]

    @property
    def _processor(self) -> Any:
        assert self._loaded is not None
        return self._loaded[1]

    def _batches(self, questions: Sequence[Question]) -> Iterator[Sequence[Question]]:
        return (questions[start : start + BATCH] for start in range(0, len(questions), BATCH))

    @torch.inference_mode()
    def _generated(self, questions: Sequence[Question], max_tokens: int) -> list[str]:
        inputs = self._inputs(questions)
        ids = self._model.generate(**inputs, max_new_tokens=max_tokens, do_sample=False)
        asked = inputs["input_ids"].shape[1] if "input_ids" in inputs else 0
        return [text.strip() for text in self._processor.batch_decode(ids[:, asked:], skip_special_tokens=True)]

    def _inputs(self, questions: Sequence[Question]) -> Any:
        """What the model reads: (N, L) tokens that are padded on the left, and the pictures."""
        if self.chats:
            inputs = self._processor.apply_chat_template(
                [_conversation(question) for question in questions],
                add_generation_prompt=True,
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                processor_kwargs={"padding": True},
            )
        else:
            inputs = self._processor(images=[Image.fromarray(_only(each)) for each in questions], return_tensors="pt")
        return inputs.to(best_device(), self._model.dtype)

    def _first_tokens(self, word: str) -> list[int]:
        tokenizer = self._processor.tokenizer
        spellings = [space + each for space in ("", " ") for each in (word.lower(), word.capitalize())]
        first = {tokenizer(each, add_special_tokens=False).input_ids[0] for each in spellings}
        found = sorted(token for token in first if tokenizer.decode([token]).strip().lower() == word.lower())
        if not found:
            raise BlendsetError(f"{self.weights.source} has no token for '{word}'; name a model that says it in one.")
        return found


def _conversation(question: Question) -> list[dict[str, Any]]:
    pictures = [{"type": "image", "image": Image.fromarray(picture)} for picture in question.pictures]
    return [{"role": "user", "content": [*pictures, {"type": "text", "text": question.text}]}]


def _only(question: Question) -> Any:
    if len(question.pictures) != 1:
        raise BlendsetError("A model without a chat template sees one picture at a time; name a chat model for sets.")
    return question.pictures[0]

# SPDX-License-Identifier: Apache-2.0
"""A cache of what models answered, in a file next to the prompts that are made of it: nothing is asked or paid for
twice, and an interrupted run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from blendset.errors import BlendsetError
from blendset.files import sha256_bytes, translate_disk_errors
from blendset.records import encode_json
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError
from blendset_trainer.synthesis.prompts.prompt_files import make_overwrite_error

MAX_TOKENS = 1024
"""Room for a list of ten prompts, and for thoughts."""

Question = TypeVar("Question")
Answer = dict[str, Any]
"""Plain data."""


@dataclass
class AnswerCache:
    """Answers by keys, in a file next to `out`, the prompts' file. Where `out` exists, no model is asked any more."""

    out: Path
    _known: dict[str, Answer] | None = field(default=None, init=False, repr=False)

    @property
    def path(self) -> Path:
        """The cache's file."""
        return self.out.with_suffix(".replies.jsonl")

    def answer(
        self,
        questions: Mapping[str, Question],
        ask: Callable[[Sequence[Question]], Sequence[Answer | BlendsetError]],
    ) -> dict[str, Answer]:
        """The answer to each question, by its key; `ask` is asked those that are not in the cache.

        Raises the first error among the answers after the others are saved, and BlendsetError where `out` exists and an
        answer is not in the cache.
        """
        known = self._read()
        missing = {key: question for key, question in questions.items() if key not in known}
        if missing:
            if self.out.exists():
                raise make_overwrite_error(self.out)
            answers = dict(zip(missing, ask(list(missing.values())), strict=True))
            self._add({key: each for key, each in answers.items() if not isinstance(each, BlendsetError)})
            for each in answers.values():
                if isinstance(each, BlendsetError):
                    raise each
        return {key: known[key] for key in questions}

    def _add(self, answers: Mapping[str, Answer]) -> None:
        """Append answers to the file. A line that a crash has cut stays alone."""
        self._read().update(answers)
        lines = [json.dumps({"key": key} | answer, ensure_ascii=False) + "\n" for key, answer in answers.items()]
        with translate_disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as file:
                file.write(b"\n" * self._is_cut() + "".join(lines).encode(errors="replace"))
                file.flush()
                os.fsync(file.fileno())

    def _is_cut(self) -> bool:
        """Whether the file does not end with the end of a line."""
        if not self.path.exists() or not self.path.stat().st_size:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"

    def _read(self) -> dict[str, Answer]:
        """The answers on disk by their keys, read once; a damaged line counts as missing."""
        if self._known is None:
            self._known = {}
            for line in self.path.read_bytes().split(b"\n") if self.path.exists() else ():
                with suppress(ValueError, TypeError, LookupError, AttributeError):
                    row = json.loads(line)
                    self._known[row.pop("key")] = row
        return self._known


@dataclass(frozen=True)
class CachedReply:
    """What a model replied, and what is wrong with it: cut, held back by a filter; "" for a whole reply."""

    text: str
    problem: str = ""


@dataclass
class ReplyCache:
    """A chat model whose replies are cached. A reply has at most `max_tokens` tokens."""

    model: ChatModel
    cache: AnswerCache
    max_tokens: int = MAX_TOKENS
    _ready: bool = field(default=False, init=False)

    def generate(self, texts: Sequence[str]) -> list[CachedReply]:
        """A reply to each text. BlendsetError where the model gives none, after all others are saved, and where the
        prompts' file exists and a reply is not in the cache.
        """
        keys = [make_key(self.model, self.max_tokens, text) for text in texts]
        answers = self.cache.answer(dict(zip(keys, texts, strict=True)), self._ask)
        return [CachedReply(answers[key].get("reply", ""), answers[key].get("problem", "")) for key in keys]

    def _ask(self, texts: Sequence[str]) -> list[Answer | BlendsetError]:
        if not self._ready:
            self.model.setup()
            self._ready = True
        return [_to_answer(each) for each in self.model.generate([ChatRequest((), text) for text in texts],
                                                                 self.max_tokens)]  # fmt: skip


def make_key(model: ChatModel, *question: Any) -> str:
    """The key of a question, as plain data, to a model."""
    return sha256_bytes(encode_json([model.title, model.revision, model.parameters, *question]))


def _to_answer(reply: str | BlendsetError) -> Answer | BlendsetError:
    """A reply as the cache holds it; a BlendsetError that is no reply stays one."""
    if isinstance(reply, ReplyError):
        return {"reply": reply.text, "problem": str(reply)}
    return reply if isinstance(reply, BlendsetError) else {"reply": reply}

# SPDX-License-Identifier: Apache-2.0
"""A cache of a model's replies, in a file next to the prompts that are made of them: nothing is asked or paid for
twice, and an interrupted run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.files import atomic_write, sha256_bytes
from blendset.records import encode_json
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError
from blendset_trainer.synthesis.prompts.prompt_files import make_overwrite_error

MAX_TOKENS = 1024
"""Room for a list of ten prompts, and for thoughts."""


@dataclass(frozen=True)
class CachedReply:
    """What a model replied, and what is wrong with it: cut, held back by a filter; "" for a whole reply."""

    text: str
    problem: str = ""


@dataclass
class ReplyCache:
    """A chat model whose replies are cached in a file next to `out`, the prompts' file. Where `out` exists, the model
    is not asked any more. A reply has at most `max_tokens` tokens.
    """

    model: ChatModel
    out: Path
    max_tokens: int = MAX_TOKENS
    _ready: bool = field(default=False, init=False)

    def generate(self, texts: Sequence[str]) -> list[CachedReply]:
        """A reply to each text. BlendsetError where the model gives none, after all others are saved, and where `out`
        exists and a reply is not in the cache.
        """
        known, keys = self._read_replies(), [self._make_key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            if self.out.exists():
                raise make_overwrite_error(self.out)
            self._generate_missing(known, missing)
        return [known[key] for key in keys]

    @property
    def path(self) -> Path:
        """The cache's file."""
        return self.out.with_suffix(".replies.jsonl")

    def _generate_missing(self, known: dict[str, CachedReply], missing: dict[str, str]) -> None:
        """Ask the model, and add the replies to those that are known, in memory and on disk."""
        if not self._ready:
            self.model.setup()
            self._ready = True
        answers = self.model.generate([ChatRequest((), text) for text in missing.values()], self.max_tokens)
        failed: list[BlendsetError] = []
        for key, answer in zip(missing, answers, strict=True):
            if isinstance(answer, str):
                known[key] = CachedReply(answer)
            elif isinstance(answer, ReplyError):
                known[key] = CachedReply(answer.text, str(answer))
            else:
                failed.append(answer)
        lines = [_encode_reply(key, reply) for key, reply in known.items()]
        atomic_write(self.path, "".join(lines).encode(errors="replace"))
        if failed:
            raise failed[0]

    def _read_replies(self) -> dict[str, CachedReply]:
        """The replies on disk by their keys; a damaged line counts as missing."""
        known: dict[str, CachedReply] = {}
        for line in self.path.read_bytes().split(b"\n") if self.path.exists() else ():
            with suppress(ValueError, TypeError, LookupError):
                row: dict[str, Any] = json.loads(line)
                known[row["key"]] = CachedReply(row["reply"], row.get("problem", ""))
        return known

    def _make_key(self, text: str) -> str:
        identity = [self.model.title, self.model.revision, self.model.parameters, self.max_tokens, text]
        return sha256_bytes(encode_json(identity))


def _encode_reply(key: str, reply: CachedReply) -> str:
    problem = {"problem": reply.problem} if reply.problem else {}
    return json.dumps({"key": key, "reply": reply.text} | problem, ensure_ascii=False) + "\n"

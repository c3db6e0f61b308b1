# SPDX-License-Identifier: Apache-2.0
"""A model's replies, kept beside the prompts that are made of them: nothing is asked or paid for twice, and an
interrupted run goes on.
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
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest
from blendset_trainer.synthesis.prompts.files import other_prompts

TOKENS = 1024
"""Room for a list of ten prompts, and for thoughts."""


@dataclass
class Replies:
    """What an answerer says to texts. Where `out` is there already, only what was answered for it is known."""

    answerer: ChatModel
    out: Path
    _ready: bool = field(default=False, init=False)

    def to(self, texts: Sequence[str]) -> list[str]:
        """A reply to each text; BlendsetError where one cannot be had, after all others were kept."""
        known, keys = self._known(), [self._key(text) for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if missing:
            if self.out.exists():
                raise other_prompts(self.out)
            self._keep(known, missing)
        return [known[key] for key in keys]

    @property
    def path(self) -> Path:
        return self.out.with_suffix(".replies.jsonl")

    def _keep(self, known: dict[str, str], missing: dict[str, str]) -> None:
        """Ask, and add the replies to those that are known, here and on disk."""
        if not self._ready:
            self.answerer.setup()
            self._ready = True
        answers = self.answerer.generate([ChatRequest((), text) for text in missing.values()], TOKENS)
        failed = [answer for answer in answers if isinstance(answer, BlendsetError)]
        known |= {key: answer for key, answer in zip(missing, answers, strict=True) if isinstance(answer, str)}
        lines = [json.dumps({"key": key, "reply": reply}, ensure_ascii=False) + "\n" for key, reply in known.items()]
        atomic_write(self.path, "".join(lines).encode(errors="replace"))
        if failed:
            raise failed[0]

    def _known(self) -> dict[str, str]:
        """What is on disk; a damaged line is asked for again."""
        known: dict[str, str] = {}
        for line in self.path.read_bytes().split(b"\n") if self.path.exists() else ():
            with suppress(ValueError, TypeError, LookupError):
                row: dict[str, Any] = json.loads(line)
                known[row["key"]] = row["reply"]
        return known

    def _key(self, text: str) -> str:
        made_of = [self.answerer.title, self.answerer.revision, self.answerer.parameters, TOKENS, text]
        return sha256_bytes(encode_json(made_of))

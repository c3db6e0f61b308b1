# SPDX-License-Identifier: Apache-2.0
"""What a chat completion of OpenAI's protocol holds, as the many servers that speak it fill it in."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from blendset_trainer.models.chat.chat_model import ReplyError, make_cut_error, make_refusal_error, make_thoughts_error

CUT = {"length", "max_tokens", "model_length", "max_output_tokens"}
FILTERED = {"content_filter", "safety", "recitation", "prohibited_content", "blocklist", "refusal"}
TOOLS = {"tool_calls", "function_call", "tool_use"}
FAILED = {"error", "abort", "cancelled"}
"""Reasons for which a reply ends, in lower case, other than its being done."""
THOUGHTS = ("reasoning_content", "reasoning", "thinking")
"""Where servers put what a model thinks."""
MAX_MESSAGE = 200
"""Characters of a server's own message that are repeated."""


class NoAnswerError(Exception):
    """There is no answer, and another attempt may bring one; `wait_s` is how long to wait where the server says so."""

    def __init__(self, reason: object, wait_s: float | None = None) -> None:
        super().__init__(str(reason))
        self.wait_s = wait_s


def read_completion(reply: Any, max_tokens: int) -> str:
    """Return the words of a chat completion's answer.

    Raises NoAnswerError for a reply that is none, which may pass, and ReplyError for one that is no answer: cut after
    `max_tokens`, held back, a call of a tool, thoughts alone.
    """
    choice = _get(reply, "choices", 0)
    message = _get(choice, "message")
    if not isinstance(message, dict):
        words = read_error_message(reply)
        raise NoAnswerError(f"it answers with an error: {words}" if words else "its reply held no words")
    text = _clean(_join_parts(message.get("content"))).strip()
    reason = str(_get(choice, "finish_reason") or "").lower()
    _refuse_withheld(message, reason)
    spent = _get(reply, "usage", "completion_tokens")
    if reason in CUT or (not reason and isinstance(spent, int) and spent >= max_tokens):
        raise make_cut_error(text, max_tokens)
    if reason in FAILED:
        raise NoAnswerError(f"it ended its reply with '{reason}'")
    if not text and any(_join_parts(message.get(name)).strip() for name in THOUGHTS):
        raise make_thoughts_error()
    if not text:
        raise NoAnswerError("its reply held no words")
    return text


def read_probabilities(reply: Any, words: Sequence[str]) -> list[float] | None:
    """Return, per word, the probability that the answer begins with it, from the `logprobs` of a chat completion.

    None where there are none, or no line of the reply begins with one of the words. Only the likeliest tokens are sent,
    so the rest counts as 0; of a word that is several tokens, the first counts.
    """
    tokens = _get(reply, "choices", 0, "logprobs", "content")
    texts = [str(_get(token, "token") or "") for token in tokens] if isinstance(tokens, list) else []
    begun = list(re.finditer(rf"^\W*({'|'.join(words)})\b", "".join(texts), re.IGNORECASE | re.MULTILINE))
    if not begun:
        return None
    ends = list(accumulate(map(len, texts)))
    likeliest = _get(tokens, bisect_right(ends, begun[-1].start(1)), "top_logprobs")
    return [_sum_probabilities(likeliest, word, words) for word in words] if isinstance(likeliest, list) else None


def _sum_probabilities(likeliest: Sequence[Any], word: str, words: Sequence[str]) -> float:
    """The sum of the probabilities of the tokens that `word` begins with, and no other of `words`."""
    total = 0.0
    for entry in likeliest:
        text, logprob = re.sub(r"\W", "", str(_get(entry, "token") or "")).lower(), _get(entry, "logprob")
        begins = [each for each in words if text and each.lower().startswith(text)]
        if begins == [word] and isinstance(logprob, int | float):
            total += math.exp(min(logprob, 0.0))
    return min(total, 1.0)


def read_error_message(reply: Any) -> str:
    """Return what a server says went wrong, on one line and not too long; "" where it says nothing."""
    error = _get(reply, "error") or _get(reply, "detail") or _get(reply, "message")
    words = _get(error, "message") or error
    return _clean(" ".join(words.split()))[:MAX_MESSAGE] if isinstance(words, str) else ""


def _refuse_withheld(message: dict[str, Any], reason: str) -> None:
    """Raise ReplyError where the model refused, a filter held its answer back, or it called a tool."""
    parts = message.get("content")
    refusals = [_get(part, "refusal") for part in parts] if isinstance(parts, list) else []
    refusal = next((each for each in (message.get("refusal"), *refusals) if isinstance(each, str) and each), None)
    if refusal:
        raise make_refusal_error(_clean(refusal))
    if reason in FILTERED:
        raise ReplyError("A filter of the server holds the answer back; take another model.")
    if reason in TOOLS or message.get("tool_calls") or message.get("function_call"):
        raise ReplyError("The model calls a tool instead of answering; serve it without tools.")


def _join_parts(content: Any) -> str:
    """The words of a message's content, which may be a list of parts; thoughts and pictures are left out."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else [content]
    texts = [part if isinstance(part, str) else _get(part, "text") for part in parts]
    return "".join(text for text in texts if isinstance(text, str))


def _get(value: Any, *path: str | int) -> Any:
    """What stands at a path of keys and positions in JSON; None where there is nothing."""
    for key in path:
        try:
            value = value[key]
        except (LookupError, TypeError):
            return None
    return value


def _clean(text: str) -> str:
    """A text that can be written as UTF-8: half of a surrogate pair becomes a question mark."""
    return text.encode("utf-8", "replace").decode()

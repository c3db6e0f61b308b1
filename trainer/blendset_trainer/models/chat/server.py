# SPDX-License-Identifier: Apache-2.0
"""`openai:URL[#MODEL]`: chat models behind any server of OpenAI's chat completions (vLLM, SGLang, llama.cpp, hosted).

Several requests are sent at a time, and again while a server is busy. The key is read from OPENAI_API_KEY and is never
written.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from blendset.errors import BlendsetError
from blendset.naming import join_names
from blendset.records import decode_json
from blendset_trainer.models.chat.chat_model import ChatRequest, ReplyError, WeighedAnswer
from blendset_trainer.models.chat.completion import (
    NoAnswerError,
    read_completion,
    read_error_message,
    read_probabilities,
)

TRANSIENT = {408, 409, 425, 429, 500, 502, 503, 504}
"""HTTP statuses after which a request is sent again."""
UNKNOWN_FIELD = {400, 422, 501}
"""HTTP statuses of servers that do not know a field of a request, as `logprobs`."""
TOP_LOGPROBS = 20
"""How many likely tokens a server is asked for: as many as OpenAI's and vLLM send."""
REFUSED = {401, 403, 404}
"""HTTP statuses that every request would get."""
EXAMPLE = "http://localhost:8000/v1?concurrency=16&per_minute=600#MODEL"
MAX_FAILURES = 8
"""After so many failures in a row the server is not asked again in this run."""


MAX_BYTES = 1 << 20
"""Of a longer reply the rest is not read, which is then no JSON."""


class _RefusedError(Exception):
    """A status that will not change, with what the server says about it, where that cannot hold a part of the key."""

    def __init__(self, error: urllib.error.HTTPError) -> None:
        self.status = error.code
        words = "" if error.code in (401, 403) else read_error_message(_read_json(error))
        super().__init__(f"{error.code} {error.reason}{': ' if words else ''}{words}")


@dataclass
class ServerChatModel:
    """A chat model behind a URL; a `ChatModel`.

    `concurrency` requests are sent at a time, and at most `per_minute` in a minute, 0 for no limit. A request that may
    succeed later is sent up to `attempts` times, at most `longest_wait_s` apart.
    """

    url: str
    model: str
    concurrency: int = 8
    per_minute: int = 0
    attempts: int = 5
    timeout_s: float = 120.0
    longest_wait_s: float = 60.0
    _rate_limit: _RateLimit | None = field(default=None, init=False, repr=False, compare=False)
    _failures: int = field(default=0, init=False, repr=False, compare=False)
    _sends_logprobs: bool = field(default=True, init=False, repr=False, compare=False)

    parameters: ClassVar[Mapping[str, Any]] = {"temperature": 0}

    @property
    def title(self) -> str:
        """The model's name without its owner."""
        return self.model.rpartition("/")[2]

    @property
    def revision(self) -> str:
        """The model's name; a server gives no more."""
        return self.model

    def setup(self) -> None:
        """Begin to count requests per minute; called once per process."""
        self._rate_limit = _RateLimit(60 / self.per_minute if self.per_minute else 0.0)

    def generate(self, requests: Sequence[ChatRequest], max_tokens: int) -> list[str | BlendsetError]:
        """Return one answer per request, of at most `max_tokens` tokens; a BlendsetError in its position says why not.

        Raises BlendsetError where the server refuses the model or the key, so that no request can be answered.
        """
        return [weighed.answer for weighed in self.generate_weighed(requests, (), max_tokens)]

    def generate_weighed(
        self, requests: Sequence[ChatRequest], words: Sequence[str], max_tokens: int
    ) -> list[WeighedAnswer]:
        """Return one answer per request, with probabilities where the server sends `logprobs`."""
        if self._failures >= MAX_FAILURES:
            error = BlendsetError(f"{self.url} was not asked, for it had failed {self._failures} times in a row.")
            return [WeighedAnswer(error, None)] * len(requests)
        with ThreadPoolExecutor(self.concurrency) as threads:
            weighed = list(threads.map(lambda request: self._request_answer(request, words, max_tokens), requests))
        answers = [each.answer for each in weighed]
        failed = all(isinstance(answer, BlendsetError) and not isinstance(answer, ReplyError) for answer in answers)
        self._failures = self._failures + len(answers) if failed else 0
        return weighed

    def _request_answer(self, request: ChatRequest, words: Sequence[str], max_tokens: int) -> WeighedAnswer:
        """Return the answer to one request, or why there is none."""
        body: dict[str, Any] = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": _build_content(request)}],
        }
        if words and self._sends_logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        try:
            return self._post_with_retries(body, words)
        except NoAnswerError as error:
            cure = f"gave no answer in {self.attempts} attempts ({error}); run the command again later."
        except _RefusedError as error:
            if error.status in REFUSED:
                raise BlendsetError(
                    f"{self.url} refuses the model {self.model} ({error}); "
                    "check the URL, the model's name and OPENAI_API_KEY."
                ) from error
            if "logprobs" in body and error.status in UNKNOWN_FIELD:
                return self._request_without_logprobs(request, max_tokens)
            cure = f"refuses a question ({error}); look at its picture and text."
        return WeighedAnswer(BlendsetError(f"{self.url} {cure}"), None)

    def _request_without_logprobs(self, request: ChatRequest, max_tokens: int) -> WeighedAnswer:
        """Return the answer to a request that was refused with `logprobs`; where there is one, ask for them no more."""
        weighed = self._request_answer(request, (), max_tokens)
        self._sends_logprobs &= isinstance(weighed.answer, BlendsetError)
        return weighed

    def _post_with_retries(self, body: Mapping[str, Any], words: Sequence[str]) -> WeighedAnswer:
        """Return the server's answer; a request without one is sent again, after longer and longer waits."""
        assert self._rate_limit is not None
        for attempt in range(1, self.attempts + 1):
            self._rate_limit.wait()
            try:
                reply = _fetch(f"{self.url}/chat/completions", body, self.timeout_s)
                return _read_reply(reply, words, body["max_tokens"])
            except NoAnswerError as error:
                if attempt == self.attempts:
                    raise
                time.sleep(min(self.longest_wait_s, 2.0**attempt / 2 if error.wait_s is None else error.wait_s))
        raise AssertionError("unreachable")


def find_server(spec: str) -> ServerChatModel:
    """Return the chat model at URL[?concurrency=N&per_minute=N][#MODEL].

    Without #MODEL it is the only one that the server has. Raises BlendsetError for what is no such URL, and where the
    server has to be asked for its models and does not name exactly one.
    """
    try:
        parts = urllib.parse.urlsplit(spec)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:  # a port or an address that there cannot be
        is_url = False
    options = dict(urllib.parse.parse_qsl(parts.query)) if is_url else {}
    if not is_url or not spec.partition("#")[0].isascii() or not {*options} <= {"concurrency", "per_minute"}:
        raise BlendsetError(f"{spec} is no URL of a server; give one such as {EXAMPLE}.")
    url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    numbers = {name: int(value) for name, value in options.items() if re.fullmatch("0*[1-9][0-9]{0,5}", value)}
    if len(numbers) < len(options):
        raise BlendsetError(f"{spec} holds no number where one should be; give a URL such as {EXAMPLE}.")
    return ServerChatModel(url, parts.fragment or _fetch_only_model(url), **numbers)


def _read_reply(reply: Any, words: Sequence[str], max_tokens: int) -> WeighedAnswer:
    """The answer in a reply, or the ReplyError why it is none; NoAnswerError where another attempt may bring one."""
    probabilities = read_probabilities(reply, words) if words else None
    try:
        return WeighedAnswer(read_completion(reply, max_tokens), probabilities)
    except ReplyError as error:
        return WeighedAnswer(error, probabilities)


def _fetch_only_model(url: str) -> str:
    try:
        names = [str(entry["id"]) for entry in _fetch(f"{url}/models", None, 30.0)["data"]]
    except (NoAnswerError, _RefusedError, LookupError, TypeError) as error:
        reason = error if isinstance(error, NoAnswerError | _RefusedError) else "its reply is no list of models"
        raise BlendsetError(f"{url} does not say which models it has ({reason}); name one (URL#MODEL).") from error
    if len(names) != 1:
        some = f": {join_names(names, 10)}" if names else ""
        raise BlendsetError(f"{url} has {len(names)} models; name one of them (URL#MODEL){some}.")
    return names[0]


def _fetch(url: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
    """Return the JSON at a URL, by POST where there is a body, else by GET.

    Raises NoAnswerError for a failure that may pass, and _RefusedError for a status that will not change.
    """
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY", "").strip():
        headers["Authorization"] = f"Bearer {_check_key(key)}"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            data = response.read(MAX_BYTES)
    except urllib.error.HTTPError as error:
        if error.code not in TRANSIENT:
            raise _RefusedError(error) from error
        raise NoAnswerError(
            f"{error.code} {error.reason}", _parse_retry_after(error.headers.get("Retry-After"))
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswerError(getattr(error, "reason", error) or type(error).__name__) from error
    try:
        return decode_json(data)
    except ValueError as error:
        raise NoAnswerError("its reply was no JSON") from error


def _read_json(error: urllib.error.HTTPError) -> Any:
    """What the body of an error says; None where it is no JSON or cannot be read."""
    try:
        return decode_json(error.read(MAX_BYTES))
    except (OSError, http.client.HTTPException, ValueError):
        return None


def _check_key(key: str) -> str:
    """Return a key that a header can hold, else raise BlendsetError, which does not show it."""
    if not key.isascii() or not key.isprintable():
        raise BlendsetError("OPENAI_API_KEY holds letters that no key has; copy the key again.")
    return key


def _parse_retry_after(text: str | None) -> float | None:
    """Return the seconds to wait of a Retry-After header, a number or a date (RFC 9110, 10.2.3); None without one."""
    if not text:
        return None
    try:
        return max(0.0, float(text) if text.strip().isdecimal() else _compute_seconds_until(text))
    except ValueError:
        return None


def _compute_seconds_until(date: str) -> float:
    then = parsedate_to_datetime(date)
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _build_content(request: ChatRequest) -> list[dict[str, Any]]:
    pictures = [{"type": "image_url", "image_url": {"url": _encode_data_url(picture)}} for picture in request.pictures]
    return [*pictures, {"type": "text", "text": request.text}]


def _encode_data_url(picture: npt.NDArray[np.uint8]) -> str:
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


class _RateLimit:
    """Lets the calls of several threads pass one after another, `interval_s` apart."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._next, self._lock = interval_s, 0.0, threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval_s
        time.sleep(turn - now)

# SPDX-License-Identifier: Apache-2.0
"""`openai:URL[#MODEL]`: any server that speaks OpenAI's chat completions (vLLM, SGLang, llama.cpp, hosted ones).

Several questions at a time, patient with a busy server; the key is taken from OPENAI_API_KEY and written nowhere.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
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
from blendset_trainer.models.chat.chat_model import ChatRequest

PASSING = {408, 409, 425, 429, 500, 502, 503, 504}
"""Statuses after which it is worth asking again."""
REFUSED = {401, 403, 404}
"""Statuses that every question would get."""
EXAMPLE = "http://localhost:8000/v1?concurrency=16&per_minute=600#MODEL"
HOPELESS = 8
"""Failures in a row after which the server is not asked again in this run."""


class _PassingError(Exception):
    """Worth another try, after `wait_s` where the server says so."""

    def __init__(self, reason: object, wait_s: float | None = None) -> None:
        super().__init__(str(reason))
        self.wait_s = wait_s


@dataclass
class ServerChatModel:
    """A model behind a URL. `per_minute` (0: no limit) is how many questions it may be asked in a minute."""

    url: str
    model: str
    concurrency: int = 8
    per_minute: int = 0
    attempts: int = 5
    timeout_s: float = 120.0
    longest_wait_s: float = 60.0
    _pace: _Pace | None = field(default=None, init=False, repr=False, compare=False)
    _failures: int = field(default=0, init=False, repr=False, compare=False)

    parameters: ClassVar[Mapping[str, Any]] = {"temperature": 0}

    @property
    def title(self) -> str:
        return self.model.rpartition("/")[2]

    @property
    def revision(self) -> str:
        """A server tells no more than the name."""
        return self.model

    def setup(self) -> None:
        self._pace = _Pace(60 / self.per_minute if self.per_minute else 0.0)

    def generate(self, questions: Sequence[ChatRequest], max_tokens: int) -> list[str | BlendsetError]:
        """BlendsetError in the place of an answer that could not be had; raised where no question will be answered."""
        if self._failures >= HOPELESS:
            gone = BlendsetError(f"{self.url} was not asked, for it had failed {self._failures} times in a row.")
            return [gone] * len(questions)
        with ThreadPoolExecutor(self.concurrency) as threads:
            answers = list(threads.map(lambda question: self._reply(question, max_tokens), questions))
        failed = all(isinstance(answer, BlendsetError) for answer in answers)
        self._failures = self._failures + len(answers) if failed else 0
        return answers

    def _reply(self, question: ChatRequest, max_tokens: int) -> str | BlendsetError:
        body = {
            "model": self.model,
            "temperature": 0,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": _content(question)}],
        }
        try:
            return _answer(self._patiently(body))
        except _PassingError as error:
            return BlendsetError(
                f"{self.url} gave no answer in {self.attempts} attempts ({error}); run the command again later."
            )
        except urllib.error.HTTPError as error:
            if error.code in REFUSED:
                raise BlendsetError(
                    f"{self.url} refuses the model {self.model} ({error.code} {error.reason}); "
                    "check the URL, the model's name and OPENAI_API_KEY."
                ) from error
            return BlendsetError(
                f"{self.url} refuses a question ({error.code} {error.reason}); look at its picture and text."
            )

    def _patiently(self, body: Mapping[str, Any]) -> Any:
        """The server's JSON, asked for again, ever later, while it is busy or talks nonsense."""
        assert self._pace is not None
        for attempt in range(1, self.attempts + 1):
            self._pace.wait()
            try:
                reply = _fetch(f"{self.url}/chat/completions", body, self.timeout_s)
                _answer(reply)
            except _PassingError as error:
                if attempt == self.attempts:
                    raise
                time.sleep(min(self.longest_wait_s, 2.0**attempt / 2 if error.wait_s is None else error.wait_s))
            else:
                return reply
        raise AssertionError("unreachable")


def find_server(spec: str) -> ServerChatModel:
    """The server of URL[?concurrency=N&per_minute=N][#MODEL]; without a model the only one that the server has."""
    parts = urllib.parse.urlsplit(spec)
    options = dict(urllib.parse.parse_qsl(parts.query))
    url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    if parts.scheme not in ("http", "https") or not parts.netloc or not {*options} <= {"concurrency", "per_minute"}:
        raise BlendsetError(f"{spec} is no URL of a server; give one such as {EXAMPLE}.")
    numbers = {name: int(value) for name, value in options.items() if value.isdecimal() and int(value)}
    if len(numbers) < len(options):
        raise BlendsetError(f"{spec} holds no number where one should be; give a URL such as {EXAMPLE}.")
    return ServerChatModel(url, parts.fragment or _only_model(url), **numbers)


def _only_model(url: str) -> str:
    try:
        names = [entry["id"] for entry in _fetch(f"{url}/models", None, 30.0)["data"]]
    except (_PassingError, urllib.error.HTTPError, LookupError, TypeError) as error:
        raise BlendsetError(f"{url} does not say which models it has ({error}); name one (URL#MODEL).") from error
    if len(names) != 1:
        raise BlendsetError(f"{url} has {len(names)} models; name one of them (URL#MODEL): {', '.join(names)}.")
    return str(names[0])


def _fetch(url: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
    """The JSON at a URL, posted to where there is a body; HTTPError for a status that will not change."""
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        if error.code not in PASSING:
            raise
        raise _PassingError(f"{error.code} {error.reason}", _retry_after(error.headers.get("Retry-After"))) from error
    except (OSError, http.client.HTTPException) as error:
        raise _PassingError(getattr(error, "reason", error) or type(error).__name__) from error
    except ValueError as error:
        raise _PassingError("its reply was no JSON") from error


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait, from a number of seconds or a date (RFC 9110, 10.2.3)."""
    if not text:
        return None
    try:
        return max(0.0, float(text) if text.strip().isdecimal() else _seconds_until(text))
    except ValueError:
        return None


def _seconds_until(date: str) -> float:
    then = parsedate_to_datetime(date)
    return (then.replace(tzinfo=then.tzinfo or UTC) - datetime.now(UTC)).total_seconds()


def _answer(reply: Any) -> str:
    try:
        text = reply["choices"][0]["message"]["content"]
    except (LookupError, TypeError):
        text = None
    if not isinstance(text, str) or not text.strip():
        raise _PassingError("its reply held no words")
    return text.strip()


def _content(question: ChatRequest) -> list[dict[str, Any]]:
    pictures = [{"type": "image_url", "image_url": {"url": _data_url(picture)}} for picture in question.pictures]
    return [*pictures, {"type": "text", "text": question.text}]


def _data_url(picture: npt.NDArray[np.uint8]) -> str:
    png = io.BytesIO()
    Image.fromarray(picture).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()


class _Pace:
    """Lets callers of several threads through one after another, `interval_s` apart."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s, self._next, self._lock = interval_s, 0.0, threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval_s
        time.sleep(turn - now)

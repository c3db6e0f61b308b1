# SPDX-License-Identifier: Apache-2.0
"""What a chat model is: requests of pictures and text go in, answers in words come out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from blendset.errors import BlendsetError

SHOWN_LETTERS = 60
"""Of a refusal that is told."""


@dataclass(frozen=True, eq=False)
class ChatRequest:
    """One user message: pictures, each uint8 (height, width, 3), which may be none, and a text about all of them."""

    pictures: Sequence[npt.NDArray[np.uint8]]
    text: str


@dataclass(frozen=True)
class WeighedAnswer:
    """An answer, or why there is none; and for each word that was asked about the probability that the answer begins
    with it, None where the model does not tell.
    """

    answer: str | BlendsetError
    probabilities: Sequence[float] | None


class ReplyError(BlendsetError):
    """A model has replied, and its reply is no answer: cut, a refusal, thoughts only. `text` is what there is of it."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


def make_cut_error(text: str, max_tokens: int) -> ReplyError:
    """Return the error for a reply that ended because it had `max_tokens` tokens, not because it was done."""
    return ReplyError(f"The answer was cut after {max_tokens} tokens; raise --max-tokens.", text)


def make_refusal_error(text: str) -> ReplyError:
    """Return the error for a reply in which the model says that it will not, or cannot, answer."""
    words = " ".join(text.split())
    more = "..." if len(words) > SHOWN_LETTERS else ""
    return ReplyError(f"The model refuses ('{words[:SHOWN_LETTERS]}{more}'); take another model.")


def make_thoughts_error() -> ReplyError:
    """Return the error for a reply that holds nothing but what the model thinks."""
    return ReplyError("The model thinks and does not answer; raise --max-tokens, or turn its thinking off.")


class ChatModel(Protocol):
    """A model that answers requests. It can be pickled; heavy parts are loaded in `setup`."""

    @property
    def title(self) -> str:
        """The model's short name, as it appears in the names of stages."""

    @property
    def revision(self) -> str:
        """The revision of the model's weights, as far as it can be known."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Everything else that the answers depend on, as plain data."""

    def setup(self) -> None:
        """Load the model; called once per process, before the first request."""

    def generate(self, requests: Sequence[ChatRequest], max_tokens: int) -> list[str | BlendsetError]:
        """Return one answer per request, in their order; a BlendsetError in its position says why there is none.

        A reply that is longer than `max_tokens` is a ReplyError.
        """

    def generate_weighed(
        self, requests: Sequence[ChatRequest], words: Sequence[str], max_tokens: int
    ) -> list[WeighedAnswer]:
        """Return one answer per request, as `generate` does, and how probable it is that it begins with each word."""

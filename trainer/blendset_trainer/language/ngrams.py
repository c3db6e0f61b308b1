# SPDX-License-Identifier: Apache-2.0
"""Texts as word n-grams, which show how much two texts have in common, without regard to case and punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")


def split_words(text: str) -> list[str]:
    """The words of a text in one spelling: compatibility forms composed (NFKC), case folded, no punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def make_ngrams(words: Sequence[str], size: int) -> set[str]:
    """All runs of `size` words, joined by spaces. A shorter text is one n-gram; no words have none."""
    size = min(size, len(words))
    return {" ".join(words[start : start + size]) for start in range(len(words) - size + 1)} if size else set()

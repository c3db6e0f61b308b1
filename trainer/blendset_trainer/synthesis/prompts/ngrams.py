# SPDX-License-Identifier: Apache-2.0
"""Texts as runs of words, for telling how much two of them have in common whatever their case and punctuation."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """The words of a text in one spelling: compatibility forms composed (NFKC), case folded, no punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(words: Sequence[str], size: int) -> set[str]:
    """All runs of `size` words; of a shorter text the whole of it, of none nothing."""
    size = min(size, len(words))
    return {" ".join(words[start : start + size]) for start in range(len(words) - size + 1)} if size else set()

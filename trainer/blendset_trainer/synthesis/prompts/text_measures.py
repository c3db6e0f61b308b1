# SPDX-License-Identifier: Apache-2.0
"""Data-Juicer's measures of a text, each a share from 0 to 1; SynthVLM curates captions by them (arXiv 2407.20756,
appendix, table 1). The two of repetition were BigScience's first (arXiv 2303.03915).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

NGRAM_LENGTH = 10
"""Characters, or words, in a row: an n-gram, which is repeated where it comes again."""


def alphanumeric_ratio(text: str) -> float:
    """Share of the characters that are letters or digits."""
    return sum(map(str.isalnum, text)) / max(1, len(text))


def special_character_ratio(text: str) -> float:
    """Share of the characters that are no letters: digits, signs and spaces.

    In ASCII that is what Data-Juicer counts; beyond, it has a list of signs and emoji.
    """
    return 1 - sum(map(str.isalpha, text)) / max(1, len(text))


def character_repetition_ratio(text: str) -> float:
    """Share of the character n-grams that are repeated. Only the most frequent of the different ones count, at most the
    square root of their number.
    """
    counts = Counter(text[start : start + NGRAM_LENGTH] for start in range(len(text) - NGRAM_LENGTH + 1))
    repeated = sorted((count for count in counts.values() if count > 1), reverse=True)
    return sum(repeated[: math.isqrt(len(counts))]) / max(1, counts.total())


def word_repetition_ratio(text: str) -> float:
    """Share of the word n-grams that come more than once, without regard to case and to the signs around words."""
    stripped = [_strip_signs(word.lower()) for word in text.split()]
    words = [word for word in stripped if word]
    counts = Counter(tuple(words[start : start + NGRAM_LENGTH]) for start in range(len(words) - NGRAM_LENGTH + 1))
    return sum(count for count in counts.values() if count > 1) / max(1, counts.total())


def _strip_signs(word: str) -> str:
    """A word without what is no letter at its ends."""
    return word.strip("".join(sign for sign in word if not sign.isalpha()))


MEASURES: Mapping[str, Callable[[str], float]] = {
    "alphanumeric": alphanumeric_ratio,
    "special_characters": special_character_ratio,
    "character_repetition": character_repetition_ratio,
    "word_repetition": word_repetition_ratio,
}
"""The measures by the names that curation rules give them."""

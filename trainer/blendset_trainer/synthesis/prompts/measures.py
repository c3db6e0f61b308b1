# SPDX-License-Identifier: Apache-2.0
"""Data-Juicer's measures of a text, each a share from 0 to 1; SynthVLM curates captions by them (arXiv 2407.20756,
appendix, table 1). The two of repetition were BigScience's first (arXiv 2303.03915).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping

RUN = 10
"""Characters, or words, in a row that count as repeated when they come again."""


def alphanumeric(text: str) -> float:
    """Share of the characters that are letters or digits."""
    return sum(map(str.isalnum, text)) / max(1, len(text))


def special_characters(text: str) -> float:
    """Share of the characters that are no letters: digits, signs and spaces.

    In ASCII that is what Data-Juicer counts; beyond, it has a list of signs and emoji.
    """
    return 1 - sum(map(str.isalpha, text)) / max(1, len(text))


def character_repetition(text: str) -> float:
    """Share of the runs of characters that the commonest repeated runs make up, of which at most the square root of the
    number of different runs is counted."""
    counts = Counter(text[start : start + RUN] for start in range(len(text) - RUN + 1))
    repeated = sorted((count for count in counts.values() if count > 1), reverse=True)
    return sum(repeated[: math.isqrt(len(counts))]) / max(1, counts.total())


def word_repetition(text: str) -> float:
    """Share of the runs of words that come more than once, whatever their case and the signs around them."""
    stripped = [_without_signs(word.lower()) for word in text.split()]
    words = [word for word in stripped if word]
    counts = Counter(tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1))
    return sum(count for count in counts.values() if count > 1) / max(1, counts.total())


def _without_signs(word: str) -> str:
    return word.strip("".join(sign for sign in word if not sign.isalpha()))


MEASURES: Mapping[str, Callable[[str], float]] = {
    measure.__name__: measure for measure in (alphanumeric, special_characters, character_repetition, word_repetition)
}

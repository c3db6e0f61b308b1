# SPDX-License-Identifier: Apache-2.0
"""Texts that say nearly the same, by the Jaccard similarity of word trigrams: exact, without comparing all pairs."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict

from blendset_trainer.synthesis.prompts.ngrams import ngrams, words_of

WORDS = 3
"""In a row, that count as something in common."""


class NearDuplicates:
    """The texts seen so far, of which it finds one whose similarity to another is `least` or more.

    Prefix filtering (Chaudhuri, Ganti and Kaushik, ICDE 2006, section 4): two sets that similar share an element among
    the first few of each in any fixed order, so only those are looked up. The order is by hash, for common trigrams
    would sort together in any other that is known before all texts are.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._seen: list[tuple[str, set[str]]] = []
        self._by_ngram: defaultdict[str, list[int]] = defaultdict(list)

    def of(self, text: str) -> str:
        """The first text that is nearly this one; "" where there is none, and then this one counts as seen."""
        grams = ngrams(words_of(text), WORDS)
        prefix = self._prefix(grams)
        for place in sorted({place for gram in prefix for place in self._by_ngram[gram]}):
            other, others = self._seen[place]
            shared = len(grams & others)
            if shared >= self._least * (len(grams) + len(others) - shared):
                return other
        for gram in prefix:
            self._by_ngram[gram].append(len(self._seen))
        self._seen.append((text, grams))
        return ""

    def _prefix(self, grams: set[str]) -> list[str]:
        shared = math.ceil(self._least * len(grams) - 1e-9)  # at least so many, with any text that similar
        in_order = sorted(grams, key=lambda gram: (zlib.crc32(gram.encode()), gram))
        return in_order[: len(grams) - max(shared, 1) + 1]

# SPDX-License-Identifier: Apache-2.0
"""Near-duplicate texts by the Jaccard similarity of their word trigrams: exact, without comparing all pairs."""

from __future__ import annotations

import math
import zlib
from collections import defaultdict

from blendset_trainer.synthesis.prompts.ngrams import make_ngrams, split_words

NGRAM_WORDS = 3
"""Words of an n-gram."""


class NearDuplicates:
    """An index of texts, which finds one whose similarity to a new text is `threshold` (0 to 1) or more.

    Prefix filtering (Chaudhuri, Ganti and Kaushik, ICDE 2006, section 4): two sets that similar share an element among
    the first few of each in any fixed order, so only those are looked up. The order is by hash, because frequent
    trigrams would sort together in any other order that is known before all texts are.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._texts: list[tuple[str, set[str]]] = []
        self._by_ngram: defaultdict[str, list[int]] = defaultdict(list)

    def find(self, text: str) -> str:
        """The first text of the index that is a near duplicate; "" where there is none, and then the text is added."""
        grams = make_ngrams(split_words(text), NGRAM_WORDS)
        prefix = self._make_prefix(grams)
        for number in sorted({number for gram in prefix for number in self._by_ngram[gram]}):
            other, others = self._texts[number]
            shared = len(grams & others)
            if shared >= self._threshold * (len(grams) + len(others) - shared):
                return other
        for gram in prefix:
            self._by_ngram[gram].append(len(self._texts))
        self._texts.append((text, grams))
        return ""

    def _make_prefix(self, grams: set[str]) -> list[str]:
        """The first few n-grams, of which similar texts share one."""
        shared = math.ceil(self._threshold * len(grams) - 1e-9)  # at least so many, with any text that similar
        in_order = sorted(grams, key=lambda gram: (zlib.crc32(gram.encode()), gram))
        return in_order[: len(grams) - max(shared, 1) + 1]

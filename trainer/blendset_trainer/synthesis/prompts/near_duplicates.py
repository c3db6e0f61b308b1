# SPDX-License-Identifier: Apache-2.0
"""Near-duplicate texts by the Jaccard similarity of their word trigrams: exact, without comparing all pairs."""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Iterator
from hashlib import blake2b
from itertools import combinations

from blendset_trainer.language.ngrams import make_ngrams, split_words

NGRAM_WORDS = 3
"""Words of an n-gram."""
MOST_KEY_NGRAMS, MOST_KEYS = 3, 100
"""N-grams of a key by which texts are looked up, and keys of a text: however common each n-gram is, few texts share
three that are not alike. A long text, which would have too many keys of three, has keys of two or one."""


class NearDuplicates:
    """An index of texts, which finds one whose similarity to a new text is `threshold` (0 to 1) or more.

    Prefix filtering (Chaudhuri, Ganti and Kaushik, ICDE 2006, section 4): two sets that similar share their first few
    common elements among the first few of each, in any fixed order. Texts are looked up by several such elements at
    once. An n-gram is its 64-bit hash.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._texts: list[tuple[str, array[int]]] = []
        self._by_key: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        self._lengths: dict[int, set[int]] = {}

    def find(self, text: str) -> str:
        """The first text of the index that is a near duplicate; "" where there is none, and then the text is added."""
        grams = {_hash(gram) for gram in make_ngrams(split_words(text), NGRAM_WORDS)}
        keys = list(self._make_keys(sorted(grams)))
        for number in sorted({number for key in keys for number in self._by_key.get(key, ())}):
            other, others = self._texts[number]
            shared = len(grams.intersection(others))
            if shared >= self._threshold * (len(grams) + len(others) - shared):
                return other
        for key in keys:
            self._by_key[key].append(len(self._texts))
        self._texts.append((text, array("Q", grams)))
        return ""

    def _make_keys(self, grams: list[int]) -> Iterator[tuple[int, ...]]:
        """Keys of a text, of which every similar text has one."""
        size = len(grams)
        if size not in self._lengths:
            similar = range(max(1, math.ceil(self._threshold * size - 1e-9)), int(size / self._threshold + 1e-9) + 1)
            self._lengths[size] = {self._choose_length(other) for other in similar}
        for length in self._lengths[size]:
            yield from combinations(grams[: size - self._count_shared(size) + length], length)

    def _choose_length(self, size: int) -> int:
        """The n-grams of a key for a text of `size` of them: a similar text shares as many, and the keys are few."""
        shared = self._count_shared(size)
        lengths = range(min(MOST_KEY_NGRAMS, shared), 1, -1)
        return next((length for length in lengths if math.comb(size - shared + length, length) <= MOST_KEYS), 1)

    def _count_shared(self, size: int) -> int:
        """At least so many n-grams are shared by a text of `size` of them and any text that similar."""
        return max(1, math.ceil(self._threshold * size - 1e-9))


def _hash(gram: str) -> int:
    return int.from_bytes(blake2b(gram.encode(), digest_size=8).digest())

# SPDX-License-Identifier: Apache-2.0
"""Decontamination: what shares words with the prompts that a model will be evaluated by is not trained on.

Bootstrap3D (arXiv 2406.00093) shows why: its prompt generator was given 110 examples, and all 110 are prompts of the
benchmark GPTEval3D, word for word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache

from blendset_trainer.language.ngrams import make_ngrams, split_words

RUN_WORDS = 5
"""So many words in a row no text may share with one of the evaluation."""


FEWEST_WORDS = 3
"""A text of fewer words, as PartiPrompts has many ("wood", "a car"), counts only where it is the whole of another."""


class Decontaminator:
    """Finds the texts that share `size` words in a row with a text of an evaluation. Of a shorter text, on either side,
    all words count; of one with fewer than FEWEST_WORDS, only against another of the same words.
    """

    def __init__(self, evaluation: Iterable[str], size: int = RUN_WORDS) -> None:
        self._by_length: defaultdict[int, list[list[str]]] = defaultdict(list)
        self._whole = set[str]()
        self._triples = set[tuple[str, ...]]()
        for words in filter(None, map(split_words, evaluation)):
            self._whole.add(" ".join(words))
            if len(words) >= FEWEST_WORDS:
                self._by_length[min(size, len(words))].append(words)
                self._triples.update(_list_triples(words))
        self._collect = cache(self._collect_ngrams)

    def find_run(self, text: str) -> str:
        """Return the words in a row that a text shares with the evaluation, the first by the alphabet; "" for none."""
        words = split_words(text)
        if self._triples.isdisjoint(_list_triples(words)):  # most, at once; without it a million take a minute
            return whole if (whole := " ".join(words)) in self._whole else ""
        shared = [
            make_ngrams(words, length) & self._collect(length, min(length, len(words))) for length in self._by_length
        ]
        return min(set().union(*shared), default="")

    def _collect_ngrams(self, length: int, run: int) -> set[str]:
        """All runs of words of those texts of the evaluation of which `length` words count."""
        return set().union(*(make_ngrams(words, run) for words in self._by_length[length]))


def _list_triples(words: list[str]) -> Iterator[tuple[str, ...]]:
    """All runs of FEWEST_WORDS words."""
    return zip(*(words[start:] for start in range(FEWEST_WORDS)), strict=False)

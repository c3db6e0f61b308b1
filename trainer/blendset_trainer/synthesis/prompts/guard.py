# SPDX-License-Identifier: Apache-2.0
"""Keeps what a model will be judged by out of what it is trained on.

Bootstrap3D (arXiv 2406.00093) shows why: its prompt generator was given 110 examples, and all 110 are prompts of the
benchmark GPTEval3D, word for word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache

from blendset_trainer.synthesis.prompts.curation import Removed
from blendset_trainer.synthesis.prompts.files import Prompt
from blendset_trainer.synthesis.prompts.ngrams import ngrams, words_of

EVALUATES = "in the evaluation"
"""The reason of what is kept out."""
WORDS = 5
"""In a row, that no prompt may share with one that evaluates."""


def keep_out(
    prompts: Iterable[Prompt], evaluation: Iterable[str], removed: list[Removed], size: int = WORDS
) -> Iterator[Prompt]:
    """The prompts that share no run of `size` words with any text of `evaluation`; the others are appended to `removed`
    with the run that decided. Of a text that is shorter, on either side, the whole counts as the run.
    """
    by_length: defaultdict[int, list[list[str]]] = defaultdict(list)
    for words in map(words_of, evaluation):
        by_length[min(size, len(words))].append(words)

    @cache
    def held(length: int, run: int) -> set[str]:
        return set().union(*(ngrams(words, run) for words in by_length[length]))

    for each in prompts:
        words = words_of(each.prompt)
        shared = [ngrams(words, length) & held(length, min(length, len(words))) for length in by_length]
        if runs := set().union(*shared):
            removed.append(Removed(each.prompt, EVALUATES, min(runs)))
        else:
            yield each

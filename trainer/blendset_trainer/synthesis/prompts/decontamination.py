# SPDX-License-Identifier: Apache-2.0
"""Decontamination: prompts that share words with those a model will be evaluated by are not trained on.

Bootstrap3D (arXiv 2406.00093) shows why: its prompt generator was given 110 examples, and all 110 are prompts of the
benchmark GPTEval3D, word for word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache

from blendset_trainer.synthesis.prompts.curation import RemovedPrompt
from blendset_trainer.synthesis.prompts.ngrams import make_ngrams, split_words
from blendset_trainer.synthesis.prompts.prompt_files import Prompt

IN_EVALUATION = "in the evaluation"
"""The reason of the prompts that are left out."""
RUN_WORDS = 5
"""So many words in a row no prompt may share with one of the evaluation."""


def remove_contaminated(
    prompts: Iterable[Prompt], evaluation: Iterable[str], removed: list[RemovedPrompt], size: int = RUN_WORDS
) -> Iterator[Prompt]:
    """The prompts that share no `size` words in a row with any text of `evaluation`. The others are appended to
    `removed`, with the words that decided. Of a shorter text, on either side, all words count.
    """
    by_length: defaultdict[int, list[list[str]]] = defaultdict(list)
    for words in map(split_words, evaluation):
        by_length[min(size, len(words))].append(words)

    @cache
    def collect_ngrams(length: int, run: int) -> set[str]:
        return set().union(*(make_ngrams(words, run) for words in by_length[length]))

    for prompt in prompts:
        words = split_words(prompt.prompt)
        shared = [make_ngrams(words, length) & collect_ngrams(length, min(length, len(words))) for length in by_length]
        if runs := set().union(*shared):
            removed.append(RemovedPrompt(prompt.prompt, IN_EVALUATION, min(runs)))
        else:
            yield prompt

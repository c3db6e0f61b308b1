# SPDX-License-Identifier: Apache-2.0
"""Prompts that share words with those a model will be evaluated by are left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blendset_trainer.language.decontamination import RUN_WORDS, Decontaminator
from blendset_trainer.synthesis.prompts.curation import RemovedPrompt
from blendset_trainer.synthesis.prompts.prompt_files import Prompt

IN_EVALUATION = "in the evaluation"
"""The reason of the prompts that are left out."""


def remove_contaminated(
    prompts: Iterable[Prompt], evaluation: Iterable[str], removed: list[RemovedPrompt], size: int = RUN_WORDS
) -> Iterator[Prompt]:
    """The prompts that share no words in a row with any text of `evaluation`, by the rule of `Decontaminator`. The
    others are appended to `removed`, with the words that decided.
    """
    decontaminator = Decontaminator(evaluation, size)
    for prompt in prompts:
        if run := decontaminator.find_run(prompt.prompt):
            removed.append(RemovedPrompt(prompt.prompt, IN_EVALUATION, run))
        else:
            yield prompt

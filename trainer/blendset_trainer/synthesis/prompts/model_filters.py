# SPDX-License-Identifier: Apache-2.0
"""Filters of prompts that ask models: perplexity, a judgement, and how much they differ. They keep the order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from blendset_trainer.stages.farthest_points import FarthestPointSearch
from blendset_trainer.synthesis.prompts.curation import RemovedPrompt
from blendset_trainer.synthesis.prompts.prompt_files import Prompt

PROMPTS_PER_SAVE = 64
"""So many prompts are measured and saved together."""
PROMPTS_PER_PRODUCT = 256
"""So many embeddings are compared with the kept ones in one matrix product."""
ALIKE, LESS_DIFFERENT = "too similar", "less different"
"""Reasons: the cosine with a kept prompt is too high; enough prompts that differ more were found."""

Values = Sequence[float | None]
Embed = Callable[[Sequence[str]], NDArray[np.float32]]
"""Gives unit embeddings (N, D) of N texts."""


def split_batches(prompts: Iterable[Prompt], size: int) -> Iterator[list[Prompt]]:
    """The prompts in lists of `size`; the last may be shorter."""
    rest = iter(prompts)
    while batch := list(islice(rest, size)):
        yield batch


def keep_measured(
    prompts: Iterable[Prompt],
    measure: Callable[[Sequence[str]], Values],
    reason: str,
    passes: Callable[[float], bool],
    removed: list[RemovedPrompt],
) -> Iterator[Prompt]:
    """The prompts whose measure passes; the others, and those without a measure, are appended to `removed`."""
    for some in split_batches(prompts, PROMPTS_PER_SAVE):
        for prompt, value in zip(some, measure([prompt.prompt for prompt in some]), strict=True):
            if value is not None and passes(value):
                yield prompt
            else:
                removed.append(RemovedPrompt(prompt.prompt, reason, "no answer" if value is None else f"{value:.4g}"))


def drop_alike(
    prompts: Iterable[Prompt], embed: Embed, cosine: float, removed: list[RemovedPrompt]
) -> Iterator[tuple[Prompt, NDArray[np.float32]]]:
    """The prompts that no kept prompt before them is alike to, each with its embedding (D,)."""
    kept: list[Prompt] = []
    rows = np.empty((0, 0), dtype=np.float32)
    for some in split_batches(prompts, PROMPTS_PER_PRODUCT):
        points = embed([prompt.prompt for prompt in some])
        if not len(rows):
            rows = np.empty((PROMPTS_PER_PRODUCT, points.shape[1]), dtype=np.float32)
        before = len(kept)
        earlier = points @ rows[:before].T
        for number, prompt in enumerate(some):
            likeness = np.concatenate([earlier[number], rows[before : len(kept)] @ points[number]])
            if len(likeness) and likeness.max() >= cosine:
                removed.append(RemovedPrompt(prompt.prompt, ALIKE, kept[int(likeness.argmax())].prompt))
                continue
            if len(kept) == len(rows):
                rows = np.concatenate([rows, np.empty_like(rows)])
            rows[len(kept)] = points[number]
            kept.append(prompt)
            yield prompt, points[number]


def keep_farthest(
    prompts: Sequence[tuple[Prompt, NDArray[np.float32]]], count: int, seed: int, removed: list[RemovedPrompt]
) -> list[Prompt]:
    """The `count` prompts that differ most, in their order: farthest points from one that the
    seed chooses. Each comes with its embedding (D,)."""
    if len(prompts) <= count:
        return [prompt for prompt, _ in prompts]
    points = np.stack([point for _, point in prompts])
    search, open_ = FarthestPointSearch(points), np.ones(len(points), dtype=bool)
    row = int(np.random.default_rng(seed).integers(len(points)))
    for _ in range(count):
        open_[row] = False
        search.add(row)
        row = search.find_farthest(open_) if open_.any() else row
    left = {prompt for prompt in range(len(prompts)) if open_[prompt]}
    removed += [RemovedPrompt(prompts[number][0].prompt, LESS_DIFFERENT) for number in sorted(left)]
    return [prompt for number, (prompt, _) in enumerate(prompts) if number not in left]

# SPDX-License-Identifier: Apache-2.0
"""Too little memory on a device: what does not fit at once is done in halves, what does not fit alone is named.

Nothing here imports torch, for most steps need none.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from itertools import chain, groupby
from typing import TypeVar

from blendset.errors import BlendsetError

TOO_LITTLE = "out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED"
"""How torch's devices say it, in a RuntimeError."""

Part = TypeVar("Part")
Result = TypeVar("Result")


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device had too little memory."""
    said = isinstance(error, RuntimeError) and any(words in str(error) for words in TOO_LITTLE)
    return said or isinstance(error, MemoryError)


def run_within_memory(
    do: Callable[[Sequence[Part]], Sequence[Result]],
    parts: Sequence[Part],
    group_of: Callable[[Part], str],
    advice: str,
    notes: list[str],
) -> list[Result | BlendsetError]:
    """What `do` makes of each part; of halves, and halves of these, where the device has too little memory for all.

    Parts of one group stay together (they follow one another); one that does not fit is a BlendsetError that ends in
    `advice`. Each halving is told in `notes`.
    """
    try:
        return list(do(parts))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    _let_go()  # only now, for the error held on to what was being made
    groups = [list(group) for _, group in groupby(parts, key=group_of)]
    if len(groups) == 1:
        return [BlendsetError(f"{group_of(parts[0])} needs more memory than the device has; {advice}.")] * len(parts)
    notes.append(f"{len(parts)} pictures at once were too many for the device's memory; going on with half as many.")
    middle = len(groups) // 2
    halves = (list(chain.from_iterable(half)) for half in (groups[:middle], groups[middle:]))
    return [result for half in halves for result in run_within_memory(do, half, group_of, advice, notes)]


def _let_go() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.empty_cache()

# SPDX-License-Identifier: Apache-2.0
"""Running out of device memory: a batch that does not fit is divided in halves, and an item that does not fit is named.

This module does not import torch, because most stages need none.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from itertools import chain, groupby
from typing import TypeVar

from blendset.errors import BlendsetError

TOO_LITTLE = "out of memory", "can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED"
"""Parts of the messages of torch's RuntimeErrors for too little memory."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error is of too little memory, on a device or on the machine."""
    on_device = isinstance(error, RuntimeError) and any(words in str(error) for words in TOO_LITTLE)
    return on_device or isinstance(error, MemoryError)


def run_within_memory(
    compute: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    get_group: Callable[[Item], str],
    advice: str,
    notes: list[str],
) -> list[Result | BlendsetError]:
    """Return `compute`'s result for each item, in their order, where needed by halves, and halves of these.

    Items of one group follow one another and stay together. A group that does not fit alone gets a BlendsetError, which
    ends in `advice`, for each of its items. Each halving adds a sentence to `notes`.
    """
    try:
        return list(compute(items))
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    _free_memory()  # only now, because the error referred to the tensors
    groups = [list(group) for _, group in groupby(items, key=get_group)]
    if len(groups) == 1:
        return [BlendsetError(f"{get_group(items[0])} needs more memory than the device has; {advice}.")] * len(items)
    notes.append(f"{len(items)} pictures at once were too many for the device's memory; going on with half as many.")
    middle = len(groups) // 2
    halves = (list(chain.from_iterable(half)) for half in (groups[:middle], groups[middle:]))
    return [result for half in halves for result in run_within_memory(compute, half, get_group, advice, notes)]


def _free_memory() -> None:
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.accelerator.is_available():
        torch.accelerator.empty_cache()

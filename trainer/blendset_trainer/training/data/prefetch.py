# SPDX-License-Identifier: Apache-2.0
"""Work done ahead in a few threads, its results in order: what decodes pictures while the model computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Generator[Result, None, None]:
    """What `work` makes of each item, in their order; at most twice as many as threads are ready or under way.

    An exception comes where its result would. Closing the iterator ends the threads with what they have in hand.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix="ahead")
    coming: deque[Future[Result]] = deque()
    try:
        for item in items:
            coming.append(pool.submit(work, item))
            if len(coming) > 2 * threads:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

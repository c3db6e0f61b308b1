# SPDX-License-Identifier: Apache-2.0
"""Workers that pull shards, whatever they are. One that dies is replaced, and its shard is done by another."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from blendset.errors import BlendsetError
from blendset_trainer.stages.executors.task import Done, Parts

MOST_DEATHS = 3
"""A shard whose workers die this often is what kills them."""


class Worker(Protocol):
    """One with a stage of its own, at one shard at a time."""

    def give(self, shard: Parts) -> None:
        """Let it begin."""

    def answer(self) -> Done | None:
        """What became of the shard, None where the worker is dead; raises what the stage raised."""

    def dismiss(self) -> None:
        """End it, alive or dead, whatever it is at."""


AnyWorker = TypeVar("AnyWorker", bound=Worker)


def pull(
    shards: Sequence[Parts],
    most: int,
    hire: Callable[[], AnyWorker],
    ready: Callable[[list[AnyWorker]], list[AnyWorker]],
) -> Iterator[Done]:
    """Have shards done by at most so many workers; `ready` waits until some have an answer, and says which.

    A worker is let go as soon as there is nothing left for it: its place may be what a replacement waits for.
    Raises what a stage raises, and BlendsetError for a shard that kills its workers.
    """
    waiting, deaths, busy = deque(shards), Counter[Parts](), dict[AnyWorker, Parts]()

    def give(worker: AnyWorker) -> None:
        busy[worker] = waiting.popleft()
        worker.give(busy[worker])

    try:
        while waiting or busy:
            while waiting and len(busy) < most:
                give(hire())
            for worker in ready(list(busy)):
                done = worker.answer()
                shard = busy.pop(worker)
                if done and waiting:
                    give(worker)
                else:
                    worker.dismiss()
                if done:
                    yield done
                else:
                    deaths[shard] += 1
                    if deaths[shard] == MOST_DEATHS:
                        raise _deadly(shard)
                    waiting.appendleft(shard)
    finally:
        for worker in busy:
            worker.dismiss()


def _deadly(shard: Parts) -> BlendsetError:
    return BlendsetError(
        f"The {len(shard)} views from {shard[0].view_id} on ended {MOST_DEATHS} worker processes, perhaps for want of "
        "memory; use fewer workers, or run the command without --executor to see why."
    )

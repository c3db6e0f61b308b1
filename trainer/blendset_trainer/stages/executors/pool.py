# SPDX-License-Identifier: Apache-2.0
"""A pool of workers, be they processes or actors. A worker that dies is replaced, and another one does its shard."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from blendset.errors import BlendsetError
from blendset_trainer.stages.executors.task import Shard, ShardResult

MAX_CRASHES = 3
"""After so many workers died at a shard, the shard is held to be the cause."""


class Worker(Protocol):
    """A process or an actor that holds a stage of its own and computes one shard at a time."""

    def submit(self, shard: Shard) -> None:
        """Send it a shard to compute; returns at once."""

    def receive(self) -> ShardResult | None:
        """Return the result of its shard, or None where the worker is dead; raises what the stage raised."""

    def terminate(self) -> None:
        """End the worker, alive or dead, and whatever it is doing."""


AnyWorker = TypeVar("AnyWorker", bound=Worker)


def run(
    shards: Iterable[Shard],
    max_workers: int,
    start_worker: Callable[[], AnyWorker],
    wait_for_answers: Callable[[list[AnyWorker]], list[AnyWorker]],
) -> Iterator[ShardResult]:
    """Compute shards with at most `max_workers` workers, and yield each result as it arrives, in any order.

    A shard is asked for when a worker is free for it. `start_worker` makes a worker. `wait_for_answers` takes the busy
    workers, blocks until some can be received from, and returns those. A worker is terminated as soon as no shard is
    left for it, because a replacement of a dead one may wait for its CPU. Raises what a stage raises, and BlendsetError
    for a shard that kills its workers.
    """
    coming, again, crashes, busy = iter(shards), deque[Shard](), Counter[Shard](), dict[AnyWorker, Shard]()

    def find_next() -> Shard | None:
        return again.popleft() if again else next(coming, None)

    def submit(worker: AnyWorker, shard: Shard) -> None:
        busy[worker] = shard
        worker.submit(shard)

    try:
        while True:
            while len(busy) < max_workers and (shard := find_next()):
                submit(start_worker(), shard)
            if not busy:
                return
            for worker in wait_for_answers(list(busy)):
                result = worker.receive()
                following = find_next() if result else None  # before the worker is let go, for this may raise
                done = busy.pop(worker)
                if following:
                    submit(worker, following)
                else:
                    worker.terminate()
                if result:
                    yield result
                else:
                    crashes[done] += 1
                    if crashes[done] == MAX_CRASHES:
                        raise _crash_error(done)
                    again.append(done)
    finally:
        for worker in busy:
            worker.terminate()


def _crash_error(shard: Shard) -> BlendsetError:
    return BlendsetError(
        f"The {len(shard)} views from {shard[0].view_id} on ended {MAX_CRASHES} worker processes, perhaps for want of "
        "memory; use fewer workers, or run it without any to see why."
    )

# SPDX-License-Identifier: Apache-2.0
"""Worker processes on this machine. One that is killed is replaced, and its shard is done by another.

The standard library's pool gives up when a worker dies, and its workers outlive a killed parent; these do neither.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any

from blendset_trainer.executors.job import MOST_DEATHS, Done, Job, deadly
from blendset_trainer.stages import Shard

_spawn = multiprocessing.get_context("spawn")


class Processes:
    """Computes in `workers` processes; as many as there are CPUs, where none are said."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, job: Job, shards: Sequence[Shard]) -> Iterator[Done]:
        """Raises what a worker raises, and BlendsetError for a shard that kills its workers."""
        waiting, deaths = deque(shards), Counter[Shard]()
        workers: dict[Any, _Worker] = {}
        try:
            while waiting or workers:
                while waiting and len(workers) < self.workers:
                    hired = _Worker(job)
                    workers[hired.pipe] = hired
                    hired.give(waiting.popleft())
                for pipe in wait(list(workers)):
                    worker = workers[pipe]
                    answer = worker.answer()
                    if answer is None:
                        waiting.appendleft(_mourned(workers.pop(pipe), deaths))
                        continue
                    if waiting:
                        worker.give(waiting.popleft())
                    else:
                        workers.pop(pipe).dismiss()
                    yield answer
        finally:
            for worker in workers.values():
                worker.process.kill()


class _Worker:
    """A process with a stage of its own, and the shard that it is at."""

    def __init__(self, job: Job) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self.process = _spawn.Process(target=_work, args=(job, theirs), daemon=True)
        self.process.start()
        theirs.close()  # so that its death is the end of the pipe

    def give(self, shard: Shard) -> None:
        self.shard = shard
        with suppress(ConnectionError):  # it died since it answered, which `answer` will tell
            self.pipe.send(shard)

    def answer(self) -> Done | None:
        """What became of the shard, None where the process is dead; raises what the stage raised."""
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            return None
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Done)
        return answer

    def dismiss(self) -> None:
        self.pipe.close()
        self.process.join()


def _mourned(worker: _Worker, deaths: Counter[Shard]) -> Shard:
    """The shard of a dead worker, for another; BlendsetError where it has killed too many."""
    worker.dismiss()
    deaths[worker.shard] += 1
    if deaths[worker.shard] == MOST_DEATHS:
        raise deadly(worker.shard)
    return worker.shard


def _work(job: Job, pipe: Connection) -> None:
    """The life of a worker: shards in, answers out, until its parent closes the pipe or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    failure = _attempt(job.stage.setup)
    with suppress(EOFError, ConnectionError):
        while True:
            shard = pipe.recv()
            pipe.send(failure or _attempt(partial(job.compute, shard)))


def _attempt(does: Callable[[], Done | None]) -> Done | Exception | None:
    """What a call returns, or what it raises, with its traceback as a note (which travels; a traceback does not)."""
    try:
        return does()
    except Exception as error:  # noqa: BLE001 (the parent raises it)
        error.add_note(traceback.format_exc())
        return error

# SPDX-License-Identifier: Apache-2.0
"""Worker processes on this machine.

Not the standard library's pool, which gives up when a worker dies, and whose workers outlive a killed parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait

from blendset_trainer.stages.executors.pool import pull
from blendset_trainer.stages.executors.task import Done, Parts, Work

_spawn = multiprocessing.get_context("spawn")


class Processes:
    """Computes in `workers` processes; as many as there are CPUs, where none are said."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, job: Work, shards: Sequence[Parts]) -> Iterator[Done]:
        """Raises what the stage raises, and BlendsetError for a shard that kills its workers."""
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        return pull(shards, self.workers, partial(_Worker, job, threads), _ready)


class _Worker:
    """A process at the other end of a pipe."""

    def __init__(self, job: Work, threads: int) -> None:
        self.pipe, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_work, args=(theirs, threads), daemon=True)
        self._process.start()
        theirs.close()  # so that its death is the end of the pipe
        with suppress(ConnectionError):
            self.pipe.send(job)

    def give(self, shard: Parts) -> None:
        with suppress(ConnectionError):  # it died since it answered, which `answer` will tell
            self.pipe.send(shard)

    def answer(self) -> Done | None:
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            return None
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, Done)
        return answer

    def dismiss(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _ready(workers: list[_Worker]) -> list[_Worker]:
    pipes = wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in pipes]


def _work(pipe: Connection, threads: int) -> None:
    """The life of a worker: a job and its shards in, answers out, until it is ended or its parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends its workers
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read by torch when it is imported, which the job does
    with suppress(EOFError, ConnectionError):
        job: Work = pipe.recv()
        failure = _attempt(job.stage.setup)
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

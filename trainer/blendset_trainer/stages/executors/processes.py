# SPDX-License-Identifier: Apache-2.0
"""Worker processes on this machine.

Not the standard library's pool, which gives up when a worker dies, and whose workers outlive a killed parent.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection, wait

from blendset_trainer.stages.executors import pool
from blendset_trainer.stages.executors.task import Shard, ShardResult, Task

_spawn = multiprocessing.get_context("spawn")


class ProcessExecutor:
    """Runs a task in `workers` processes of this machine (default: as many as there are CPUs)."""

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, task: Task, shards: Iterable[Shard]) -> Iterator[ShardResult]:
        """Yield the result of each shard; raises what the stage raises, BlendsetError for a shard that kills them."""
        threads = max(1, (os.cpu_count() or 1) // self.workers)
        return pool.run(shards, self.workers, partial(_ProcessWorker, task, threads), _wait_for_answers)


class _ProcessWorker:
    """A process at the other end of a pipe; a `pool.Worker`."""

    def __init__(self, task: Task, threads: int) -> None:
        self.pipe, child_pipe = _spawn.Pipe()
        self._process = _spawn.Process(target=_run_worker, args=(child_pipe, threads), daemon=True)
        self._process.start()
        child_pipe.close()  # so that the pipe ends when the process dies
        with suppress(ConnectionError):
            self.pipe.send(task)

    def submit(self, shard: Shard) -> None:
        with suppress(ConnectionError):  # it died since its last answer, which `receive` will find
            self.pipe.send(shard)

    def receive(self) -> ShardResult | None:
        try:
            answer = self.pipe.recv()
        except (EOFError, ConnectionError):
            return None
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, ShardResult)
        return answer

    def terminate(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _wait_for_answers(workers: list[_ProcessWorker]) -> list[_ProcessWorker]:
    pipes = wait([worker.pipe for worker in workers])
    return [worker for worker in workers if worker.pipe in pipes]


def _run_worker(pipe: Connection, threads: int) -> None:
    """In the worker process: receive a task, then shards, and send answers until killed or until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which terminates its workers
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))  # read by torch when it is imported, which the task does
    with suppress(EOFError, ConnectionError):
        task: Task = pipe.recv()
        failure = _catch(task.stage.setup)
        while True:
            shard = pipe.recv()
            pipe.send(failure or _catch(partial(task.compute, shard)))


def _exit_with_parent() -> None:
    """End this process when its parent ends, in the middle of a shard too: the next run may compute the same shard."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _catch(call: Callable[[], ShardResult | None]) -> ShardResult | Exception | None:
    """Return what a call returns, or what it raises; its traceback is added as a note, which is pickled."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001 (the parent raises it)
        error.add_note(traceback.format_exc())
        return error

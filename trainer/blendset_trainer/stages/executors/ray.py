# SPDX-License-Identifier: Apache-2.0
"""Runs a task in Ray actors, on one machine or on many that share the dataset's disk. Pixels are never sent.

Ray's own retries are not used: a lost node uses all of them up before Ray has noticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any

from blendset.errors import BlendsetError
from blendset_trainer.stages.executors import pool
from blendset_trainer.stages.executors.task import Shard, ShardResult, Task


class RayExecutor:
    """Runs a task on the Ray cluster that is connected, or that RAY_ADDRESS names, or else on this machine.

    A stage with a model takes a GPU per actor where the cluster has GPUs. One CPU per node is left free:
    without it Ray can stand still, and an actor that replaces a lost one starts on it.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def run(self, task: Task, shards: Iterable[Shard]) -> Iterator[ShardResult]:
        """Yield the result of each shard.

        Raises what the stage raises, and BlendsetError for a shard that kills its actors or where Ray is not installed.
        """
        ray = _import_ray()
        with ExitStack() as connection:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                connection.callback(ray.shutdown)
            resources = ray.cluster_resources()
            gpus = int(resources.get("GPU", 0)) if task.stage.revision else 0
            slots = gpus or max(1, int(resources.get("CPU", 1)) - len(ray.nodes()))
            actor = ray.remote(num_cpus=1, num_gpus=int(gpus > 0))(_Actor)

            def start_worker() -> _ActorWorker:
                return _ActorWorker(actor.remote(task))

            yield from pool.run(shards, min(self.workers or slots, slots), start_worker, _wait_for_answers)


def _import_ray() -> Any:
    """Import Ray, which reads at import whether it needs a token; BlendsetError where it is not installed."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise BlendsetError(
            "Ray is not installed; run 'pip install blendset-trainer[ray]' or use another executor."
        ) from error
    return ray


class _Actor:
    """Runs on a node. Sets the stage up at its first shard, so that errors of `setup` arrive like those of shards."""

    def __init__(self, task: Task) -> None:
        self.task, self.ready = task, False

    def compute(self, shard: Shard) -> ShardResult:
        if not self.ready:
            self.task.stage.setup()
            self.ready = True
        return self.task.compute(shard)


class _ActorWorker:
    """An actor and the answer that is pending; a `pool.Worker`."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def submit(self, shard: Shard) -> None:
        self.pending = self._actor.compute.remote(shard)

    def receive(self) -> ShardResult | None:
        ray = _import_ray()
        try:
            result = ray.get(self.pending)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayActorError:
            return None
        assert isinstance(result, ShardResult)
        return result

    def terminate(self) -> None:
        _import_ray().kill(self._actor)


def _wait_for_answers(workers: list[_ActorWorker]) -> list[_ActorWorker]:
    answers, _ = _import_ray().wait([worker.pending for worker in workers])
    return [worker for worker in workers if worker.pending in answers]

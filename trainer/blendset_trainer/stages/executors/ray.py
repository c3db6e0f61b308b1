# SPDX-License-Identifier: Apache-2.0
"""Ray actors on one machine or on many that share the dataset's disk. Pixels never travel.

Not with Ray's own retries: a node that is lost uses them all up before Ray has noticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from blendset.errors import BlendsetError
from blendset_trainer.stages.executors.pool import pull
from blendset_trainer.stages.executors.task import Done, Parts, Work


class Ray:
    """Computes in actors on the cluster that is connected, that RAY_ADDRESS names, or (neither) on this machine.

    A stage with a model takes a GPU per actor where the cluster has GPUs. One CPU per node is left free, without which
    Ray can stand still, and on which an actor is started in place of one that was lost.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def run(self, job: Work, shards: Sequence[Parts]) -> Iterator[Done]:
        """Raises what the stage raises, and BlendsetError for a shard that kills its actors, or without Ray."""
        ray = _ray()
        with ExitStack() as connection:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                connection.callback(ray.shutdown)
            resources = ray.cluster_resources()
            gpus = int(resources.get("GPU", 0)) if job.stage.revision else 0
            room = gpus or max(1, int(resources.get("CPU", 1)) - len(ray.nodes()))
            actor = ray.remote(num_cpus=1, num_gpus=int(gpus > 0))(_Actor)
            yield from pull(shards, min(self.workers or room, room), lambda: _Worker(actor.remote(job)), _ready)


def _ray() -> Any:
    """Ray, which sends the token that its own nodes ask for only where it is told to before it is imported."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise BlendsetError(
            "Ray is not installed; run 'pip install blendset-trainer[ray]' or use another executor."
        ) from error
    return ray


class _Actor:
    """Runs on a node. The stage is made ready with the first shard, so that its errors arrive as a task's do."""

    def __init__(self, job: Work) -> None:
        self.job, self.ready = job, False

    def compute(self, shard: Parts) -> Done:
        if not self.ready:
            self.job.stage.setup()
            self.ready = True
        return self.job.compute(shard)


class _Worker:
    """An actor, and the answer that is awaited from it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def give(self, shard: Parts) -> None:
        self.awaited = self._actor.compute.remote(shard)

    def answer(self) -> Done | None:
        ray = _ray()
        try:
            done = ray.get(self.awaited)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayActorError:
            return None
        assert isinstance(done, Done)
        return done

    def dismiss(self) -> None:
        _ray().kill(self._actor)


def _ready(workers: list[_Worker]) -> list[_Worker]:
    answers, _ = _ray().wait([worker.awaited for worker in workers])
    return [worker for worker in workers if worker.awaited in answers]

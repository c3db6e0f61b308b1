# SPDX-License-Identifier: Apache-2.0
"""Ray actors that pull shards, on one machine or many that share the dataset's disk. Pixels never travel.

Ray itself restarts an actor that is killed, on another node where its own is gone, and repeats what it was at.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

from blendset.errors import BlendsetError
from blendset_trainer.executors.job import MOST_DEATHS, Done, Job, deadly
from blendset_trainer.stages import Shard


class Ray:
    """Computes in actors on the cluster that is connected, that RAY_ADDRESS names, or (neither) on this machine.

    A stage with a model takes a GPU per actor where the cluster has GPUs. One CPU per node is left free: with actors on
    all CPUs there is none for the rest of Ray, and after a loss no place to restart one.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers

    def run(self, job: Job, shards: Sequence[Shard]) -> Iterator[Done]:
        """Raises what an actor raises, and BlendsetError for a shard that kills its actors, or without Ray."""
        ray = _ray()
        with ExitStack() as connection:
            if not ray.is_initialized():
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                connection.callback(ray.shutdown)
            yield from _pull(ray, self._actors(ray, job, len(shards)), shards)

    def _actors(self, ray: Any, job: Job, most: int) -> list[Any]:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if job.stage.revision else 0
        room = gpus or max(1, int(resources.get("CPU", 1)) - len(ray.nodes()))
        actor = ray.remote(
            num_cpus=1, num_gpus=int(gpus > 0), max_restarts=-1, max_task_retries=MOST_DEATHS - 1
        )(_Worker)  # fmt: skip
        return [actor.remote(job) for _ in range(min(self.workers or room, room, most))]


def _ray() -> Any:
    """Ray, which sends the token that its own nodes ask for only where it is told to."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    try:
        import ray
    except ImportError as error:
        raise BlendsetError(
            "Ray is not installed; run 'pip install blendset-trainer[ray]' or use another executor."
        ) from error
    return ray


def _pull(ray: Any, actors: Sequence[Any], shards: Sequence[Shard]) -> Iterator[Done]:
    """Give each actor a shard whenever it has none, and let it go when there are no more.

    Its CPU may be the one that another, lost with its node, waits for to be restarted.
    """
    waiting = deque(shards)
    busy: dict[Any, tuple[Any, Shard]] = {}

    def give(actor: Any) -> None:
        shard = waiting.popleft()
        busy[actor.compute.remote(shard)] = (actor, shard)

    for actor in actors:
        give(actor)
    try:
        while busy:
            (answer,), _ = ray.wait(list(busy), num_returns=1)
            actor, shard = busy.pop(answer)
            done = _result(ray, answer, shard)
            if waiting:
                give(actor)
            else:
                ray.kill(actor)
            yield done
    finally:
        for actor, _ in busy.values():
            ray.kill(actor)


def _result(ray: Any, answer: Any, shard: Shard) -> Done:
    try:
        done = ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error
    except ray.exceptions.RayActorError as error:
        raise deadly(shard) from error
    assert isinstance(done, Done)
    return done


class _Worker:
    """An actor: a stage of its own, made ready with the first shard so that its errors arrive as errors of a task."""

    def __init__(self, job: Job) -> None:
        self.job, self.ready = job, False

    def compute(self, shard: Shard) -> Done:
        if not self.ready:
            self.job.stage.setup()
            self.ready = True
        return self.job.compute(shard)

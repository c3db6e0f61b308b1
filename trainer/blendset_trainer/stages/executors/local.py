# SPDX-License-Identifier: Apache-2.0
"""The default executor: this process, one shard after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blendset_trainer.stages.executors.task import Done, Parts, Work


class Here:
    """Computes in this process; the next batch is decoded meanwhile."""

    def run(self, job: Work, shards: Sequence[Parts]) -> Iterator[Done]:
        job.stage.setup()
        yield from map(job.compute, shards)

# SPDX-License-Identifier: Apache-2.0
"""The default executor: this process, one shard after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from blendset_trainer.stages.executors.task import Shard, ShardResult, Task


class LocalExecutor:
    """Runs a task in this process, one shard after the other."""

    def run(self, task: Task, shards: Iterable[Shard]) -> Iterator[ShardResult]:
        """Set the task's stage up, then compute each shard and yield its result; raises what the stage raises."""
        task.stage.setup()
        yield from map(task.compute, shards)

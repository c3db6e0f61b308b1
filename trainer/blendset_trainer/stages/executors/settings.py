# SPDX-License-Identifier: Apache-2.0
"""Where stages run, as settings, and the executor that they name. Loads no torch, and Ray only where Ray is used."""

from __future__ import annotations

from dataclasses import dataclass

from blendset.errors import SettingsError
from blendset.options import Settings, option
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.executors.ray import RayExecutor
from blendset_trainer.stages.executors.task import Executor

HERE, PROCESSES, RAY = "here", "processes", "ray"


@dataclass(frozen=True, kw_only=True)
class ExecutorSettings(Settings):
    """Where it runs: in this process ("here"), in `workers` processes of this machine, or in `workers` actors on Ray.

    Creating one raises SettingsError for an executor that there is not, and for a number of workers that it cannot
    have.
    """

    executor: str = option(HERE, "where it runs (default %(default)s)", choices=(HERE, PROCESSES, RAY))
    workers: int | None = option(None, "processes or actors (default: by the CPUs there are)", metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.workers is not None and (self.workers < 1 or self.executor == HERE):
            raise SettingsError("--workers is a number from 1 on, and goes with --executor processes or ray.")


def make_executor(settings: ExecutorSettings) -> Executor:
    """Return the executor that the settings name."""
    if settings.executor == PROCESSES:
        return ProcessExecutor(settings.workers)
    return RayExecutor(settings.workers) if settings.executor == RAY else LocalExecutor()

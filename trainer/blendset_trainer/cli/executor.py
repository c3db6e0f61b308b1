# SPDX-License-Identifier: Apache-2.0
"""How commands that run stages are asked where to run them."""

from __future__ import annotations

import argparse

from blendset_trainer.cli.parser import Parser, UsageError
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.executors.ray import RayExecutor
from blendset_trainer.stages.executors.task import Executor


def add_executor(added: Parser) -> None:
    """Add --executor and --workers to a command."""
    added.add_argument(
        "--executor", choices=("here", "processes", "ray"), default="here", help="where it runs (default %(default)s)"
    )
    added.add_argument("--workers", type=int, metavar="N", help="processes or actors (default: by the CPUs there are)")


def executor_of(arguments: argparse.Namespace) -> Executor:
    """The executor that a command line asks for."""
    workers: int | None = arguments.workers
    if workers is not None and (workers < 1 or arguments.executor == "here"):
        raise UsageError("--workers is a number from 1 on, and goes with --executor processes or ray.")
    executors: dict[str, Executor] = {
        "here": LocalExecutor(),
        "processes": ProcessExecutor(workers),
        "ray": RayExecutor(workers),
    }
    return executors[arguments.executor]

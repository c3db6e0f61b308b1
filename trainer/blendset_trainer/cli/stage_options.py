# SPDX-License-Identifier: Apache-2.0
"""The options of commands that run stages: which stage, and where it runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from blendset_trainer.cli.parser import Parser, UsageError
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.executors.processes import ProcessExecutor
from blendset_trainer.stages.executors.ray import RayExecutor
from blendset_trainer.stages.executors.task import Executor
from blendset_trainer.stages.registry import Scheme, UnknownStageError, find_stage
from blendset_trainer.stages.stage import Stage


def add_executor(parser: Parser) -> None:
    """Add --executor and --workers to a command."""
    parser.add_argument(
        "--executor", choices=("here", "processes", "ray"), default="here", help="where it runs (default %(default)s)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="processes or actors (default: by the CPUs there are)")


def make_executor(arguments: argparse.Namespace) -> Executor:
    """Return the executor that the command line asks for; UsageError for a number of workers that it cannot have."""
    workers: int | None = arguments.workers
    if workers is not None and (workers < 1 or arguments.executor == "here"):
        raise UsageError("--workers is a number from 1 on, and goes with --executor processes or ray.")
    executors: dict[str, Executor] = {
        "here": LocalExecutor(),
        "processes": ProcessExecutor(workers),
        "ray": RayExecutor(workers),
    }
    return executors[arguments.executor]


def parse_stage(word: str, schemes: Mapping[str, Scheme]) -> Stage:
    """Return the stage that a word of the command line names; UsageError where it names none."""
    try:
        return find_stage(word, schemes)
    except UnknownStageError as error:
        raise UsageError(str(error)) from error

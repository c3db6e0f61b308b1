# SPDX-License-Identifier: Apache-2.0
"""The options of commands that run stages: which stage, and where it runs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from blendset_trainer.cli.parser import Parser, UsageError
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.stages.executors import settings as executor_settings
from blendset_trainer.stages.executors.settings import ExecutorSettings
from blendset_trainer.stages.executors.task import Executor
from blendset_trainer.stages.registry import Scheme, UnknownStageError, find_stage
from blendset_trainer.stages.stage import Stage


def add_executor(parser: Parser) -> None:
    """Add --executor and --workers to a command."""
    add_settings(parser, ExecutorSettings)


def make_executor(arguments: argparse.Namespace) -> Executor:
    """Return the executor that the command line asks for; UsageError for a number of workers that it cannot have."""
    return executor_settings.make_executor(read_settings(ExecutorSettings, arguments))


def parse_stage(word: str, schemes: Mapping[str, Scheme]) -> Stage:
    """Return the stage that a word of the command line names; UsageError where it names none."""
    try:
        return find_stage(word, schemes)
    except UnknownStageError as error:
        raise UsageError(str(error)) from error

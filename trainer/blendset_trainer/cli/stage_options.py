# SPDX-License-Identifier: Apache-2.0
"""The options of commands that run stages: where they run."""

from __future__ import annotations

import argparse

from blendset_trainer.cli.parser import Parser
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.stages.executors import settings as executor_settings
from blendset_trainer.stages.executors.settings import ExecutorSettings
from blendset_trainer.stages.executors.task import Executor


def add_executor(parser: Parser) -> None:
    """Add --executor and --workers to a command."""
    add_settings(parser, ExecutorSettings)


def make_executor(arguments: argparse.Namespace) -> Executor:
    """Return the executor that the command line asks for; UsageError for a number of workers that it cannot have."""
    return executor_settings.make_executor(read_settings(ExecutorSettings, arguments))

# SPDX-License-Identifier: Apache-2.0
"""`blendset verify`: checks every record, picture and pass of a dataset."""

from __future__ import annotations

import argparse

from blendset_trainer.cli.console import print_json
from blendset_trainer.cli.parser import DONE, FAILED, Parser, add_command, add_dataset
from blendset_trainer.rendering.verify import verify


def add_verify(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset verify`."""
    parser = add_command(
        commands,
        "verify",
        _verify,
        "Check every record, picture and pass of a dataset",
        "blendset verify kitchen-dataset",
    )
    add_dataset(parser)


def _verify(arguments: argparse.Namespace) -> int:
    report = verify(arguments.dataset)
    if arguments.json:
        print_json(report)
    else:
        for problem in report.problems:
            print(f"{problem.path} {problem.what}")
        print(f"{report.views} views are sound, {len(report.problems)} problems")
    return FAILED if report.problems else DONE

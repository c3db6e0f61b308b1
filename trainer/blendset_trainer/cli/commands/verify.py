# SPDX-License-Identifier: Apache-2.0
"""`blendset verify`: checks every record, picture and pass of a dataset."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset.dataset import Dataset
from blendset.verification import verify_dataset
from blendset_trainer.cli.console import print_json
from blendset_trainer.cli.parser import DONE, FAILED, Parser, add_command


def add_verify(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset verify`."""
    verify = add_command(
        commands,
        "verify",
        _verify,
        "Check every record, picture and pass of a dataset",
        "blendset verify kitchen-dataset",
    )
    verify.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")


def _verify(arguments: argparse.Namespace) -> int:
    report = verify_dataset(Dataset(arguments.dataset))
    if arguments.json:
        problems = [{"path": str(problem.path), "what": problem.what} for problem in report.problems]
        print_json({"views": report.views, "problems": problems, "debris": [str(path) for path in report.debris]})
    else:
        for problem in report.problems:
            print(f"{problem.path} {problem.what}")
        print(f"{report.views} views are sound, {len(report.problems)} problems")
    return FAILED if report.problems else DONE

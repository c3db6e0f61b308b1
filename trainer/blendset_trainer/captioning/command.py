# SPDX-License-Identifier: Apache-2.0
"""`blendset caption`: run a captioner over a dataset and derive the index's `caption` column from what it wrote."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset_trainer.reporting import print_json
from blendset_trainer.usage import Parser, command

CAPTIONERS = ("metadata",)


def add_caption(commands: argparse._SubParsersAction[Parser]) -> None:
    """Register the command."""
    caption = command(
        commands,
        "caption",
        _caption,
        "Say in words what each view shows; the same command again goes on where it was interrupted",
        "blendset caption kitchen-dataset --with metadata",
    )
    caption.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    caption.add_argument("--with", dest="captioner", choices=CAPTIONERS, default="metadata", help="(default %(default)s)")
    caption.add_argument("--seed", type=int, default=0, help="chooses between equal ways to say it (default %(default)s)")


def _caption(arguments: argparse.Namespace) -> int:
    from blendset_trainer.captioning.metadata import Metadata  # the lexicon takes seconds to load
    from blendset_trainer.executors.here import Here
    from blendset_trainer.run import run_stage

    dataset = Dataset(arguments.dataset)
    stage = Metadata(seed=arguments.seed)
    report = run_stage(dataset, stage, Here())
    ...

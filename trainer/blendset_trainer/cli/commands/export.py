# SPDX-License-Identifier: Apache-2.0
"""`blendset export`, which writes a dataset in another program's format, and its reverse, `blendset unpack`."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset.dataset import Dataset
from blendset_trainer.cli.console import print_json
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.exporting.export import FORMATS, export_dataset, unpack_dataset


def add_export(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset export`."""
    parser = add_command(
        commands,
        "export",
        _export,
        "Write a dataset, or a selection of its views, in the format of another program",
        "blendset export kitchen-dataset --to coco --out kitchen-coco",
    )
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="the dataset's folder")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--selection", default="", metavar="NAME", help="export what selections/NAME.parquet chose")


def add_unpack(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset unpack`."""
    parser = add_command(
        commands,
        "unpack",
        _unpack,
        "Make a dataset again from its WebDataset shards, byte for byte",
        "blendset unpack kitchen-shards --out kitchen-dataset",
    )
    parser.add_argument("shards", type=Path, metavar="SHARDS", help="what 'blendset export --to webdataset' made")
    parser.add_argument("--out", type=Path, required=True, metavar="DATASET", help="a new or empty folder")


def _export(arguments: argparse.Namespace) -> int:
    report = export_dataset(Dataset(arguments.dataset), arguments.to, arguments.out, arguments.selection)
    if arguments.json:
        print_json(report)
    else:
        without = f"; {report.left_out} have no passes and are left out" if report.left_out else ""
        print(f"{report.views} views are in {arguments.out}{without}")
    return DONE


def _unpack(arguments: argparse.Namespace) -> int:
    files = unpack_dataset(arguments.shards, arguments.out)
    if arguments.json:
        print_json({"out": str(arguments.out), "files": files})
    else:
        print(f"{files} files are in {arguments.out}")
    return DONE

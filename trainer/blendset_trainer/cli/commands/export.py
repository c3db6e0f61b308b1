# SPDX-License-Identifier: Apache-2.0
"""`blendset export`, which writes a dataset in another program's format, and its reverse, `blendset unpack`."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset_trainer.cli.console import print_json
from blendset_trainer.cli.parser import DONE, Parser, add_command, add_dataset
from blendset_trainer.cli.settings_options import add_settings, read_settings
from blendset_trainer.exporting.export import ExportSettings, UnpackSettings, export, unpack


def add_export(commands: argparse._SubParsersAction[Parser]) -> None:
    """Add `blendset export`."""
    parser = add_command(
        commands,
        "export",
        _export,
        "Write a dataset, or a selection of its views, in the format of another program",
        "blendset export kitchen-dataset --to coco --out kitchen-coco",
    )
    add_dataset(parser)
    add_settings(parser, ExportSettings)


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
    add_settings(parser, UnpackSettings)


def _export(arguments: argparse.Namespace) -> int:
    report = export(arguments.dataset, read_settings(ExportSettings, arguments))
    if arguments.json:
        print_json(report)
    else:
        print(f"{report.views} views are in {report.out}")
        for reason, count in report.reasons.items():
            print(f"{count} left out: {reason}")
        for note in report.notes:
            print(note)
    return DONE


def _unpack(arguments: argparse.Namespace) -> int:
    report = unpack(arguments.shards, read_settings(UnpackSettings, arguments))
    if arguments.json:
        print_json(report)
    else:
        print(f"{report.files} files are in {report.out}")
    return DONE

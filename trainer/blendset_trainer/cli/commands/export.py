# SPDX-License-Identifier: Apache-2.0
"""`blendset export` and its way back, `blendset unpack`."""

from __future__ import annotations

import argparse
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.console import print_json
from blendset_trainer.cli.parser import DONE, Parser, add_command
from blendset_trainer.exporting import bop, coco, colmap, croissant, huggingface, image_text, nerf, webdataset
from blendset_trainer.exporting.source import new_folder, open_source

FORMATS = {
    "bop": bop.export,
    "coco": coco.export,
    "colmap": colmap.export,
    "croissant": croissant.export,
    "huggingface": huggingface.export,
    "image-text": image_text.export,
    "nerf": nerf.export,
    "webdataset": webdataset.export,
}


def add_export(commands: argparse._SubParsersAction[Parser]) -> None:
    """Register `export`."""
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
    """Register `unpack`."""
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
    dataset = Dataset(arguments.dataset)
    if arguments.out.resolve().is_relative_to(dataset.root.resolve()):
        raise BlendsetError(f"{arguments.out} lies inside the dataset; choose a folder beside it.")
    source = open_source(dataset, arguments.selection)
    with new_folder(arguments.out) as folder:
        views = FORMATS[arguments.to](source, folder)
        if not views:
            raise BlendsetError(f"No view of {dataset.root} has passes, which {arguments.to} needs; export to another.")
    left_out = len(source.views) - views
    if arguments.json:
        print_json({"out": str(arguments.out), "format": arguments.to, "views": views, "left_out": left_out})
    else:
        without = f"; {left_out} have no passes and are left out" if left_out else ""
        print(f"{views} views are in {arguments.out}{without}")
    return DONE


def _unpack(arguments: argparse.Namespace) -> int:
    with new_folder(arguments.out) as folder:
        files = webdataset.unpack(arguments.shards, folder)
    if arguments.json:
        print_json({"out": str(arguments.out), "files": files})
    else:
        print(f"{files} files are in {arguments.out}")
    return DONE

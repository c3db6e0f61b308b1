# SPDX-License-Identifier: Apache-2.0
"""Exports a dataset in the format of another program, and makes a dataset again from its WebDataset shards."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.exporting import webdataset
from blendset_trainer.exporting.source import create_folder, open_source
from blendset_trainer.extensions import Registry

FORMATS = Registry(
    "export format",
    {
        "bop": "blendset_trainer.exporting.bop:export",
        "coco": "blendset_trainer.exporting.coco:export",
        "colmap": "blendset_trainer.exporting.colmap:export",
        "croissant": "blendset_trainer.exporting.croissant:export",
        "huggingface": "blendset_trainer.exporting.huggingface:export",
        "image-text": "blendset_trainer.exporting.image_text:export",
        "nerf": "blendset_trainer.exporting.nerf:export",
        "webdataset": "blendset_trainer.exporting.webdataset:export",
    },
    group="blendset.exports",
)
"""By name, the function that writes views into a folder and returns how many it wrote."""


@dataclass(frozen=True)
class ExportReport:
    """How many views were written, and how many were left out because they have no passes."""

    out: str
    format: str
    views: int
    left_out: int


def export_dataset(dataset: Dataset, name: str, out: Path, selection: str = "") -> ExportReport:
    """Write a dataset, or a selection of its views, into a new or empty folder; `name` is a key of FORMATS.

    The folder appears whole or not at all. Raises BlendsetError for a folder inside the dataset, and where no view can
    be written.
    """
    if out.resolve().is_relative_to(dataset.root.resolve()):
        raise BlendsetError(f"{out} lies inside the dataset; choose a folder beside it.")
    write_format = FORMATS.load(name)
    source = open_source(dataset, selection)
    with create_folder(out) as folder:
        views = write_format(source, folder)
        if not views:
            raise BlendsetError(f"No view of {dataset.root} has passes, which {name} needs; export to another.")
    return ExportReport(str(out), name, views, len(source.views) - views)


def unpack_dataset(shards: Path, out: Path) -> int:
    """Make a dataset again from WebDataset shards, byte for byte; return how many files it has."""
    with create_folder(out) as folder:
        return webdataset.unpack(shards, folder)

# SPDX-License-Identifier: Apache-2.0
"""Exports a dataset in the format of another program, and makes a dataset again from its WebDataset shards."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError
from blendset.naming import join_names
from blendset.options import REQUIRED, Settings, option, resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.api.registry import Registry
from blendset_trainer.exporting import webdataset
from blendset_trainer.exporting.source import create_folder, open_source

FORMATS = Registry(
    "export format",
    {
        "bop": "blendset_trainer.exporting.bop:export",
        "coco": "blendset_trainer.exporting.coco:export",
        "colmap": "blendset_trainer.exporting.colmap:export",
        "croissant": "blendset_trainer.exporting.croissant:export",
        "groups": "blendset_trainer.exporting.groups:export",
        "huggingface": "blendset_trainer.exporting.huggingface:export",
        "image-text": "blendset_trainer.exporting.image_text:export",
        "llava": "blendset_trainer.exporting.llava:export",
        "nerf": "blendset_trainer.exporting.nerf:export",
        "webdataset": "blendset_trainer.exporting.webdataset:export",
        "yolo": "blendset_trainer.exporting.yolo:export",
    },
    group="blendset.exports",
)
"""By name, the function that writes views into a folder and returns how many it wrote."""


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Settings):
    """Which views are exported, in which format, and where they go."""

    to: str = option(REQUIRED, "the format", choices=FORMATS)
    out: Path = option(REQUIRED, "a new or empty folder", metavar="DIR")
    selection: str = option("", "export what selections/NAME.parquet chose", metavar="NAME")


@dataclass(frozen=True)
class ExportReport:
    """How many views were written and how many were left out, these by reason too; notes are sentences for a person."""

    out: str
    format: str
    views: int
    left_out: int
    reasons: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UnpackSettings(Settings):
    """Where an unpacked dataset goes."""

    out: Path = option(REQUIRED, "a new or empty folder", metavar="DATASET")


@dataclass(frozen=True)
class UnpackReport:
    """The folder of an unpacked dataset, and how many files it has."""

    out: str
    files: int


def export(
    dataset: Dataset | Path | str,
    settings: ExportSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> ExportReport:
    """Write a dataset, or a selection of its views, in the format of another program, into a new or empty folder.

    `options` are fields of `ExportSettings`. The folder appears whole or not at all, in one step, so `on_progress` is
    not called. Raises SettingsError for wrong options, and BlendsetError for a folder inside the dataset and where no
    view can be written.
    """
    settings, dataset = resolve_settings(ExportSettings, settings, options), open_dataset(dataset)
    name, out = settings.to, settings.out
    if out.resolve().is_relative_to(dataset.root.resolve()):
        raise BlendsetError(f"{out} lies inside the dataset; choose a folder beside it.")
    write_format = FORMATS.load(name)
    source = open_source(dataset, settings.selection)
    with create_folder(out) as folder:
        views = write_format(source, folder)
        left_out = len(source.views) - views
        if unexplained := left_out - source.left_out.total():
            source.left_out["no place in this format"] += unexplained
        if not views:
            raise BlendsetError(
                f"No view of {dataset.root} can go into {name} ({join_names(list(source.left_out), 5)}); "
                "choose another format."
            )
    return ExportReport(str(out), name, views, left_out, dict(source.left_out), tuple(source.notes))


def unpack(
    shards: Path | str,
    settings: UnpackSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> UnpackReport:
    """Make a dataset again from the WebDataset shards in a folder, byte for byte.

    `options` are fields of `UnpackSettings`. The folder appears whole or not at all, in one step, so `on_progress` is
    not called. Raises SettingsError for wrong options, and BlendsetError for what are no shards.
    """
    settings = resolve_settings(UnpackSettings, settings, options)
    with create_folder(settings.out) as folder:
        files = webdataset.unpack(Path(shards), folder)
    return UnpackReport(str(settings.out), files)

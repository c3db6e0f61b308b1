# SPDX-License-Identifier: Apache-2.0
"""What can be measured: a dataset, pictures that `blendset sample` made, any folder that can be adopted, or a model,
which draws its pictures first. All become a dataset, so that rows of scorers resume as everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import SettingsError
from blendset_trainer.adoption.adopt import AdoptSettings, adopt
from blendset_trainer.adoption.layouts.samples import is_record
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.evaluation.lineage import Lineage, read_dataset_lineage, read_samples_lineage
from blendset_trainer.evaluation.settings import MeasureSettings

SUFFIX = "-measured"
"""Of the folder of a dataset that pictures become where nobody says another."""


@dataclass(frozen=True)
class OpenSource:
    """Pictures to measure as a dataset, what they are called, by what the data behind them was selected, and what was
    found on the way."""

    dataset: Dataset
    title: str
    lineage: Lineage
    notes: tuple[str, ...] = ()


def open_source(source: Path | str, out: Path | None, settings: MeasureSettings, on_progress: OnProgress) -> OpenSource:
    """Return the pictures of a source as a dataset; those that are none become one in `out`.

    Raises SettingsError for a source that is none, and BlendsetError for one that cannot be read.
    """
    path = Path(source)
    if (path / "dataset.json").is_file():
        if settings.prompts:
            raise SettingsError(f"{path} is a dataset, whose captions are its prompts; leave --prompts out.")
        dataset = Dataset(path)
        return OpenSource(dataset, path.resolve().name, read_dataset_lineage(dataset, settings.selection))
    if settings.selection:
        raise SettingsError(f"{path} is no dataset and has no selection '{settings.selection}'; leave --selection out.")
    is_sampled = is_record(path / "samples.json")
    options = AdoptSettings(
        out=out or Path(f"{path.resolve()}{SUFFIX}"),
        kind="synthetic" if is_sampled or settings.prompts else "photo",
        prompts=None if is_sampled else settings.prompts,
        name=path.resolve().name if path.exists() else "",
    )
    report = adopt(source, options, on_progress=on_progress)
    notes = (*report.findings, *report.faults.values())
    lineage = read_samples_lineage(path) if is_sampled else Lineage()
    return OpenSource(Dataset(Path(report.dataset)), options.name or str(source), lineage, notes)

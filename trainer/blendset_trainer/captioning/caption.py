# SPDX-License-Identifier: Apache-2.0
"""Runs a captioner over a dataset and puts its captions into the index."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset, open_dataset
from blendset.options import REQUIRED, option, resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.stages.catalogue import CAPTIONERS
from blendset_trainer.stages.executors.settings import ExecutorSettings, make_executor
from blendset_trainer.stages.registry import find_stage, set_options
from blendset_trainer.stages.run import StageReport, run_stage
from blendset_trainer.stages.stage import Stage
from blendset_trainer.stages.tables import read_dense_captions


@dataclass(frozen=True, kw_only=True)
class CaptionSettings(ExecutorSettings):
    """Which captioner runs, how it captions, and where it runs. An option that is None is the captioner's default."""

    captioner: str = option(REQUIRED, CAPTIONERS.format_choices, flag="--with", metavar="CAPTIONER")
    seed: int | None = option(None, "metadata: another one says the same otherwise (default 0)")
    view_sets: bool | None = option(None, "hf, openai: one caption and a quality for each view set")
    facts: bool | None = option(None, "hf, openai: ask without saying what is in sight", flag="--no-facts")
    max_tokens: int | None = option(
        None,
        "hf, openai: tokens of an answer, thoughts included; what is longer is no caption (default 64 short, 192 "
        "dense, 768 of a view set)",
        metavar="N",
        at_least=1,
    )


@dataclass(frozen=True)
class CaptionReport:
    """The captioner's name, what its run did, and the dense captions by view id; a view may have none."""

    captioner: str
    stage: StageReport
    captions: dict[str, str]


def caption(
    dataset: Dataset | Path | str,
    settings: CaptionSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> CaptionReport:
    """Say in words what each view shows; only views that have no caption yet, or were changed, are captioned.

    `options` are fields of `CaptionSettings`. A view that cannot be read stops nothing: the report names it. Raises
    SettingsError for a captioner or an option that there is not, and BlendsetError for what stops the captioner.
    """
    settings = resolve_settings(CaptionSettings, settings, options)
    captioner, dataset = _make_captioner(settings), open_dataset(dataset)
    report = run_stage(dataset, captioner, make_executor(settings), on_progress)
    captions = read_dense_captions(dataset, captioner)
    dataset.rebuild_index(captions)
    return CaptionReport(captioner.name, report, captions)


def _make_captioner(settings: CaptionSettings) -> Stage:
    """The captioner with its options; SettingsError for an option that it does not have."""
    flags = {"seed": "--seed", "view_sets": "--view-sets", "facts": "--no-facts", "max_tokens": "--max-tokens"}
    options = {name: getattr(settings, name) for name in flags}
    return set_options(find_stage(settings.captioner, CAPTIONERS), settings.captioner, options, flags, "caption")

# SPDX-License-Identifier: Apache-2.0
"""Synthesis in one call: a generator makes further views, which join the dataset.

Torch and diffusers are optional, and are imported when a job runs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendset.dataset import Dataset, open_dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.options import resolve_settings
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.stages.executors.settings import make_executor
from blendset_trainer.synthesis.jobs import find_job
from blendset_trainer.synthesis.settings import SynthesisSettings

if TYPE_CHECKING:
    from blendset_trainer.synthesis.engine import SynthesisReport


def synthesize(
    dataset: Dataset | Path | str,
    settings: SynthesisSettings | None = None,
    *,
    job: str = "",
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> SynthesisReport:
    """Let a generator make views that join a dataset, and return how many were made.

    The job is that of `settings` (such as `RestyleSettings`) or is named by `job` (such as "restyle"); `options` are
    fields of its settings, on top of them. What is there already is not made again, so it is safe to interrupt and to
    call again.

    Raises SettingsError for settings that cannot be made and for a job that there is not; BlendsetError where the
    dataset gives nothing to begin with, and for a model that cannot be run.
    """
    if settings is None and not job:
        raise SettingsError("There is no job; give settings such as RestyleSettings, or job='restyle'.")
    if settings is not None and not hasattr(settings, "job"):
        raise SettingsError(f"The settings are {settings!r}; give those of a job, such as RestyleSettings(...).")
    if settings is not None and job not in ("", settings.job):
        raise SettingsError(f"The settings are for the job '{settings.job}', not '{job}'; leave job out.")
    if not find_spec("diffusers"):
        raise BlendsetError("Synthesis needs diffusers; install 'blendset-trainer[train]'.")
    chosen = find_job(settings.job if settings else job)
    settings = resolve_settings(chosen.settings, settings, options)
    executor, dataset = make_executor(settings), open_dataset(dataset)
    from blendset_trainer.synthesis.engine import generate_views

    synthesizer, requests, left_out = chosen.load_plan()(dataset, settings)
    progress = partial(on_progress, "pictures")
    report = generate_views(dataset, synthesizer, requests, executor, settings.batch, progress)
    return replace(report, left_out=tuple(left_out))

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

from blendset.dataset import BLOCK, Dataset, open_dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.options import resolve_settings
from blendset.records import DatasetRecord
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.stages.executors.settings import make_executor
from blendset_trainer.synthesis.jobs import find_job
from blendset_trainer.synthesis.settings import SynthesisSettings, TextToImageSettings, WithOut

if TYPE_CHECKING:
    from blendset_trainer.synthesis.engine import SynthesisReport


def synthesize(
    dataset: Dataset | Path | str | None = None,
    settings: SynthesisSettings | None = None,
    *,
    job: str = "",
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> SynthesisReport:
    """Let a generator make views that join a dataset, and return how many were made.

    The job is that of `settings` (such as `RestyleSettings`) or is named by `job` (such as "restyle"); `options` are
    fields of its settings, on top of them. What is there already is not made again, so it is safe to interrupt and to
    call again. Jobs of prompts take None for the dataset: the pictures join the dataset `out`, which is made where
    there is none.

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
    executor, start = make_executor(settings), _open_start(dataset, settings)
    from blendset_trainer.synthesis.engine import generate_views

    synthesizer, requests, left_out = chosen.load_plan()(start, settings)
    joined = _open_joined(start, settings, len(requests) > BLOCK)
    search = None
    if isinstance(settings, TextToImageSettings) and settings.search:
        from blendset_trainer.synthesis.search.settings_search import drop_search, search_settings

        prompts = [request.record.prompt for request in requests]
        search = search_settings(joined, settings, prompts, executor, on_progress)
        synthesizer, requests, left_out = chosen.load_plan()(start, drop_search(settings, **search.chosen))
    progress = partial(on_progress, "pictures")
    report = generate_views(joined, synthesizer, requests, executor, settings.batch, progress)
    return replace(report, left_out=tuple(left_out), search=search)


def _open_start(dataset: Dataset | Path | str | None, settings: SynthesisSettings) -> Dataset | None:
    """The dataset that a job begins with: what the call names, or `out` where there is one already; else None.

    Raises SettingsError where neither or both are named, and BlendsetError for a folder that is no dataset.
    """
    out = settings.out if isinstance(settings, WithOut) else None
    if (dataset is None) == (out is None):
        if out:
            raise SettingsError(f"Pictures join one dataset; give either {dataset} or --out {out}.")
        cure = ", or give --out, the folder of a new one." if isinstance(settings, WithOut) else "."
        raise SettingsError(f"There is no dataset for '{settings.job}'; name its folder{cure}")
    if dataset is not None:
        return open_dataset(dataset)
    assert out is not None
    return Dataset(out) if (out / "dataset.json").is_file() else None


def _open_joined(start: Dataset | None, settings: SynthesisSettings, view_blocks: bool) -> Dataset:
    """The dataset that the pictures join, made where there is none; BlendsetError for a folder of something else."""
    if start is None:
        assert isinstance(settings, WithOut) and settings.out is not None
        record = DatasetRecord(
            name=settings.out.absolute().name,
            licence="",
            creator="",
            sources=(settings.prompts.name,) if settings.prompts else (),
            render_settings={},
            view_blocks=view_blocks,
        )
        start = Dataset.create_or_open(settings.out, record, mix_settings=True)
    return start

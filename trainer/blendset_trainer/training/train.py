# SPDX-License-Identifier: Apache-2.0
"""Trains a model as a configuration says, as `blendset train` does; and shows before what would be trained.

Torch and its friends are imported when a function runs, so that the settings can be read without them.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blendset.errors import BlendsetError, SettingsError
from blendset.files import lock_folder
from blendset.options import Settings, option, read_toml, refuse_settings, resolve_settings
from blendset_trainer.api.progress import OnProgress, OnReport, ignore_progress, ignore_report
from blendset_trainer.training_runs import PLAN_PNG

if TYPE_CHECKING:
    from accelerate import Accelerator

    from blendset_trainer.training.settings import TrainConfig

ENCODING, TRAINING = "features encoded", "pictures seen"
"""What is done, in progress."""
RUN_LOCK = ".train.lock"
"""The file in a run's folder that is locked while it trains."""


@dataclass(frozen=True, kw_only=True)
class TrainSettings(Settings):
    """What goes over the file of a run."""

    set: tuple[str, ...] = option((), "train.batch=8, over the file", metavar="KEY=VALUE")
    strict: bool = option(False, "refuse a run that leaves out, cuts or changes anything of its sources")


@dataclass(frozen=True)
class TrainReport:
    """What a run has come to: the folder of what was trained, the pictures seen, the optimizer steps.

    `failures` says of each picture that was left out why. `rank` is that of this process; the process of rank 0 wrote
    the files.
    """

    folder: Path
    samples: int
    steps: int
    failures: tuple[str, ...]
    rank: int


@dataclass(frozen=True)
class TrainingPlan:
    """Which source trains which noise, before anything is trained.

    `record` is the plan as plain data, `rows` are the cells of the table under `columns`, `warnings` are sentences, and
    `picture` is the file of its plot.
    """

    record: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    warnings: tuple[str, ...]
    picture: Path


def train(
    config: TrainConfig | Path | str,
    settings: TrainSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    report: OnReport = ignore_report,
    **options: Any,
) -> TrainReport:
    """Fine-tune a diffusion model; the same call again goes on where it was interrupted.

    `config` is a run's configuration or its TOML file, over which goes `set`, such as `set=["train.batch=8"]`. Of
    several processes, the first calls `on_progress`, and the first of each machine calls `report`, with sentences for a
    person: captions that are truncated, pictures that are left out; with `strict` they end the run before it begins. A
    stop signal ends the run after a step: its checkpoint is written, then KeyboardInterrupt is raised. Raises
    BlendsetError where options do not fit, something is missing, or a loss is not finite.
    """
    settings = resolve_settings(TrainSettings, settings, options)
    config = load_config(config, settings)
    from blendset_trainer.training.finishing import finish
    from blendset_trainer.training.loop import run_training_loop
    from blendset_trainer.training.setup import make_accelerator, prepare

    accelerator = make_accelerator(config.model.precision)
    on_progress, report = _choose_callbacks(accelerator, on_progress, report)
    with _lock_run(accelerator, Path(config.out)):
        on_progress(ENCODING, 0, 0)
        model, data, state = prepare(
            config, accelerator, report, lambda what, done, total: on_progress(ENCODING, done, total), settings.strict
        )
        on_progress(TRAINING, state.samples_seen, state.config.steps * state.config.train.batch)
        run_training_loop(model, data, state, lambda samples, total: on_progress(TRAINING, samples, total))
        failures = tuple(state.loader.failures.values())
        for reason in failures:
            report(f"left out: {reason}")
        folder = finish(model, data, state)
    return TrainReport(folder, state.samples_seen, state.step, failures, accelerator.process_index)


def plan_training(
    config: TrainConfig | Path | str,
    settings: TrainSettings | None = None,
    *,
    report: OnReport = ignore_report,
    **options: Any,
) -> TrainingPlan:
    """Find which source of a run trains which noise, write the plan and its plot into the run's folder, train nothing.

    The arguments and the errors are those of `train`; `report` gets what is left out of the sources, how often their
    samples are seen and how much of them is cropped. The model's weights are not loaded.
    """
    settings = resolve_settings(TrainSettings, settings, options)
    config = load_config(config, settings)
    from blendset_trainer.training.setup import make_dry_plan
    from blendset_trainer.training.timesteps.report import (
        PLAN_COLUMNS,
        format_plan_rows,
        make_plan_record,
        write_timestep_plan,
    )

    plan, sizes = make_dry_plan(config, report, settings.strict)
    folder, samples = Path(config.out), config.train.samples
    write_timestep_plan(folder, plan, sizes, samples)
    return TrainingPlan(
        make_plan_record(plan, sizes, samples),
        PLAN_COLUMNS,
        tuple(format_plan_rows(plan, sizes, samples)),
        tuple(plan.list_warnings()),
        folder / PLAN_PNG,
    )


def explain_training(
    config: Path | str, settings: TrainSettings | None = None, **options: Any
) -> list[tuple[str, str, str]]:
    """Return name, value and origin of every option of a run's TOML file: the file, "command line" or "default".

    `options` go over the settings. Raises BlendsetError where options do not fit.
    """
    settings = resolve_settings(TrainSettings, settings, options)
    loaded = load_config(config, settings)
    from blendset_trainer.training.settings import explain_config

    return explain_config(loaded, read_toml(Path(config)), str(config), settings.set)


def load_config(config: TrainConfig | Path | str, settings: TrainSettings | None = None, **options: Any) -> TrainConfig:
    """Return a run's configuration, of a TOML file or as it is, with the settings over it.

    Raises SettingsError for what is no setting.
    """
    settings = resolve_settings(TrainSettings, settings, options)
    require_diffusers()
    from blendset_trainer.training.settings import TrainConfig, change_train_config, load_train_config

    if not isinstance(config, TrainConfig | Path | str):
        raise SettingsError(f"The configuration is {config!r}; give the path of a TOML file.")
    with refuse_settings():
        if isinstance(config, str | Path):
            return load_train_config(Path(config), settings.set)
        return change_train_config(config, settings.set)


def require_diffusers() -> None:
    """Raise BlendsetError where training is not installed."""
    if not find_spec("diffusers"):
        raise BlendsetError("Training needs diffusers; install 'blendset-trainer[train]'.")


def _lock_run(accelerator: Accelerator, folder: Path) -> AbstractContextManager[None]:
    """A context in which no other `train` runs in a folder; the first of several processes holds the lock."""
    if not accelerator.is_main_process:
        return nullcontext()
    return lock_folder(folder / RUN_LOCK, blocking=False, name="Training")


def _choose_callbacks(
    accelerator: Accelerator, on_progress: OnProgress, report: OnReport
) -> tuple[OnProgress, OnReport]:
    """The callbacks of this process: of one machine's processes the first reports, of all the first tells progress."""
    return (
        on_progress if accelerator.is_main_process else ignore_progress,
        report if accelerator.is_local_main_process else ignore_report,
    )

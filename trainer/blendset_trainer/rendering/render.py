# SPDX-License-Identifier: Apache-2.0
"""Renders scenes into a dataset, as `blendset render` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.config import Config
from blendset.errors import SettingsError
from blendset.jobs.scenes import Summary
from blendset.jobs.supervisor import SINGLE_SHARD, Supervisor, parse_shard
from blendset.options import REQUIRED, Settings, option
from blendset.placement.camera_plan import read_plan
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.rendering import worker
from blendset_trainer.rendering.run_options import BLENDER_HELP, resolve_run_options
from blendset_trainer.rendering.scenes import Scenes, find_scenes
from blendset_trainer.rendering.supervision import OnUpdate, ignore_update, run_supervisor


@dataclass(frozen=True, kw_only=True)
class RenderSettings(Settings):
    """What rendering needs besides the configuration of scenes, cameras and pictures."""

    blender: str | None = option(None, BLENDER_HELP, metavar="PATH")
    out: Path = option(REQUIRED, "the dataset's folder", metavar="DATASET")
    plan: Path | None = option(None, "cameras from 'blendset plan --out'", metavar="PLAN.json")
    shard: str = option("", "do part I of N; parts may share the folder", metavar="I/N")
    mix_settings: bool = option(False, "add to a dataset of other render settings")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard:
            parse_shard(self.shard)


def render(
    scenes: Scenes,
    settings: RenderSettings | None = None,
    *,
    config: Config | Path | str | None = None,
    on_progress: OnProgress = ignore_progress,
    on_update: OnUpdate = ignore_update,
    **options: Any,
) -> Summary:
    """Render scenes into the dataset `out`; the same call again goes on where it was interrupted.

    `scenes` are .blend files, folders of them, or patterns. `config` is a configuration or its TOML file; without one,
    the configuration of the plan, if there is a plan. `options` are fields of the settings, or of the configuration
    those that have a flag, such as `views=24`; they go over both. Raises BlendsetError where options do not fit, a
    scene is not there, no Blender is, or the dataset does not take these settings. A scene that fails says so in the
    summary. Ctrl-C cancels the run, and what is finished stays.
    """
    chosen, run_config = resolve_run_options(RenderSettings, settings, config, options, read_planned_config)
    paths = find_scenes(scenes)
    _check_request(paths, chosen)
    supervisor = Supervisor(
        paths,
        chosen.out,
        run_config,
        worker.find_worker(chosen.blender),
        plan=chosen.plan,
        shard=parse_shard(chosen.shard) if chosen.shard else SINGLE_SHARD,
        mix_settings=chosen.mix_settings,
    )
    return run_supervisor(supervisor, on_progress, on_update)


def _check_request(scenes: Sequence[Path], settings: RenderSettings) -> None:
    """Raise SettingsError where there is a plan, and it cannot be that of the scenes."""
    if settings.plan and len(scenes) > 1:
        raise SettingsError("--plan holds the cameras of one scene; give that scene only.")
    _check_plan_file(settings)


def read_planned_config(settings: RenderSettings) -> Config:
    """Return the configuration of the plan that the settings name, or else the default one.

    Raises BlendsetError where the plan is not there or cannot be read.
    """
    _check_plan_file(settings)
    return read_plan(settings.plan).config if settings.plan else Config()


def _check_plan_file(settings: RenderSettings) -> None:
    if settings.plan and not settings.plan.is_file():
        raise SettingsError(f"{settings.plan} does not exist; make it with 'blendset plan --out'.")

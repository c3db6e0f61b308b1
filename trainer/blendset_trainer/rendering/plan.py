# SPDX-License-Identifier: Apache-2.0
"""Plans the cameras of scenes in Blender without rendering them, as `blendset plan` does."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from blendset.config import Config
from blendset.errors import SettingsError
from blendset.files import translate_disk_errors
from blendset.jobs.scenes import Summary
from blendset.jobs.supervisor import Supervisor
from blendset.options import Settings, option
from blendset.placement.presets import PRESETS
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.rendering import worker
from blendset_trainer.rendering.run_options import BLENDER_HELP, resolve_run_options
from blendset_trainer.rendering.scenes import Scenes, find_scenes
from blendset_trainer.rendering.supervision import OnUpdate, ignore_update, run_supervisor


@dataclass(frozen=True, kw_only=True)
class PlanSettings(Settings):
    """What planning needs besides the configuration of scenes, cameras and gates."""

    blender: str | None = option(None, BLENDER_HELP, metavar="PATH")
    presets: tuple[str, ...] = option(
        (), "how cameras are placed; give it again to compare", flag="--preset", choices=PRESETS
    )
    out: Path | None = option(None, "keep the plan, for render --plan", metavar="PLAN.json")
    previews: bool = option(False, "judge light too, by small renders")


@dataclass(frozen=True)
class PresetPlan:
    """What planning all scenes with one preset came to."""

    preset: str
    summary: Summary


@dataclass(frozen=True)
class PlanReport:
    """The plans of all scenes, by preset; a cancelled run ends with the preset that it was at."""

    presets: tuple[PresetPlan, ...]

    @property
    def cancelled(self) -> bool:
        """Whether planning was cancelled."""
        return self.presets[-1].summary.cancelled

    @property
    def done(self) -> bool:
        """Whether every scene was planned with every preset."""
        return all(plan.summary.done for plan in self.presets)

    @property
    def sound(self) -> bool:
        """Whether every scene has views with every preset, though previews may have turned some down."""
        return all(plan.summary.sound for plan in self.presets)


def plan(
    scenes: Scenes,
    settings: PlanSettings | None = None,
    *,
    config: Config | Path | str | None = None,
    on_progress: OnProgress = ignore_progress,
    on_update: OnUpdate = ignore_update,
    **options: Any,
) -> PlanReport:
    """Place and judge cameras without rendering, with one preset after another.

    `scenes` are .blend files, folders of them, or patterns. `config` is a configuration or its TOML file. `options` are
    fields of the settings, or of the configuration those that have a flag, such as `views=24`; they go over both.
    Raises BlendsetError where options do not fit, a scene is not there, or no Blender is. A scene that fails says so in
    the report. Ctrl-C cancels the run; then no plan is kept.
    """
    chosen, run_config = resolve_run_options(PlanSettings, settings, config, options)
    paths = find_scenes(scenes)
    _check_request(paths, chosen)
    configs = [_with_preset(run_config, preset) for preset in chosen.presets or [run_config.cameras.preset]]
    command = worker.find_worker(chosen.blender)
    make_supervisor = partial(Supervisor, paths, command=command, render=False, previews=chosen.previews)
    plans: list[PresetPlan] = []
    with tempfile.TemporaryDirectory(prefix="blendset-") as folder:
        for number, preset_config in enumerate(configs):
            supervisor = make_supervisor(dataset_root=Path(folder) / f"plan-{number}", config=preset_config)
            plans.append(PresetPlan(preset_config.cameras.preset, run_supervisor(supervisor, on_progress, on_update)))
            if plans[-1].summary.cancelled:
                break
        report = PlanReport(tuple(plans))
        if chosen.out and report.sound:
            with translate_disk_errors(chosen.out):
                chosen.out.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(supervisor.dataset.plan_path(plans[0].summary.scenes[0].run), chosen.out)
    return report


def _check_request(scenes: Sequence[Path], settings: PlanSettings) -> None:
    """Raise SettingsError where a plan is to be kept, and there would be more than one."""
    if settings.out and len(scenes) * max(len(settings.presets), 1) != 1:
        raise SettingsError("--out keeps one plan; give one scene and at most one --preset.")


def _with_preset(config: Config, preset: str) -> Config:
    return replace(config, cameras=replace(config.cameras, preset=preset))

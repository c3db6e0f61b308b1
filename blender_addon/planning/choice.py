# SPDX-License-Identifier: GPL-3.0-or-later
"""From what planning found out to the views of a plan, without any preview: the window and the worker choose alike."""

from __future__ import annotations

from collections.abc import Container

from blendset.config import Config
from blendset.placement.candidates import PRESETS
from blendset.placement.gates import Verdict
from blendset.placement.planner import PlanningResult


def renders_all(config: Config) -> bool:
    """Whether the preset's views are rendered as they are: no preview rejects one, and the scene's exposure stays."""
    return PRESETS[config.cameras.preset].render_all


def choose_views(result: PlanningResult, config: Config, turned_down: Container[int] = ()) -> list[Verdict]:
    """The views to render, in order, of which verdicts in `turned_down` (by Python's id) make room for the next."""
    return result.sample_views(config) if renders_all(config) else result.rank_views(config, turned_down)


def name_run(scene_id: str, config: Config) -> str:
    """The run's name: the same scene and settings are the same run."""
    return f"{scene_id}-{config.compute_digest()}"

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dataset keeps of a run, and what the run is called: window and worker name it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bpy

from blendset.config import Config, config_to_dict
from blendset.placement.camera_plan import CameraPlan

from ..render.session import RenderSession


def name_run(scene_id: str, config: Config) -> str:
    """The run's name: the same scene and settings are the same run."""
    return f"{scene_id}-{config.compute_digest()}"


def build_run_record(
    plan: CameraPlan, scene: bpy.types.Scene, session: RenderSession, previews: int, timings: Mapping[str, float]
) -> dict[str, Any]:
    """runs/<run>.json: the configuration, the Blender and the device that the run had, and its seconds.

    A session that was never started has no device.
    """
    view = scene.view_settings
    return {
        "format": "blendset-run",
        "run": plan.run,
        "scene": plan.scene,
        "config": config_to_dict(plan.config),
        "blender": bpy.app.version_string,
        "build_hash": bpy.app.build_hash.decode(),
        "device": session.device,
        "denoised": bool(session.can_denoise and plan.config.render.denoise),
        "lighting": plan.lighting,
        "view_layer": session.layer.name,
        "view_layers_not_rendered": session.other_layers,
        "view_transform": {
            "name": view.view_transform,
            "look": view.look,
            "exposure": view.exposure,
            "gamma": view.gamma,
        },
        "previews": previews,
        "timings": dict(timings),
    }

# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dataset keeps of a scene and of a run, beside the views themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from blendset.config import config_to_dict
from blendset.naming import slug
from blendset.placement.camera_plan import PlanFile
from blendset.placement.labels import shown_label
from blendset.records import SceneObjectRecord, SceneRecord

from ..scene.snapshot import OpenScene
from .session import RenderSession


def scene_id(stem: str, scene: bpy.types.Scene, digest: str) -> str:
    """Slug of the file's stem (and of the Blender scene, where there are several) and six digits of the file's hash."""
    name = stem if len(bpy.data.scenes) == 1 else f"{stem}-{scene.name}"
    return f"{slug(name)}-{digest[:6]}"


def scene_record(
    source: Path, digest: str, name: str, scene: bpy.types.Scene, opened: OpenScene, structural: frozenset[int]
) -> SceneRecord:
    """scenes/<scene>.json: every object and instance by the id that it has in the passes."""
    snapshot = opened.snapshot
    objects = tuple(
        SceneObjectRecord(
            id=each.id,
            name=each.name,
            label=shown_label(each),
            collection=each.collection,
            materials=each.materials,
            bounds_min=tuple(box[0].tolist()),
            bounds_max=tuple(box[1].tolist()),
            structural=each.id in structural,
            instance_of=each.instance_of,
        )
        for each, box in zip(snapshot.objects, np.nan_to_num(snapshot.bounds), strict=True)
    )
    return SceneRecord(
        scene=name,
        blend_name=source.name,
        blend_sha256=digest,
        blender_scene=scene.name,
        frame=scene.frame_current,
        metres_per_unit=snapshot.metres_per_unit,
        objects=objects,
        missing_files=opened.missing_files,
        notes=opened.notes,
    )


def run_record(
    plan: PlanFile, scene: bpy.types.Scene, session: RenderSession | None, previews: int, timings: Mapping[str, float]
) -> dict[str, Any]:
    """runs/<run>.json: what was asked for, and what answered."""
    view = scene.view_settings
    return {
        "format": "blendset-run",
        "run": plan.run,
        "scene": plan.scene,
        "config": config_to_dict(plan.config),
        "blender": bpy.app.version_string,
        "build_hash": bpy.app.build_hash.decode(),
        "device": session.device if session else "",
        "denoised": bool(session and session.can_denoise and plan.config.render.denoise),
        "lighting": plan.lighting,
        "view_transform": {
            "name": view.view_transform,
            "look": view.look,
            "exposure": view.exposure,
            "gamma": view.gamma,
        },
        "previews": previews,
        "timings": dict(timings),
    }

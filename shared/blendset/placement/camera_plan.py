# SPDX-License-Identifier: Apache-2.0
"""A plan on disk: the cameras to render of a scene, and the configuration that they came from."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from blendset.cameras import Camera
from blendset.config import LIGHTING, Config, config_from_dict, config_to_dict
from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset.naming import slugify
from blendset.placement.candidates import Candidate
from blendset.placement.gates import Verdict
from blendset.records import Vector, check_pose, read_json, read_record, write_json

PLAN_FORMAT = 1


@dataclass(frozen=True, eq=False)
class PlannedView:
    """A camera to render, as a plan file carries it. `exposure_ev` is None until a preview has decided it."""

    view_id: str
    subject: str
    subject_label: str
    view_set: str
    view_index: int
    camera: Camera
    score: float
    exposure_ev: float | None = None


@dataclass(frozen=True, eq=False)
class CameraPlan:
    """plans/<run>.json: what to render of which scene, and the configuration that it came from. `world_offset` is the
    scene's, as SceneRecord has it."""

    run: str
    scene: str
    config: Config
    lighting: str
    previewed: bool
    views: tuple[PlannedView, ...]
    world_offset: Vector = (0.0, 0.0, 0.0)


def name_previewed_run(plan: CameraPlan) -> str:
    """What a plan is called once previews have decided on it: not the run that chooses by previews itself."""
    views = " ".join(view.view_id for view in plan.views)
    return f"{plan.run}-{sha256_bytes(views.encode())[:6]}"


def group_by_set(views: Iterable[PlannedView]) -> list[tuple[PlannedView, ...]]:
    """Return the views of each set together, in the order of their first views; a view of no set is alone."""
    sets: dict[str, list[PlannedView]] = {}
    for view in views:
        sets.setdefault(view.view_set or view.view_id, []).append(view)
    return [tuple(members) for members in sets.values()]


def take_views(plan: CameraPlan, count: int) -> CameraPlan:
    """Return the plan with its first views only: as many sets as it takes to have `count` views, each set whole.

    A plan that previews have decided on gets another name where it loses views.
    """
    taken: list[PlannedView] = []
    for members in group_by_set(plan.views):
        if len(taken) < count:
            taken += members
    if len(taken) == len(plan.views):
        return plan
    shorter = replace(plan, views=tuple(taken))
    return replace(shorter, run=name_previewed_run(shorter)) if plan.previewed else shorter


def find_lost_view(plan: CameraPlan, subjects: Collection[str]) -> PlannedView | None:
    """Return the first view of a subject that is not among these ids; None where there is no such view."""
    return next((view for view in plan.views if view.subject and view.subject not in subjects), None)


def make_view_id(scene: str, candidate: Candidate, seed: int) -> str:
    """Subject and a hash of scene, camera, resolution and seed: the same camera gets the same name in every run.

    What only some cameras have, a name of their own or a clip range, is in the hash where they have it.
    """
    camera = candidate.camera
    numbers = [round(float(value), 4) + 0.0 for value in camera.world_from_camera[:3].ravel()]
    own = [value for value in (candidate.name, camera.clip) if value]
    text = json.dumps([scene, numbers, camera.width, camera.height, camera.focal_length_mm, camera.shift, seed, *own])
    subject = candidate.subject.id if candidate.subject else slugify(candidate.name or "scene")
    return f"{subject}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def make_planned_view(scene: str, verdict: Verdict, seed: int, exposure_ev: float | None = None) -> PlannedView:
    """One accepted candidate as a plan carries it."""
    candidate = verdict.candidate
    return PlannedView(
        view_id=make_view_id(scene, candidate, seed),
        subject=candidate.subject.id if candidate.subject else "",
        subject_label=candidate.subject.label if candidate.subject else "",
        view_set=candidate.view_set,
        view_index=candidate.view_index,
        camera=candidate.camera,
        score=round(verdict.score, 6),
        exposure_ev=exposure_ev,
    )


def camera_to_dict(camera: Camera) -> dict[str, Any]:
    """A camera as plan and funnel files carry it; `camera_from_dict` gives it back exactly."""
    return {
        "world_from_camera": [float(value) for value in camera.world_from_camera.ravel()],
        "width": camera.width,
        "height": camera.height,
        "focal_length_mm": camera.focal_length_mm,
        "shift": list(camera.shift),
        **({"clip": list(camera.clip)} if camera.clip else {}),
    }


def camera_from_dict(values: Mapping[str, Any]) -> Camera:
    """The inverse of `camera_to_dict`."""
    matrix = np.array(values["world_from_camera"], dtype=np.float64).reshape(4, 4)
    clip = values.get("clip")
    return Camera(
        matrix,
        values["width"],
        values["height"],
        values["focal_length_mm"],
        (values["shift"][0], values["shift"][1]),
        (clip[0], clip[1]) if clip else None,
    )


def write_plan(path: Path, plan: CameraPlan) -> None:
    """Write a plan atomically."""
    views = [{**vars(view), "camera": camera_to_dict(view.camera)} for view in plan.views]
    write_json(
        path,
        {
            "format": "blendset-plan",
            "version": PLAN_FORMAT,
            "run": plan.run,
            "scene": plan.scene,
            "lighting": plan.lighting,
            "previewed": plan.previewed,
            "config": config_to_dict(plan.config),
            "views": views,
            **({"world_offset": plan.world_offset} if any(plan.world_offset) else {}),
        },
    )


@dataclass(frozen=True)
class _CameraRow:
    world_from_camera: tuple[float, ...]
    width: int
    height: int
    focal_length_mm: float
    shift: tuple[float, float]
    clip: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or self.focal_length_mm <= 0:
            raise ValueError("a camera has a size and a focal length")
        check_pose(self.world_from_camera)


@dataclass(frozen=True)
class _ViewRow:
    view_id: str
    subject: str
    subject_label: str
    view_set: str
    view_index: int
    camera: _CameraRow
    score: float
    exposure_ev: float | None

    def __post_init__(self) -> None:
        _check_name(self.view_id)


@dataclass(frozen=True)
class _PlanRecord:
    format: str
    version: int
    run: str
    scene: str
    lighting: str
    previewed: bool
    config: dict[str, Any]
    views: tuple[_ViewRow, ...]
    world_offset: Vector = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_name(self.run)
        _check_name(self.scene)
        if self.lighting not in LIGHTING:
            raise ValueError(f"'{self.lighting}' is no lighting")


def _check_name(name: str) -> None:
    """Names become folders and files."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f'a name has only a-z, 0-9 and "-", unlike "{name}"')


def read_plan(path: Path) -> CameraPlan:
    """Read a plan; raises BlendsetError that names the file when it is none or is damaged."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != "blendset-plan" or values.get("version") != PLAN_FORMAT:
        cure = "make one with 'blendset plan SCENE --out'"
        raise BlendsetError(f"{path} is no Blendset plan of version {PLAN_FORMAT}; {cure}.")
    record = read_record(path, _PlanRecord)
    views = tuple(PlannedView(**{**vars(view), "camera": camera_from_dict(vars(view.camera))}) for view in record.views)
    config = config_from_dict(record.config, str(path))
    return CameraPlan(record.run, record.scene, config, record.lighting, record.previewed, views, record.world_offset)

# SPDX-License-Identifier: Apache-2.0
"""Planning: from a snapshot to ranked cameras and a funnel, as a stepper that a window can pump.

Nothing is rendered here. A plan file is what `render --plan` renders; a funnel file says what became of every
candidate.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from blendset.cameras import Camera
from blendset.config import LIGHTING, Config, config_from_dict, config_to_dict
from blendset.errors import BlendsetError
from blendset.placement.candidates import PRESETS, Candidate, Stage, through_the_room
from blendset.placement.gates import Ground, Verdict, prefer, screen
from blendset.placement.scene import Geometry, Snapshot
from blendset.placement.scoring import score_subject, score_view
from blendset.placement.selection import Audition, Unit
from blendset.placement.subjects import Found, Subject, find_subjects, rng_for
from blendset.records import atomic_write, read_json, read_record, sha256_bytes, slug, write_json

PLAN_FORMAT = 1
AT_ONCE = 64
"""Candidates per step: a window stays alive between them."""


@dataclass(frozen=True, eq=False)
class Planned:
    """All that planning found out: subjects, a verdict per candidate, and the units to audition in rank order."""

    found: Found
    verdicts: tuple[Verdict, ...]
    subject_units: tuple[list[Unit], ...]
    scenery: list[Unit]

    @property
    def seen_subjects(self) -> frozenset[str]:
        """Ids of the subjects that at least one camera passed every gate for."""
        return frozenset(
            unit[0].candidate.subject.id
            for units in self.subject_units
            for unit in units[:1]
            if unit[0].candidate.subject
        )

    def audition(self, config: Config) -> Audition:
        """A fresh selection over the accepted candidates."""
        return Audition(self.subject_units, self.scenery, config.cameras, config.preview.per_view)

    def ranking(self, config: Config, turned_down: Container[int] = ()) -> list[Verdict]:
        """The views of a plan without previews: every audition is taken to go well, but for verdicts (by Python's id)
        that somebody has turned down."""
        selection = self.audition(config)
        while (unit := selection.next()) is not None:
            selection.tell(not any(id(view) in turned_down for view in unit))
        return [view for unit in selection.accepted for view in unit]

    def sample(self, config: Config) -> list[Verdict]:
        """What to render of a published placement: all of it, or as many as asked for, drawn without regard to
        quality."""
        count, wanted = len(self.verdicts), config.cameras.views
        drawn = rng_for(config.seed, "sample").permutation(count)[:wanted]
        return [self.verdicts[index] for index in sorted(drawn.tolist())]

    def counts(self) -> dict[str, int]:
        """The funnel in short: candidates by reason, "accepted" among them."""
        counts = Counter(verdict.reason or "accepted" for verdict in self.verdicts)
        return {"candidates": len(self.verdicts), **dict(counts.most_common())}


@dataclass(frozen=True)
class Step:
    """Progress of planning."""

    what: str
    done: int
    total: int


def plan_steps(
    scene: Snapshot,
    geometry: Geometry,
    found: Found,
    config: Config,
    own_cameras: tuple[tuple[str, Camera], ...] = (),
) -> Iterator[Step | Planned]:
    """Yields a Step after every AT_ONCE candidates (`done` counts subjects), and the Planned last."""
    preset = PRESETS[config.cameras.preset]
    ground = Ground.of(scene, geometry, found.structural, config.gates)
    stage = Stage(scene, geometry, found.subjects, config, own_cameras)
    scenery = through_the_room(stage) if preset.scene_views and config.cameras.scene_views > 0 else iter(())
    total = max(len(found.subjects), 1)
    verdicts: list[Verdict] = []
    for done, group in enumerate(chain(preset.propose(stage), scenery)):
        screened: list[Verdict] = []
        for start in range(0, len(group), AT_ONCE):
            screened += screen(ground, group[start : start + AT_ONCE])
            yield Step("screening", min(done, total), total)
        if not (preset.whole_sets or preset.as_published):
            prefer(ground, screened)
        verdicts += screened
    for verdict in verdicts:
        if verdict.accepted:
            verdict.score = score_view(verdict)
    yield Step("screening", total, total)
    yield _ranked(scene, found, verdicts, preset.whole_sets)


def plan(
    scene: Snapshot, geometry: Geometry, config: Config, own_cameras: tuple[tuple[str, Camera], ...] = ()
) -> Planned:
    """`plan_steps` in one go."""
    found = find_subjects(scene, config.subjects, config.seed)
    *_, last = plan_steps(scene, geometry, found, config, own_cameras)
    assert isinstance(last, Planned)
    return last


def _ranked(scene: Snapshot, found: Found, verdicts: list[Verdict], whole_sets: bool) -> Planned:
    """Units by subject, the most promising subject first."""
    pools: dict[Subject | None, dict[object, list[Verdict]]] = {}
    for number, verdict in enumerate(verdicts):
        key: object = verdict.candidate.view_set if whole_sets else number
        pools.setdefault(verdict.candidate.subject, {}).setdefault(key, []).append(verdict)
    ready: dict[Subject | None, list[Unit]] = {}
    for subject, sets in pools.items():
        units = [tuple(views) for views in sets.values() if all(view.accepted for view in views)]
        if units:
            ready[subject] = units
    scenery = ready.pop(None, [])

    def promise(subject: Subject) -> float:
        return score_subject(scene, subject, max(view.score for unit in ready[subject] for view in unit))

    order = sorted((subject for subject in ready if subject is not None), key=lambda each: (-promise(each), each.id))
    return Planned(found, tuple(verdicts), tuple(ready[subject] for subject in order), scenery)


# ---- files -----------------------------------------------------------------------------------------------------------


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
class PlanFile:
    """plans/<run>.json: what to render of which scene, and the configuration that it came from."""

    run: str
    scene: str
    config: Config
    lighting: str
    previewed: bool
    views: tuple[PlannedView, ...]


def previewed_run(plan: PlanFile) -> str:
    """What a plan is called once previews have decided on it: not the run that chooses by previews itself."""
    views = " ".join(view.view_id for view in plan.views)
    return f"{plan.run}-{sha256_bytes(views.encode())[:6]}"


def view_id(scene: str, candidate: Candidate, seed: int) -> str:
    """Subject and a hash of scene, camera, resolution and seed: the same camera gets the same name in every run."""
    camera = candidate.camera
    figures = [round(float(value), 4) + 0.0 for value in camera.world_from_camera[:3].ravel()]
    text = json.dumps([scene, figures, camera.width, camera.height, camera.focal_length_mm, camera.shift, seed])
    subject = candidate.subject.id if candidate.subject else slug(candidate.name or "scene")
    return f"{subject}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def planned_view(scene: str, verdict: Verdict, seed: int, exposure_ev: float | None = None) -> PlannedView:
    """One accepted candidate as a plan carries it."""
    candidate = verdict.candidate
    return PlannedView(
        view_id=view_id(scene, candidate, seed),
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
    }


def camera_from_dict(values: Mapping[str, Any]) -> Camera:
    """The inverse of `camera_to_dict`."""
    matrix = np.array(values["world_from_camera"], dtype=np.float64).reshape(4, 4)
    return Camera(
        matrix, values["width"], values["height"], values["focal_length_mm"], (values["shift"][0], values["shift"][1])
    )


def write_plan(path: Path, plan_file: PlanFile) -> None:
    """Write a plan atomically."""
    views = [{**vars(view), "camera": camera_to_dict(view.camera)} for view in plan_file.views]
    write_json(
        path,
        {
            "format": "blendset-plan",
            "version": PLAN_FORMAT,
            "run": plan_file.run,
            "scene": plan_file.scene,
            "lighting": plan_file.lighting,
            "previewed": plan_file.previewed,
            "config": config_to_dict(plan_file.config),
            "views": views,
        },
    )


@dataclass(frozen=True)
class _CameraRow:
    world_from_camera: tuple[float, ...]
    width: int
    height: int
    focal_length_mm: float
    shift: tuple[float, float]

    def __post_init__(self) -> None:
        if len(self.world_from_camera) != 16 or min(self.width, self.height) < 1 or self.focal_length_mm <= 0:
            raise ValueError("a camera has 16 numbers, a size and a focal length")


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

    def __post_init__(self) -> None:
        _check_name(self.run)
        _check_name(self.scene)
        if self.lighting not in LIGHTING:
            raise ValueError(f"'{self.lighting}' is no lighting")


def _check_name(name: str) -> None:
    """Names become folders and files."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ValueError(f"'{name}' is no name of Blendset's")


def read_plan(path: Path) -> PlanFile:
    """Read a plan; raises BlendsetError that names the file when it is none or is damaged."""
    values = read_json(path)
    if not isinstance(values, dict) or values.get("format") != "blendset-plan" or values.get("version") != PLAN_FORMAT:
        cure = "make one with 'blendset plan SCENE --out'"
        raise BlendsetError(f"{path} is no Blendset plan of version {PLAN_FORMAT}; {cure}.")
    record = read_record(path, _PlanRecord)
    views = tuple(PlannedView(**{**vars(view), "camera": camera_from_dict(vars(view.camera))}) for view in record.views)
    config = config_from_dict(record.config, str(path))
    return PlanFile(record.run, record.scene, config, record.lighting, record.previewed, views)


def write_funnel(path: Path, scene: str, verdicts: tuple[Verdict, ...], seed: int) -> None:
    """One JSON line per candidate: camera, verdict, reason and figures."""
    lines = []
    for verdict in verdicts:
        candidate = verdict.candidate
        line = {
            "view_id": view_id(scene, candidate, seed),
            "subject": candidate.subject.id if candidate.subject else "",
            "accepted": verdict.accepted,
            "reason": verdict.reason,
            "score": round(verdict.score, 6),
            "figures": {name: round(value, 6) for name, value in sorted(verdict.figures.items()) if np.isfinite(value)},
            "camera": camera_to_dict(candidate.camera),
        }
        lines.append(json.dumps(line, ensure_ascii=False))
    atomic_write(path, "".join(f"{line}\n" for line in lines).encode())


def read_funnel(path: Path) -> Counter[str]:
    """Return a funnel file in short, as `Planned.counts` has it: candidates by reason, "accepted" among them."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        counts = Counter(json.loads(line)["reason"] or "accepted" for line in lines)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BlendsetError(f"{path} cannot be read ({error}); delete it, for it is needed for counts only.") from error
    return counts + Counter(candidates=len(lines))

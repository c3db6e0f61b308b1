# SPDX-License-Identifier: GPL-3.0-or-later
"""What planning reads of a scene, and the planning itself, step by step: the window and the worker both pump this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy

from blendset.cameras import Camera
from blendset.config import Config
from blendset.placement.planner import PlanningResult, Step, plan_steps
from blendset.placement.subjects import Subject, SubjectSearch, find_subjects

from ..scene.cameras import read_cameras
from ..scene.snapshot import OpenScene, open_scene


@dataclass(frozen=True, eq=False)
class SceneReading:
    """A scene as planning reads it, at the frame that it stood at: its snapshot, its subjects and the artist's own
    cameras by name."""

    opened: OpenScene
    search: SubjectSearch
    cameras: tuple[tuple[str, Camera], ...]

    @property
    def subjects(self) -> dict[str, Subject]:
        """The subjects by their ids."""
        return {subject.id: subject for subject in self.search.subjects}

    @property
    def notes(self) -> list[str]:
        """What a person should know of this scene."""
        missing = [f"file missing: {path}" for path in self.opened.missing_files]
        return [*self.opened.notes, *missing]


def read_scene(scene: bpy.types.Scene, layer: str, config: Config) -> SceneReading:
    """Read one view layer of a scene as it renders at the current frame."""
    opened = open_scene(scene, layer)
    search = find_subjects(opened.snapshot, config.subjects, config.seed)
    return SceneReading(opened, search, read_cameras(scene))


def plan_in_steps(reading: SceneReading, config: Config) -> Iterator[Step | PlanningResult]:
    """Yield progress often enough for a window to stay alive, and what planning found out last."""
    snapshot, geometry = reading.opened.snapshot, reading.opened.geometry
    yield from plan_steps(snapshot, geometry, reading.search, config, reading.cameras)

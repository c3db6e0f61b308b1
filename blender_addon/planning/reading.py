# SPDX-License-Identifier: GPL-3.0-or-later
"""What planning reads of a scene, and the planning itself, step by step: the window and the worker both pump this."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import bpy

from blendset.config import Config
from blendset.errors import BlendsetError
from blendset.placement.planner import PlanningResult, Step, plan_steps
from blendset.placement.subjects import Subject, SubjectSearch, find_subjects

from ..scene.names import decode_text
from ..scene.origin import open_near_origin
from ..scene.overrides import Overrides
from ..scene.snapshot import OpenScene


@dataclass(frozen=True, eq=False)
class SceneReading:
    """A scene as planning reads it, at the frame that it stood at: its snapshot with the artist's own cameras, and its
    subjects. `takes_cameras` is whether the preset takes those cameras."""

    opened: OpenScene
    search: SubjectSearch
    takes_cameras: bool

    @cached_property
    def subjects(self) -> dict[str, Subject]:
        """The subjects by their ids."""
        return {subject.id: subject for subject in self.search.subjects}

    @property
    def notes(self) -> list[str]:
        """What a person should know of this scene."""
        missing = [f"file missing: {path}" for path in self.opened.missing_files]
        cameras = self.opened.cameras.notes if self.takes_cameras else []
        return [decode_text(note) for note in (*self.opened.notes, *missing, *cameras)]


def read_scene(
    scene: bpy.types.Scene, layer: str, config: Config, overrides: Overrides, remarks: Sequence[str] = ()
) -> SceneReading:
    """Read one view layer of a scene as it renders at the current frame; `remarks` are the first of its notes. A scene
    far from the origin may be moved near it until the overrides end."""
    opened = open_near_origin(scene, layer, overrides)
    opened = replace(opened, notes=(*remarks, *opened.notes))
    search = find_subjects(opened.snapshot, config.subjects, config.seed)
    return SceneReading(opened, search, config.cameras.preset == "scene-cameras")


def plan_in_steps(reading: SceneReading, config: Config) -> Iterator[Step | PlanningResult]:
    """Yield progress often enough for a window to stay alive, and what planning found out last.

    Raises BlendsetError where the preset takes the scene's own cameras and none of them can be recorded.
    """
    opened = reading.opened
    if reading.takes_cameras and not opened.cameras.cameras:
        reasons = opened.cameras.list_left_out()
        raise BlendsetError(
            f"{Path(bpy.data.filepath).name or 'This file'} has no camera for --preset scene-cameras"
            f"{f' that can be recorded: {reasons}' if reasons else ''}; add one, or choose another preset."
        )
    yield from plan_steps(opened.snapshot, opened.geometry, reading.search, config, opened.cameras.cameras)

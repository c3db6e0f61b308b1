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
from blendset.placement.obstacles import format_counts
from blendset.placement.planner import PlanningResult, Step, plan_steps
from blendset.placement.subjects import STRUCTURE, Subject, SubjectSearch, find_subjects

from ..scene.display import use_srgb_display
from ..scene.drivers import describe_blocked_drivers
from ..scene.externals.files import Externals, find_externals
from ..scene.externals.stand_ins import use_stand_ins
from ..scene.layers import describe_layers, describe_unseen
from ..scene.names import decode_text
from ..scene.origin import open_near_origin
from ..scene.overrides import Overrides
from ..scene.snapshot import OpenScene

OWN_WORLD = {"sky", "studio"}
"""Kinds of added light that bring a world of their own, so that the file's does not show."""


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
        lacking = self.opened.externals.list_notes(path for paths in self.opened.lacking.values() for path in paths)
        cameras = self.opened.cameras.notes if self.takes_cameras else []
        counts = {reason: count for reason, count in self.search.left_out.items() if reason != STRUCTURE}
        left_out = [f"left out as subjects: {format_counts(counts)}"] if counts else []
        return [decode_text(note) for note in (*lacking, *self.opened.notes, *cameras, *left_out)]


def read_scene(
    scene: bpy.types.Scene, layer: str, config: Config, overrides: Overrides, remarks: Sequence[str] = ()
) -> SceneReading:
    """Read one view layer of a scene as it renders at the current frame; `remarks` are the first of its notes.

    Until the overrides end, the scene is shown on an sRGB display, neutral images may stand in for lost ones, and a
    scene far from the origin may be moved near it. Raises BlendsetError where the light itself lacks its picture and
    nothing stands in, and where this Blender's colour management has no sRGB.
    """
    externals = find_externals(scene, layer, world=config.render.lighting not in OWN_WORLD)
    neutral = config.render.missing == "neutral"
    if neutral:
        use_stand_ins(scene, layer, overrides)
    else:
        _refuse_lost_light(externals)
    opened = open_near_origin(scene, layer, overrides, externals, neutral)
    about = (
        *["neutral grey stands in for lost textures"] * (neutral and bool(opened.lacking or externals.light)),
        *use_srgb_display(scene, overrides),
        *describe_layers(scene, layer),
        *describe_unseen(opened.unseen),
        *describe_blocked_drivers(),
    )
    opened = replace(opened, notes=(*remarks, *about, *opened.notes))
    search = find_subjects(opened.snapshot, config.subjects, config.seed)
    return SceneReading(opened, search, config.cameras.preset == "scene-cameras")


def _refuse_lost_light(externals: Externals) -> None:
    if externals.light:
        loss = externals.light[0]
        raise BlendsetError(
            f"{loss.effect[0].upper()}{loss.effect[1:]}, for its texture is lost: {loss}; {loss.cure}, "
            "or use --missing neutral."
        )


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

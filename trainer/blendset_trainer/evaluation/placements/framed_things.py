# SPDX-License-Identifier: Apache-2.0
"""Judges a picture by the things that it shows, whatever its camera was aimed at.

A camera that was aimed at nothing has no subject, so the aim cannot be the yardstick of a comparison. The index pass of
every view says which things are in it; the best framed of them decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blendset.cameras import Array, Camera, angles_from_direction
from blendset.exr import Passes
from blendset.masks import Mask
from blendset.placement.framing import SAMPLES_ACROSS, Framing
from blendset.placement.reasons import Reason
from blendset.quality import FINISHED, compute_statistics, find_framing_faults, find_light_faults
from blendset.records import SceneObjectRecord, SceneRecord
from blendset_trainer.scoring.greys import Grey, to_grey
from blendset_trainer.stages.stage import View

NEARER = 0.999
"""A surface hides a box where it is nearer than this share of the way to the box."""
ROOM_THINGS, ROOM_SHARE = 3, 0.015
"""A picture of the room shows so many things whole, each of at least this share; together they cover what one must."""
FAULTS_OF_SIZE = {Reason.TOO_LITTLE_IN_PICTURE, Reason.TOO_MUCH_IN_PICTURE}


@dataclass(frozen=True, eq=False)
class SceneThing:
    """A thing of a scene that a picture may be about: the ids of its objects, and the box of each, (K, 2, 3)."""

    name: str
    objects: frozenset[int]
    boxes: Array

    @property
    def centre(self) -> Array:
        """The middle of all boxes, (3,)."""
        return np.asarray((self.boxes[:, 0].min(axis=0) + self.boxes[:, 1].max(axis=0)) / 2)


@dataclass(frozen=True)
class FramedThing:
    """How a thing stands in a picture, what is wrong with that, and from which side it is seen."""

    name: str
    framing: Framing
    faults: tuple[Reason, ...]
    azimuth_deg: float
    elevation_deg: float


@dataclass(frozen=True)
class ViewVerdict:
    """What is wrong with a picture's light, and the things in it, the best framed one first."""

    light_faults: tuple[Reason, ...]
    things: tuple[FramedThing, ...]

    @property
    def passes_heuristics(self) -> bool:
        """Whether it passes BlendFusion's four rules: something is in sight, not dark, not black, not flat."""
        return bool(self.things) and not self.light_faults

    @property
    def is_framed(self) -> bool:
        """Whether it shows a thing well, or the room, whatever the light."""
        return self._shows_something({Reason.DARK_SUBJECT})

    @property
    def is_usable(self) -> bool:
        """Whether it passes the heuristics, and shows a thing well, or the room, in good light."""
        return self.passes_heuristics and self._shows_something(set())

    def _shows_something(self, excused: set[Reason]) -> bool:
        """Tell whether one thing has no faults but those, or several of some size have none but those of their size."""
        whole = [
            thing
            for thing in self.things
            if thing.framing.subject_share >= ROOM_SHARE and not set(thing.faults) - excused - FAULTS_OF_SIZE
        ]
        return len(whole) >= ROOM_THINGS or any(not set(thing.faults) - excused for thing in whole)

    @property
    def usable_things(self) -> tuple[FramedThing, ...]:
        """The things that it shows well, in good light; none where the picture fails the heuristics."""
        return tuple(thing for thing in self.things if not thing.faults) if self.passes_heuristics else ()

    @property
    def faults(self) -> tuple[str, ...]:
        """Why it is not usable: the faults of the light, and of the best framed thing; empty where it is."""
        if self.is_usable:
            return ()
        return (*self.light_faults, *(self.things[0].faults if self.things else ("nothing in sight",)))


def find_things(scene: SceneRecord) -> tuple[SceneThing, ...]:
    """Return the things of a scene: all but its structure, with the parts of a thing together, by name."""
    parts: dict[str, list[SceneObjectRecord]] = defaultdict(list)
    for entry in scene.objects:
        if not entry.structural:
            parts[entry.thing or f"{entry.name}.{entry.id}"].append(entry)
    return tuple(
        SceneThing(
            name,
            frozenset(entry.id for entry in entries),
            np.array([(entry.bounds_min, entry.bounds_max) for entry in entries], np.float64),
        )
        for name, entries in sorted(parts.items())
    )


def judge_view(view: View, things: Sequence[SceneThing]) -> ViewVerdict:
    """Judge a picture by the limits of finished views (`blendset.quality.FINISHED`).

    Raises BlendsetError for a picture or passes that are missing or damaged.
    """
    grey, camera = to_grey(view.rgb), Camera.from_record(view.record.camera)
    in_sight = set(np.unique(view.passes.id).tolist())
    framed = [_judge_thing(thing, camera, view.passes, grey) for thing in things if thing.objects & in_sight]
    framed.sort(key=lambda thing: (len(thing.faults), -thing.framing.subject_share))
    return ViewVerdict(tuple(find_light_faults(compute_statistics(grey, None), FINISHED)), tuple(framed))


def _judge_thing(thing: SceneThing, camera: Camera, passes: Passes, grey: Grey) -> FramedThing:
    mask = np.isin(passes.id, list(thing.objects))
    framing = measure_boxed_framing(camera, thing, passes)
    faults = find_framing_faults(framing, FINISHED)
    if grey[mask].mean() < FINISHED.subject_mean:
        faults.append(Reason.DARK_SUBJECT)
    return FramedThing(thing.name, framing, tuple(faults), *angles_from_direction(camera.position - thing.centre))


def measure_boxed_framing(camera: Camera, thing: SceneThing, passes: Passes) -> Framing:
    """Return how a thing stands in a picture, its boxes taken for its extent, as `measure_framing` takes its surface.

    What lies outside the frame is truncated, unless the thing's pixels nowhere reach the edge: boxes are wider than
    what is in them. In the frame, a box is hidden where something else stands before it.
    """
    is_thing = np.isin(passes.id, list(thing.objects))
    share = float(is_thing.mean())
    grid = _make_grid(camera, thing)
    entry = _cast_at_boxes(camera.position, camera.make_rays(grid + 0.5), thing.boxes)
    grid, entry = grid[np.isfinite(entry)], entry[np.isfinite(entry)]
    inside = ((grid >= 0) & (grid < [camera.width, camera.height])).all(axis=1)
    if not inside.any():
        return Framing(share, 0.0, 1.0)
    columns, rows = grid[inside].T
    hidden = (passes.depth[rows, columns] < NEARER * entry[inside]) & ~is_thing[rows, columns]
    return Framing(share, float(1 - hidden.mean()), float(1 - inside.mean()) if _reaches_edge(is_thing) else 0.0)


def _reaches_edge(mask: Mask) -> bool:
    return bool(mask[[0, -1]].any() or mask[:, [0, -1]].any())


def _make_grid(camera: Camera, thing: SceneThing) -> Array:
    """Return pixels (N, 2), also beyond the frame, that cover a thing's boxes."""
    low, high = thing.boxes[:, :1], thing.boxes[:, 1:]
    corners = np.stack(np.meshgrid(*[[False, True]] * 3), axis=-1).reshape(1, 8, 3)
    pixels, depth = camera.project(np.where(corners, high, low).reshape(-1, 3))
    size = np.array([camera.width, camera.height])
    if (depth <= 0).any():
        pixels = np.concatenate([pixels[depth > 0], [-size, 2 * size]])
    first = np.floor(np.clip(pixels.min(axis=0), -size, 2 * size)).astype(int)
    last = np.ceil(np.clip(pixels.max(axis=0), -size, 2 * size)).astype(int)
    stride = max(1, int((last - first).max()) // SAMPLES_ACROSS)
    ranges = [np.arange(first[axis], last[axis] + 1, stride) for axis in range(2)]
    return np.stack(np.meshgrid(*ranges), axis=-1).reshape(-1, 2)


def _cast_at_boxes(origin: Array, rays: Array, boxes: Array) -> Array:
    """Return how far along rays (N, 3) the first of boxes (K, 2, 3) begins, (N,); inf where there is none."""
    first = np.full(len(rays), np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for low, high in boxes:
            ends = np.sort(np.stack([(low - origin) / rays, (high - origin) / rays]), axis=0)
            enters, leaves = np.nanmax(ends[0], axis=1), np.nanmin(ends[1], axis=1)
            met = (leaves >= 0) & (enters <= leaves * (1 + 1e-9))
            first = np.where(met, np.minimum(first, np.maximum(enters, 0)), first)
    return first

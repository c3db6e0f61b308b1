# SPDX-License-Identifier: Apache-2.0
"""Proposed cameras, by preset: ours, BlendFusion's and its baselines as published, orbits, and the artist's own.

A proposal is an iterator of alternatives, asked for the next one only when the last was rejected for want of room:
the same
direction with a shorter lens from nearer by. Presets yield proposals in groups, one group per subject, for the gates
to take together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from blendset.cameras import (
    Array,
    Camera,
    angles_from_direction,
    compute_framing_distance,
    compute_framing_position,
    direction_from_angles,
    make_facing_rotation,
    make_pose,
)
from blendset.config import Config
from blendset.placement.scene import Geometry, Snapshot
from blendset.placement.subjects import Subject, make_rng

GOLDEN_ANGLE = 180 * (3 - 5**0.5)
SQRT_2 = 2**0.5
"""Steps through the fills in a rhythm that neither azimuth nor elevation has."""
BLENDFUSION_FOV_DEG = 39.6
"""BlendFusion never states its lens; this is BlenderProc's default, 50 mm on 36 mm (notes: 0.691111 rad)."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A proposed camera. `subject` is None for a view of the scene itself; a view set is an ordered group of views."""

    camera: Camera
    subject: Subject | None = None
    view_set: str = ""
    view_index: int = 0
    name: str = ""

    @property
    def view_direction(self) -> Array:
        """From the subject's centre (or from what the camera looks at) to the camera, (3,)."""
        if self.subject is None:
            return np.asarray(self.camera.rotation[:, 2])
        return np.asarray(self.camera.position - self.subject.centre)

    @property
    def angles(self) -> tuple[float, float]:
        """Azimuth and elevation of the view direction in degrees."""
        return angles_from_direction(self.view_direction)

    @property
    def distance(self) -> float:
        """From the camera to the subject's centre; 0 for scene views."""
        return 0.0 if self.subject is None else float(np.linalg.norm(self.view_direction))


Proposal = Iterator[Candidate]
Group = list[Proposal]


@dataclass(frozen=True)
class PlacementContext:
    """What a preset may look at: the scene, its subjects, and the cameras that the file already has."""

    scene: Snapshot
    geometry: Geometry
    subjects: tuple[Subject, ...]
    config: Config
    scene_cameras: tuple[tuple[str, Camera], ...] = ()

    @property
    def view_size(self) -> tuple[int, int]:
        """Width and height of a view, in pixels."""
        return self.config.render.resolution, self.config.render.resolution


@dataclass(frozen=True)
class Preset:
    """How candidates are made. A preset with `render_all` is screened for its funnel, but all its views are rendered,
    whatever the gates decide: placements as published, and the cameras of the scene itself."""

    propose: Callable[[PlacementContext], Iterator[Group]]
    render_all: bool = False
    scene_views: bool = False
    whole_sets: bool = False


def frame_subject(
    subject: Subject, towards: Array, fill: float, focal_length_mm: float, size: tuple[int, int]
) -> Camera:
    """A camera in direction `towards` (3,) from the subject whose hull spans exactly `fill` of the tighter axis."""
    rotation = make_facing_rotation(towards)
    camera = Camera(np.eye(4), *size, focal_length_mm)
    position = compute_framing_position(subject.hull, rotation, fill * camera.half_tangents)
    return replace(camera, world_from_camera=make_pose(rotation, position))


# ---- ours ------------------------------------------------------------------------------------------------------------


def propose_around_subjects(stage: PlacementContext) -> Iterator[Group]:
    """Golden-angle azimuths with a phase of the subject's own, stratified elevations, several fills, shorter lenses
    as alternatives."""
    cameras = stage.config.cameras
    for subject in stage.subjects:
        phase = float(make_rng(stage.config.seed, "azimuth", subject.id).random()) * 360
        group: Group = []
        for k in range(cameras.candidates):
            elevation = _sample_elevation(_radical_inverse(k, 2), *cameras.elevation_deg)
            towards = direction_from_angles(phase + GOLDEN_ANGLE * k, elevation)
            group.append(
                _propose_shorter_lenses(
                    stage, subject, towards, cameras.fill[int(len(cameras.fill) * (k * SQRT_2 % 1))]
                )
            )
        yield group


def _propose_shorter_lenses(stage: PlacementContext, subject: Subject, towards: Array, fill: float) -> Proposal:
    for lens in stage.config.cameras.focal_length_mm:
        yield Candidate(frame_subject(subject, towards, fill, lens, stage.view_size), subject)


def _radical_inverse(k: int, base: int) -> float:
    """Van der Corput's low-discrepancy sequence in [0, 1)."""
    value, scale = 0.0, 1.0 / base
    k += 1
    while k:
        k, digit = divmod(k, base)
        value += digit * scale
        scale /= base
    return value


def _sample_elevation(u: float, low: float, high: float) -> float:
    """Stratified between the limits, denser around a third of the range, where people hold a camera."""
    mode = low + (high - low) / 3
    share = (mode - low) / max(high - low, 1e-9)
    if u < share:
        return low + float(np.sqrt(u * (high - low) * (mode - low)))
    return high - float(np.sqrt((1 - u) * (high - low) * (high - mode)))


def make_orbit_proposer(count: int) -> Callable[[PlacementContext], Iterator[Group]]:
    """Ordered view sets: `count` views around a subject at one elevation, 360/count degrees apart."""

    def propose(stage: PlacementContext) -> Iterator[Group]:
        cameras = stage.config.cameras
        for subject in stage.subjects:
            phase = float(make_rng(stage.config.seed, "orbit", subject.id).random()) * 360
            group: Group = []
            for attempt in range(max(1, cameras.candidates // count)):
                elevation = _sample_elevation(_radical_inverse(attempt, 2), *cameras.elevation_deg)
                fill = cameras.fill[attempt % len(cameras.fill)]
                lens = cameras.focal_length_mm[attempt // len(cameras.fill) % len(cameras.focal_length_mm)]
                start = phase + GOLDEN_ANGLE * attempt
                name = f"{subject.id}-orbit-{count}-{attempt}"
                rotations = [
                    make_facing_rotation(direction_from_angles(start + index * 360 / count, elevation))
                    for index in range(count)
                ]
                for index, camera in enumerate(_make_orbit_cameras(subject, rotations, fill, lens, stage.view_size)):
                    group.append(iter([Candidate(camera, subject, name, index)]))
            yield group

    return propose


def _make_orbit_cameras(
    subject: Subject, rotations: list[Array], fill: float, focal_length_mm: float, size: tuple[int, int]
) -> list[Camera]:
    """Cameras of these rotations at one distance from the subject's centre, the least that frames it in all of them."""
    camera = Camera(np.eye(4), *size, focal_length_mm)
    tangents = fill * camera.half_tangents
    distance = max(compute_framing_distance(subject.hull, subject.centre, rotation, tangents) for rotation in rotations)
    poses = [make_pose(rotation, subject.centre + distance * rotation[:, 2]) for rotation in rotations]
    return [replace(camera, world_from_camera=place) for place in poses]


def propose_scene_views(stage: PlacementContext) -> Iterator[Group]:
    """Scene views: free positions at a standing or sitting person's height above something to stand on."""
    rng = make_rng(stage.config.seed, "scene views")
    low, high = stage.scene.extent
    height = float(high[2] - low[2])
    lens = min(stage.config.cameras.focal_length_mm)
    count = 8 * stage.config.cameras.candidates
    points = low + rng.random((count, 3)) * (high - low)
    drop, _ = stage.geometry.cast(points, np.tile([0.0, 0.0, -1.0], (count, 1)))
    group: Group = []
    for point, fall in zip(points, drop, strict=True):
        if not np.isfinite(fall):
            continue
        standing = point - [0, 0, fall - height * rng.uniform(0.35, 0.6)]
        target = low + rng.uniform(0.25, 0.75, 3) * (high - low)
        backward = standing - target
        backward[2] = np.clip(backward[2], *(np.linalg.norm(backward[:2]) * np.tan(np.radians([-5, 20]))))
        if np.linalg.norm(backward) > 1e-6:
            group.append(
                iter([Candidate(Camera(make_pose(make_facing_rotation(backward), standing), *stage.view_size, lens))])
            )
    yield group


# ---- as published ----------------------------------------------------------------------------------------------------


def propose_blendfusion(stage: PlacementContext) -> Iterator[Group]:
    """BlendFusion's placement: 8 azimuths at elevation 0, vertical span of the bounding box filling 2/3 (arXiv
    2604.09022, 1.1)."""
    for subject in stage.subjects:
        yield [
            iter([Candidate(make_blendfusion_camera(subject.bounds, 45.0 * k, stage.view_size), subject)])
            for k in range(8)
        ]


def make_blendfusion_camera(bounds: Array, azimuth_deg: float, size: tuple[int, int]) -> Camera:
    """Algorithm 1 for one azimuth: d = h / (f tan(FOV_y / 2)) with h half the projected vertical span of the box (2,
    3)."""
    towards = direction_from_angles(azimuth_deg, 0.0)
    rotation = make_facing_rotation(towards)
    half_span = float((bounds[1] - bounds[0]) @ np.abs(rotation[:, 1])) / 2
    lens = 18.0 / np.tan(np.radians(BLENDFUSION_FOV_DEG / 2))
    distance = half_span / (2 / 3 * np.tan(np.radians(BLENDFUSION_FOV_DEG / 2)))
    return Camera(make_pose(rotation, bounds.mean(axis=0) + distance * towards), *size, float(lens))


def make_random_proposer(grid: int) -> Callable[[PlacementContext], Iterator[Group]]:
    """The paper's random baseline: a position in the scene's box, any azimuth, elevation within 30 degrees."""

    def propose(stage: PlacementContext) -> Iterator[Group]:
        rng = make_rng(stage.config.seed, "random", grid)
        points = _sample_anchors(stage, stage.config.cameras.views, grid, rng)
        yield [
            iter([_make_outward_candidate(stage, point, rng.uniform(0, 360), rng.uniform(-30, 30))]) for point in points
        ]

    return propose


def make_anchor_sweep_proposer(grid: int) -> Callable[[PlacementContext], Iterator[Group]]:
    """The paper's anchor baseline: 8 outward views, 45 degrees apart, from each anchor point in the scene's box."""

    def propose(stage: PlacementContext) -> Iterator[Group]:
        rng = make_rng(stage.config.seed, "anchor", grid)
        points = _sample_anchors(stage, -(-stage.config.cameras.views // 8), grid, rng)
        yield [iter([_make_outward_candidate(stage, point, 45.0 * k, 0.0)]) for point in points for k in range(8)]

    return propose


def sample_grid_points(low: Array, high: Array, count: int, cells: int, rng: np.random.Generator) -> Array:
    """At least `count` points (N, 3): uniform in the box, or for `cells` > 1 the same number in each of cells^3
    cells."""
    if cells <= 1:
        return np.asarray(low + rng.random((count, 3)) * (high - low))
    per_cell = -(-count // cells**3)
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    inside = (corner + rng.random((cells**3, per_cell, 3))) / cells
    return np.asarray(low + rng.permutation(inside.reshape(-1, 3)) * (high - low))


def _sample_anchors(stage: PlacementContext, count: int, grid: int, rng: np.random.Generator) -> Array:
    boxes = stage.scene.bounds
    if np.isnan(boxes).all():
        return np.zeros((0, 3))
    return sample_grid_points(np.nanmin(boxes[:, 0], axis=0), np.nanmax(boxes[:, 1], axis=0), count, grid, rng)


def _make_outward_candidate(
    stage: PlacementContext, point: Array, azimuth_deg: float, elevation_deg: float
) -> Candidate:
    rotation = make_facing_rotation(-direction_from_angles(azimuth_deg, elevation_deg))
    lens = 18.0 / np.tan(np.radians(BLENDFUSION_FOV_DEG / 2))
    return Candidate(Camera(make_pose(rotation, point), *stage.view_size, float(lens)))


def propose_scene_cameras(stage: PlacementContext) -> Iterator[Group]:
    """The cameras that the artist put into the file, each with its own framing and image shape."""
    resolution = stage.config.render.resolution
    yield [iter([Candidate(camera.resize(resolution), name=name)]) for name, camera in stage.scene_cameras]


PRESETS: dict[str, Preset] = {
    "blendset": Preset(propose_around_subjects, scene_views=True),
    "blendfusion": Preset(propose_blendfusion, render_all=True),
    "random": Preset(make_random_proposer(1), render_all=True),
    "random-grid": Preset(make_random_proposer(4), render_all=True),
    "anchor-sweep": Preset(make_anchor_sweep_proposer(1), render_all=True),
    "anchor-sweep-grid": Preset(make_anchor_sweep_proposer(4), render_all=True),
    "orbit-4": Preset(make_orbit_proposer(4), whole_sets=True),
    "orbit-21": Preset(make_orbit_proposer(21), whole_sets=True),
    "scene-cameras": Preset(propose_scene_cameras, render_all=True),
}


def stack_attribute(candidates: Sequence[Candidate], name: str) -> Array:
    """Stack a camera attribute of many candidates, for gates that work on all at once."""
    return np.array([getattr(each.camera, name) for each in candidates])

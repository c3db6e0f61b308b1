# SPDX-License-Identifier: Apache-2.0
"""Proposed cameras, by preset: ours, BlendFusion's and its baselines as published, orbits, and the artist's own.

A proposal is an iterator of alternatives: the next one, the same direction with a shorter lens from nearer by, is taken
only when the last was rejected for lack of room. Presets yield proposals in groups, one group per subject, which the
gates screen together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from blendset.placement.presets import PRESETS, Preset
from blendset.placement.scene import Geometry, Snapshot
from blendset.placement.subjects import Subject
from blendset.randomness import make_rng

GOLDEN_ANGLE = 180 * (3 - 5**0.5)
SQRT_2 = 2**0.5
"""Steps through the fills in a rhythm that neither azimuth nor elevation has."""
SLENDER, SLENDER_MARGIN = 0.35, 0.4
"""Of a thing whose second longest side is less than the first share of its longest, a picture leaves only so much of
the margin around it: it covers little enough."""
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
    """What a preset reads: the scene, its subjects, and the cameras that the file already has."""

    scene: Snapshot
    geometry: Geometry
    subjects: tuple[Subject, ...]
    config: Config
    scene_cameras: tuple[tuple[str, Camera], ...] = ()

    @property
    def preset(self) -> Preset:
        """The configured preset."""
        return PRESETS[self.config.cameras.preset]

    @property
    def view_size(self) -> tuple[int, int]:
        """Width and height of a view, in pixels."""
        return self.config.render.resolution, self.config.render.resolution


def frame_subject(
    subject: Subject, towards: Array, fill: float, focal_length_mm: float, size: tuple[int, int]
) -> Camera:
    """Return a camera in direction `towards` (3,) from the subject, whose hull spans exactly `fill` of the tighter
    axis."""
    rotation = make_facing_rotation(towards)
    camera = Camera(np.eye(4), *size, focal_length_mm)
    position = compute_framing_position(subject.hull, rotation, fill * camera.half_tangents)
    return replace(camera, world_from_camera=make_pose(rotation, position))


# ---- ours ------------------------------------------------------------------------------------------------------------


def propose_around_subjects(context: PlacementContext) -> Iterator[Group]:
    """Yield, per subject, views all around it: golden-angle azimuths from a random phase, stratified elevations,
    several fills, and shorter lenses as alternatives."""
    cameras = context.config.cameras
    for subject in context.subjects:
        phase = float(make_rng(context.config.seed, "azimuth", subject.id).random()) * 360
        group: Group = []
        for k in range(cameras.candidates):
            elevation = _sample_elevation(_radical_inverse(k, 2), *cameras.elevation_deg)
            towards = direction_from_angles(phase + GOLDEN_ANGLE * k, elevation)
            fill = widen_fill(subject, cameras.fill[int(len(cameras.fill) * (k * SQRT_2 % 1))])
            group.append(_propose_shorter_lenses(context, subject, towards, fill))
        yield group


def widen_fill(subject: Subject, fill: float) -> float:
    """Return the share of the frame that a subject is to span: more than `fill` where the subject is slender."""
    sides = np.sort(subject.bounds[1] - subject.bounds[0])
    return 1 - SLENDER_MARGIN * (1 - fill) if sides[1] < SLENDER * sides[2] else fill


def _propose_shorter_lenses(context: PlacementContext, subject: Subject, towards: Array, fill: float) -> Proposal:
    for lens in context.config.cameras.focal_length_mm:
        yield Candidate(frame_subject(subject, towards, fill, lens, context.view_size), subject)


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


def propose_orbits(context: PlacementContext) -> Iterator[Group]:
    """Yield, per subject, ordered view sets: the preset's count of views around it at one elevation, 360/count degrees
    apart."""
    cameras, count = context.config.cameras, context.preset.count
    for subject in context.subjects:
        phase = float(make_rng(context.config.seed, "orbit", subject.id).random()) * 360
        group: Group = []
        for attempt in range(max(1, cameras.candidates // count)):
            elevation = _sample_elevation(_radical_inverse(attempt, 2), *cameras.elevation_deg)
            fill = widen_fill(subject, cameras.fill[attempt % len(cameras.fill)])
            lens = cameras.focal_length_mm[attempt // len(cameras.fill) % len(cameras.focal_length_mm)]
            start = phase + GOLDEN_ANGLE * attempt
            name = f"{subject.id}-orbit-{count}-{attempt}"
            rotations = [
                make_facing_rotation(direction_from_angles(start + index * 360 / count, elevation))
                for index in range(count)
            ]
            for index, camera in enumerate(_make_orbit_cameras(subject, rotations, fill, lens, context.view_size)):
                group.append(iter([Candidate(camera, subject, name, index)]))
        yield group


def _make_orbit_cameras(
    subject: Subject, rotations: list[Array], fill: float, focal_length_mm: float, size: tuple[int, int]
) -> list[Camera]:
    """Return cameras of these rotations (3, 3) at one distance from the subject's centre, the least that frames it in
    all of them."""
    camera = Camera(np.eye(4), *size, focal_length_mm)
    tangents = fill * camera.half_tangents
    distance = max(compute_framing_distance(subject.hull, subject.centre, rotation, tangents) for rotation in rotations)
    poses = [make_pose(rotation, subject.centre + distance * rotation[:, 2]) for rotation in rotations]
    return [replace(camera, world_from_camera=pose) for pose in poses]


def propose_scene_views(context: PlacementContext) -> Iterator[Group]:
    """Yield views of the scene itself: free positions at a standing or sitting person's height above something to stand
    on."""
    rng = make_rng(context.config.seed, "scene views")
    low, high = context.scene.extent
    height = float(high[2] - low[2])
    lens = min(context.config.cameras.focal_length_mm)
    count = 8 * context.config.cameras.candidates
    points = low + rng.random((count, 3)) * (high - low)
    drop, _ = context.geometry.cast(points, np.tile([0.0, 0.0, -1.0], (count, 1)))
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
                iter([Candidate(Camera(make_pose(make_facing_rotation(backward), standing), *context.view_size, lens))])
            )
    yield group


# ---- as published ----------------------------------------------------------------------------------------------------


def propose_blendfusion(context: PlacementContext) -> Iterator[Group]:
    """Yield BlendFusion's placement: 8 azimuths at elevation 0, the bounding box's vertical span filling 2/3 (arXiv
    2604.09022, 1.1)."""
    for subject in context.subjects:
        yield [
            iter([Candidate(make_blendfusion_camera(subject.bounds, 45.0 * k, context.view_size), subject)])
            for k in range(8)
        ]


def make_blendfusion_camera(bounds: Array, azimuth_deg: float, size: tuple[int, int]) -> Camera:
    """Return the camera of its algorithm 1 for one azimuth: d = h / (f tan(FOV_y / 2)), where h is half the projected
    vertical span of the box (2, 3)."""
    towards = direction_from_angles(azimuth_deg, 0.0)
    rotation = make_facing_rotation(towards)
    half_span = float((bounds[1] - bounds[0]) @ np.abs(rotation[:, 1])) / 2
    lens = 18.0 / np.tan(np.radians(BLENDFUSION_FOV_DEG / 2))
    distance = half_span / (2 / 3 * np.tan(np.radians(BLENDFUSION_FOV_DEG / 2)))
    return Camera(make_pose(rotation, bounds.mean(axis=0) + distance * towards), *size, float(lens))


def propose_random_views(context: PlacementContext) -> Iterator[Group]:
    """Yield the paper's random baseline: a position in the scene's box, any azimuth, elevation within 30 degrees."""
    grid = context.preset.count
    rng = make_rng(context.config.seed, "random", grid)
    points = _sample_anchors(context, context.config.cameras.views, grid, rng)
    yield [
        iter([_make_outward_candidate(context, point, rng.uniform(0, 360), rng.uniform(-30, 30))]) for point in points
    ]


def propose_anchor_sweep(context: PlacementContext) -> Iterator[Group]:
    """Yield the paper's anchor baseline: 8 outward views, 45 degrees apart, from each anchor point in the scene's
    box."""
    grid = context.preset.count
    rng = make_rng(context.config.seed, "anchor", grid)
    points = _sample_anchors(context, -(-context.config.cameras.views // 8), grid, rng)
    yield [iter([_make_outward_candidate(context, point, 45.0 * k, 0.0)]) for point in points for k in range(8)]


def sample_grid_points(low: Array, high: Array, count: int, cells: int, rng: np.random.Generator) -> Array:
    """Sample at least `count` points (N, 3): uniform in the box, or for `cells` > 1 the same number in each of cells^3
    cells."""
    if cells <= 1:
        return np.asarray(low + rng.random((count, 3)) * (high - low))
    per_cell = -(-count // cells**3)
    corner = np.stack(np.meshgrid(*[np.arange(cells)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    inside = (corner + rng.random((cells**3, per_cell, 3))) / cells
    return np.asarray(low + rng.permutation(inside.reshape(-1, 3)) * (high - low))


def _sample_anchors(context: PlacementContext, count: int, grid: int, rng: np.random.Generator) -> Array:
    boxes = context.scene.bounds
    if np.isnan(boxes).all():
        return np.zeros((0, 3))
    return sample_grid_points(np.nanmin(boxes[:, 0], axis=0), np.nanmax(boxes[:, 1], axis=0), count, grid, rng)


def _make_outward_candidate(
    context: PlacementContext, point: Array, azimuth_deg: float, elevation_deg: float
) -> Candidate:
    rotation = make_facing_rotation(-direction_from_angles(azimuth_deg, elevation_deg))
    lens = 18.0 / np.tan(np.radians(BLENDFUSION_FOV_DEG / 2))
    return Candidate(Camera(make_pose(rotation, point), *context.view_size, float(lens)))


def propose_scene_cameras(context: PlacementContext) -> Iterator[Group]:
    """Yield the cameras that the artist put into the file, each with its framing and image shape."""
    resolution = context.config.render.resolution
    yield [iter([Candidate(camera.resize(resolution), name=name)]) for name, camera in context.scene_cameras]


def stack_attribute(candidates: Sequence[Candidate], name: str) -> Array:
    """Stack an attribute of the cameras of many candidates, (N, ...), for gates that work on all at once."""
    return np.array([getattr(candidate.camera, name) for candidate in candidates])

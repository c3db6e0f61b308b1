# SPDX-License-Identifier: Apache-2.0
"""The geometric gates: each takes many candidates of one subject, measures each, and accepts up to a threshold.

Cheapest first. A candidate stops at the first gate that rejects it; the gate's name is the reason code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, compute_pixel_centres, direction_from_angles, project_all
from blendset.config import GateSettings
from blendset.placement.candidates import Candidate, Proposal, stack_attribute
from blendset.placement.reasons import Reason
from blendset.placement.scene import OPEN_SKY_SHARE, Geometry, Snapshot, fibonacci_sphere, has_roof
from blendset.placement.subjects import Subject

GRID = 12
"""Rays across the image, in each direction, in `check_ray_grid`; 144 rays give shares to about 0.02."""
FIRST_POINTS = 16
FIRST_LOOK_SLACK = 0.2
"""So few points tell a share to about 0.12 only; what may still pass gets all points."""
AROUND = fibonacci_sphere(16)
RING = np.array([direction_from_angles(15.0 * k, 0.0) for k in range(24)])
"""Level directions in which to look for walls."""
SCENE_ROOM = 4.0
"""How much more room around it a view of the scene wants: a person steps away from walls and furniture."""
KNEE = 0.3
"""Share of the scene's height that is room enough: cameras for views of the scene stand above it."""
NEAR_WALL = 1.5
"""Distance from a subject's centre to a wall, in sizes of the subject, up to which it stands or hangs at that wall."""
WALL_SIDE_DEG = 30.0
"""Angle to the direction of such a wall up to which a camera stands on the wall's side."""
SAME_SURFACE = 0.94
"""Cosine between normals (20 degrees) up to which hits on one object count as one surface."""
HALF_WAY = 0.5
"""Share of the distance to the subject's centre up to which something counts as a near occluder."""
FOREGROUND_DEPTH = 0.35
"""Share of the median depth up to which something counts as foreground."""
CROWDED_FOREGROUND = 0.2
"""Most share of a scene view that may be foreground."""
BARE_SURFACES = 4
"""A scene view of fewer surfaces than this shows next to nothing."""
BARE_STRUCTURE = 0.85
"""Most share of a scene view that walls, floors and ceilings may take."""
BARE_EMPTY = 0.6
"""Most share of a scene view that may show nothing at all."""
AMBIENT, DIFFUSE = 0.35, 0.65
"""Weights of an even light and of a light at the camera, which stand in for the scene's own light in estimates."""


@dataclass(eq=False)
class Verdict:
    """What the gates decided about one candidate.

    `reason` is empty when it passed; `metrics` holds what each gate measured, by name; `visible_points` (P,) marks the
    subject's surface points that the camera sees.
    """

    candidate: Candidate
    reason: Reason | Literal[""] = ""
    metrics: dict[str, float] = field(default_factory=dict)
    visible_points: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    score: float = 0.0

    @property
    def accepted(self) -> bool:
        """Whether no gate has rejected it."""
        return not self.reason


@dataclass(frozen=True, eq=False)
class GateContext:
    """What the gates read: the scene, rays at it, which objects are structural, and the thresholds."""

    scene: Snapshot
    geometry: Geometry
    structural: NDArray[np.bool_]
    settings: GateSettings
    shell: Geometry
    roofed: bool

    @property
    def furnished(self) -> bool:
        """Whether there is anything but structure: a scene of one mesh is all walls and still worth a look."""
        return not self.structural[1:].all()

    @staticmethod
    def from_scene(
        scene: Snapshot, geometry: Geometry, structural: frozenset[int], settings: GateSettings
    ) -> GateContext:
        """Build the context of a scene; `structural` are the ids of its walls, floors and the like."""
        lookup = np.zeros(len(scene.objects) + 1, dtype=bool)
        lookup[sorted(structural)] = True
        shell = geometry.restrict_to(structural)
        return GateContext(scene, geometry, lookup, settings, shell, has_roof(scene, shell))

    def find_owners(self, triangles: NDArray[Any]) -> NDArray[np.int32]:
        """Return the object ids (N,) of hit triangles (N,), or of any shape alike; 0 where nothing was hit."""
        if not len(self.scene.owner):
            return np.zeros(triangles.shape, dtype=np.int32)
        return np.where(triangles >= 0, self.scene.owner[triangles], 0).astype(np.int32)


Gate = Callable[[GateContext, Sequence[Verdict]], None]


def screen_proposals(context: GateContext, proposals: Sequence[Proposal]) -> list[Verdict]:
    """Return one verdict per proposal: of the first alternative that passes every gate, else of the last one tried."""
    verdicts = [Verdict(next(proposal)) for proposal in proposals]
    pending = list(range(len(proposals)))
    while pending:
        run_gates(context, [verdicts[index] for index in pending])
        cramped = [index for index in pending if verdicts[index].reason in (Reason.CLEARANCE, Reason.BLOCKED)]
        pending = []
        for index in cramped:
            if (nearer := next(proposals[index], None)) is not None:
                verdicts[index] = Verdict(nearer)
                pending.append(index)
    return verdicts


def run_gates(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Run new verdicts, all of one subject or all of scene views, through the gates in order."""
    alive = list(verdicts)
    for gate in SUBJECT_GATES if alive and alive[0].candidate.subject else SCENE_GATES:
        if alive:
            gate(context, alive)
            alive = [verdict for verdict in alive if verdict.accepted]


def _apply_threshold(
    verdicts: Sequence[Verdict], reason: Reason, values: Array, accepted: NDArray[np.bool_], metric: str = ""
) -> None:
    """Keep the values (N,) under the metric's name (by default the reason's), and reject what is not accepted (N,)."""
    for verdict, value, good in zip(verdicts, values, accepted, strict=True):
        verdict.metrics[metric or reason.value] = float(value)
        if not good and verdict.accepted:
            verdict.reason = reason


def check_clearance(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Reject cameras with a surface nearer than a lens would fit, or a person for a view of the scene."""
    settings, scene = context.settings, context.scene
    if verdicts[0].candidate.subject:
        radius = min(settings.clearance * scene.diagonal, settings.clearance_metres / max(scene.metres_per_unit, 1e-9))
    else:
        height = float(scene.extent[1, 2] - scene.extent[0, 2])
        radius = min(SCENE_ROOM * settings.clearance * scene.diagonal, KNEE * height)
    near = context.geometry.is_near(stack_attribute([verdict.candidate for verdict in verdicts], "position"), radius)
    _apply_threshold(verdicts, Reason.CLEARANCE, near.astype(float), ~near)


def _cast_at_points(
    context: GateContext, verdicts: Sequence[Verdict], points: Array, subject: Subject
) -> NDArray[np.bool_]:
    """Return whether the subject is the first thing hit on the way to each of its surface points (P, 3), as (N, P)."""
    origins = np.repeat(stack_attribute([verdict.candidate for verdict in verdicts], "position"), len(points), axis=0)
    directions = np.tile(points, (len(verdicts), 1)) - origins
    _, triangles = context.geometry.cast(origins, directions)
    is_subject = np.zeros(len(context.scene.objects) + 1, dtype=bool)
    is_subject[sorted(subject.objects)] = True
    visible: NDArray[np.bool_] = is_subject[context.find_owners(triangles)].reshape(len(verdicts), len(points))
    return visible


def _get_subject(verdicts: Sequence[Verdict]) -> Subject:
    subject = verdicts[0].candidate.subject
    assert subject is not None
    return subject


def check_first_visibility(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Reject, by FIRST_POINTS of the surface points and a lower threshold, cameras that see too little of the
    subject."""
    subject = _get_subject(verdicts)
    visible = _cast_at_points(context, verdicts, subject.points[:FIRST_POINTS], subject)
    for verdict, row in zip(verdicts, visible, strict=True):
        verdict.visible_points = row
    share = visible.mean(axis=1)
    _apply_threshold(verdicts, Reason.BLOCKED, share, share >= context.settings.visible_fraction - FIRST_LOOK_SLACK)


def check_visibility(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Reject cameras that see too small a share of the subject's surface points."""
    subject = _get_subject(verdicts)
    rest = _cast_at_points(context, verdicts, subject.points[FIRST_POINTS:], subject)
    for verdict, row in zip(verdicts, rest, strict=True):
        verdict.visible_points = np.concatenate([verdict.visible_points, row])
    share = np.array([verdict.visible_points.mean() for verdict in verdicts])
    accepted = share >= context.settings.visible_fraction
    _apply_threshold(verdicts, Reason.HIDDEN, share, accepted, metric="visible_fraction")


def check_truncation(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Reject cameras with too large a share of the subject's surface points outside the frame."""
    cameras = [verdict.candidate.camera for verdict in verdicts]
    pixels, depth = project_all(cameras, _get_subject(verdicts).points)
    size = np.array([(camera.width, camera.height) for camera in cameras])[:, None]
    outside = 1 - ((depth > 0) & (pixels >= 0).all(axis=2) & (pixels <= size).all(axis=2)).mean(axis=1)
    _apply_threshold(verdicts, Reason.TRUNCATED, outside, outside <= context.settings.truncation)


def check_inside_solid(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Reject cameras from which too large a share of rays meet a back face first; single-sided walls do not count."""
    positions = stack_attribute([verdict.candidate for verdict in verdicts], "position")
    directions = np.tile(AROUND, (len(verdicts), 1))
    _, triangles = context.geometry.cast(np.repeat(positions, len(AROUND), axis=0), directions)
    back = (
        (directions * context.scene.normals[triangles]).sum(axis=1) > 0 if len(context.scene.normals) else triangles > 0
    )
    back &= (triangles >= 0) & ~context.structural[context.find_owners(triangles)]
    share = back.reshape(len(verdicts), len(AROUND)).mean(axis=1)
    sky = (triangles < 0).reshape(len(verdicts), len(AROUND))[:, AROUND[:, 2] > 0].mean(axis=1)
    for verdict, value in zip(verdicts, sky, strict=True):
        verdict.metrics["sky"] = float(value)
    _apply_threshold(verdicts, Reason.INSIDE_SOLID, share, share <= context.settings.back_faces)


def reject_unlikely_viewpoints(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Of the accepted views of one subject, reject those from where no person would look, unless there are no others.

    That is outside a scene with a roof, and between a thing and the wall that it stands or hangs at.
    """
    if context.roofed:
        outside = [verdict.metrics["sky"] > OPEN_SKY_SHARE for verdict in verdicts if verdict.accepted]
        _reject_worse(Reason.OUTDOORS, verdicts, outside)
    behind = _find_wall_side(context, [verdict for verdict in verdicts if verdict.accepted])
    _reject_worse(Reason.WALL_SIDE, verdicts, behind)


def _reject_worse(reason: Reason, verdicts: Sequence[Verdict], worse: Sequence[bool]) -> None:
    """Reject the accepted verdicts that are worse, where some are not."""
    if not all(worse):
        accepted = [verdict for verdict in verdicts if verdict.accepted]
        for verdict in (verdict for verdict, is_worse in zip(accepted, worse, strict=True) if is_worse):
            verdict.reason = reason


def _find_wall_side(context: GateContext, verdicts: Sequence[Verdict]) -> list[bool]:
    """Whether the camera is on the side, give or take 30 degrees, where the subject has a wall close by, and on the
    other none or a much further one."""
    if not verdicts or verdicts[0].candidate.subject is None:
        return [False] * len(verdicts)
    subject = _get_subject(verdicts)
    reach, _ = context.shell.cast(np.broadcast_to(subject.centre, RING.shape), RING)
    near = (reach < NEAR_WALL * subject.size) & (reach < np.roll(reach, len(RING) // 2) / 2)
    towards = np.array([verdict.candidate.view_direction for verdict in verdicts]) * [1, 1, 0]
    towards /= np.maximum(np.linalg.norm(towards, axis=1, keepdims=True), 1e-12)
    return list((towards @ RING[near].T > np.cos(np.radians(WALL_SIDE_DEG))).any(axis=1))


def check_ray_grid(context: GateContext, verdicts: Sequence[Verdict]) -> None:
    """Cast a coarse grid of rays through the image; reject by shares, near occluders and single surfaces.

    Its metrics are what scoring reads as well.
    """
    cameras = [verdict.candidate.camera for verdict in verdicts]
    rays = np.stack(
        [camera.make_rays(compute_pixel_centres(camera.width, camera.height, GRID, GRID)) for camera in cameras]
    )
    origins = np.repeat([camera.position for camera in cameras], GRID * GRID, axis=0)
    depth, triangles = context.geometry.cast(origins, rays.reshape(-1, 3))
    shape = rays.shape[:2]
    metrics = _compute_grid_metrics(context, verdicts, depth.reshape(shape), triangles.reshape(shape), rays)
    for row, verdict in enumerate(verdicts):
        verdict.metrics |= {name: float(values[row]) for name, values in metrics.items()}
        verdict.reason = _find_grid_reason(verdict, context.settings)


def _compute_grid_metrics(
    context: GateContext, verdicts: Sequence[Verdict], depth: Array, triangles: NDArray[Any], rays: Array
) -> dict[str, Array]:
    """Return metrics (N,) of ray grids (N, R), by name; depths are planar, because rays have planar length 1."""
    owners, struck = context.find_owners(triangles), triangles >= 0
    normals = (
        np.where(struck[..., None], context.scene.normals[triangles], 0.0) if struck.any() else np.zeros_like(rays)
    )
    albedo = context.scene.albedo[triangles] if struck.any() else np.zeros(struck.shape)
    cosine = np.abs((normals * rays).sum(axis=2)) / np.linalg.norm(rays, axis=2)
    shade = np.where(struck, albedo * (AMBIENT + DIFFUSE * cosine), 0.5)
    together = owners[:, :, None] == owners[:, None, :]
    alike = together & (normals @ normals.transpose(0, 2, 1) > SAME_SURFACE) & struck[:, :, None]
    surface = np.maximum(alike.sum(axis=2), 1)
    of_object = together.sum(axis=2)
    known = np.where(struck, depth, np.where(struck.any(axis=1, keepdims=True), np.nan, 1.0))
    spread = np.nan_to_num(np.nanstd(np.log(np.maximum(known, 1e-12)), axis=1))
    structural = context.structural[owners]
    metrics = {
        "one_surface": np.where(struck.any(axis=1), np.where(struck, surface, 0).max(axis=1) / depth.shape[1], 1.0),
        "foreground": ((depth < FOREGROUND_DEPTH * np.median(depth, axis=1, keepdims=True)) & ~structural).mean(axis=1),
        "empty": 1 - struck.mean(axis=1),
        "only_structure": structural.mean(axis=1) if context.furnished else np.zeros(len(depth)),
        "variety": -np.log(of_object / depth.shape[1]).mean(axis=1),
        "contrast": shade.std(axis=1),
        "depth_spread": spread,
        "objects": np.rint(np.where(struck, 1 / of_object, 0).sum(axis=1)),
        "surfaces": np.where(struck, 1 / surface, 0).sum(axis=1),
    }
    if verdicts[0].candidate.subject is None:
        return metrics
    return metrics | _compute_subject_metrics(verdicts, owners, depth, shade, surface)


def _compute_subject_metrics(
    verdicts: Sequence[Verdict], owners: NDArray[Any], depth: Array, shade: Array, surface: NDArray[Any]
) -> dict[str, Array]:
    """Return metrics (N,) of the subject, the same in all verdicts, in ray grids (N, R)."""
    subject = _get_subject(verdicts)
    is_subject = np.isin(owners, list(subject.objects))
    cameras = [verdict.candidate.camera for verdict in verdicts]
    ahead = np.array([-(subject.centre - camera.position) @ camera.rotation[:, 2] for camera in cameras])
    count = is_subject.sum(axis=1)
    inside = (shade * is_subject).sum(axis=1) / np.maximum(count, 1)
    outside = (shade * ~is_subject).sum(axis=1) / np.maximum((~is_subject).sum(axis=1), 1)
    both = (count > 0) & (count < is_subject.shape[1])
    return {
        "subject_share": is_subject.mean(axis=1),
        "near_occluder": ((depth < HALF_WAY * np.maximum(ahead, 0)[:, None]) & ~is_subject).mean(axis=1),
        "subject_contrast": np.where(both, np.abs(inside - outside), 0.0),
        "subject_faces": np.where(is_subject, 1 / surface, 0).sum(axis=1),
    }


def _find_grid_reason(verdict: Verdict, settings: GateSettings) -> Reason | Literal[""]:
    """Return why the metrics of the ray grid reject a view; "" where they do not."""
    metrics = verdict.metrics
    if metrics["one_surface"] > settings.one_surface:
        return Reason.ONE_SURFACE
    if verdict.candidate.subject is None:
        return _find_scene_view_reason(metrics)
    if metrics["subject_share"] < settings.subject_share_min and not verdict.candidate.subject.fringe:
        return Reason.TOO_LITTLE_IN_FRAME
    if metrics["subject_share"] > settings.subject_share_max:
        return Reason.TOO_MUCH_IN_FRAME
    if metrics["near_occluder"] > settings.near_occluder:
        return Reason.NEAR_OCCLUDER
    return ""


def _find_scene_view_reason(metrics: Mapping[str, float]) -> Reason | Literal[""]:
    if metrics["foreground"] > CROWDED_FOREGROUND:
        return Reason.TOO_CLOSE
    few, walls = metrics["surfaces"] < BARE_SURFACES, metrics["only_structure"] > BARE_STRUCTURE
    return Reason.BARE if few or walls or metrics["empty"] > BARE_EMPTY else ""


SUBJECT_GATES: tuple[Gate, ...] = (
    check_clearance,
    check_truncation,
    check_first_visibility,
    check_visibility,
    check_inside_solid,
    check_ray_grid,
)
SCENE_GATES: tuple[Gate, ...] = (check_clearance, check_inside_solid, check_ray_grid)

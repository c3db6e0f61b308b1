# SPDX-License-Identifier: Apache-2.0
"""Scenes of boxes, panels and balls whose answers are known by hand, and rays at them without Blender.

A scene is a list of solids; `snapshot` joins them as the add-on would, and `BruteForce` tries every triangle.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array, direction_from_angles
from blendset.config import Config, config_from_dict
from blendset.placement.sampling import sample_surface_points
from blendset.placement.scene import SceneObject, Snapshot
from blendset.placement.subjects import SURFACE_POINTS, Subject
from blendset.randomness import make_rng

Point = tuple[float, float, float]
PAIRS_AT_ONCE = 1 << 14
"""Ray and triangle pairs in one go: what stays in the cache is many times faster."""

# ---- solids ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Solid:
    """Vertices (V, 3) and triangles (T, 3), counter-clockwise as seen from outside, and what is said about them."""

    name: str
    vertices: Array
    triangles: NDArray[np.int32]
    albedo: float
    about: dict[str, Any]


UNIT_BOX = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
BOX_FACES = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]


def _turned(points: Array, turn_deg: float) -> Array:
    """Points (N, 3) turned about the vertical axis."""
    x, y, _ = direction_from_angles(turn_deg, 0.0)
    return np.asarray(points @ np.array([[x, y, 0], [-y, x, 0], [0, 0, 1.0]]))


def box(name: str, centre: Point, size: Point, turn_deg: float = 0.0, albedo: float = 0.5, **about: Any) -> Solid:
    """A closed box of twelve triangles."""
    triangles = [corners for a, b, c, d in BOX_FACES for corners in ((a, b, c), (a, c, d))]
    vertices = _turned(UNIT_BOX * size, turn_deg) + centre
    return Solid(name, vertices, np.array(triangles, dtype=np.int32), albedo, about)


def panel(name: str, centre: Point, across: Point, up: Point, albedo: float = 0.5, **about: Any) -> Solid:
    """A single-sided rectangle of two triangles with edges `across` and `up`; it faces across x up."""
    corners = [
        np.array(centre) + a * np.array(across) + b * np.array(up) for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]
    vertices = np.array(centre) + (np.array(corners) - centre) / 2
    return Solid(name, vertices, np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32), albedo, about)


def ball(name: str, centre: Point, radius: float, halvings: int = 1, albedo: float = 0.5, **about: Any) -> Solid:
    """An icosphere of 20 * 4**halvings triangles."""
    golden = (1 + 5**0.5) / 2
    vertices = np.array([[0, s, t * golden] for s in (-1, 1) for t in (-1, 1)])
    vertices = np.concatenate([np.roll(vertices, k, axis=1) for k in range(3)])
    gaps = np.linalg.norm(vertices[:, None] - vertices, axis=-1)
    near = gaps < 2.1
    triangles = [
        (a, b, c) for a in range(12) for b in range(a) for c in range(b) if near[a, b] and near[b, c] and near[a, c]
    ]
    corners = vertices[np.array(triangles)]
    for _ in range(halvings):
        a, b, c = (corners[:, k] for k in range(3))
        ab, bc, ca = (a + b) / 2, (b + c) / 2, (c + a) / 2
        corners = np.concatenate(
            [np.stack(each, axis=1) for each in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))]
        )
    corners = corners / np.linalg.norm(corners, axis=-1, keepdims=True)
    inward = (np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) * corners[:, 0]).sum(axis=1) < 0
    corners[inward] = corners[inward][:, ::-1]
    points, indices = np.unique(corners.reshape(-1, 3).round(9), axis=0, return_inverse=True)
    faces = indices.reshape(-1, 3).astype(np.int32)
    return Solid(name, points * radius + centre, faces, albedo, about)


def snapshot(solids: Iterable[Solid], scale: float = 1.0, metres_per_unit: float = 1.0) -> Snapshot:
    """The scene of these solids in this order: the first has id 1. What a solid does not say of itself is plain."""
    solids = list(solids)
    corners = np.cumsum([0, *(len(each.vertices) for each in solids)])
    faces = np.cumsum([0, *(len(each.triangles) for each in solids)]).tolist()
    objects = []
    for k, each in enumerate(solids):
        plain: dict[str, Any] = {"label": "", "collection": "", "materials": (), "unit": each.name}
        place = {"id": k + 1, "name": each.name, "triangles": (faces[k], faces[k + 1])}
        objects.append(SceneObject(**plain | place | each.about))
    return Snapshot(
        tuple(objects),
        scale * np.concatenate([np.zeros((0, 3)), *(each.vertices for each in solids)]),
        np.concatenate([np.zeros((0, 3)), *(each.triangles + corners[k] for k, each in enumerate(solids))]).astype(
            np.int32
        ),
        np.repeat([each.albedo for each in solids], np.diff(faces)).astype(np.float32),
        metres_per_unit,
    )


# ---- rays ------------------------------------------------------------------------------------------------------------


class BruteForce:
    """Implements blendset.placement.scene.Geometry: Möller and Trumbore's test of every ray against every triangle."""

    def __init__(self, scene: Snapshot, triangles: NDArray[np.intp] | None = None) -> None:
        self._scene = scene
        self._numbers = np.arange(len(scene.triangles)) if triangles is None else triangles
        corners = scene.vertices[scene.triangles[self._numbers]].reshape(-1, 3, 3)
        self._origin = corners.mean(axis=(0, 1)) if len(corners) else np.zeros(3)
        self._a = corners[:, 0] - self._origin
        self._b, self._c = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        self._normal = np.cross(self._b, self._c)
        # Each scalar triple product is one matrix product with the ray's six Plücker coordinates.
        self._u = np.concatenate([self._c, -np.cross(self._c, self._a)], axis=1).T
        self._v = np.concatenate([-self._b, np.cross(self._b, self._a)], axis=1).T

    def _chunks(self, count: int) -> Iterator[slice]:
        step = max(1, PAIRS_AT_ONCE // max(len(self._numbers), 1))
        return (slice(start, start + step) for start in range(0, count, step))

    def cast(self, origins: Array, directions: Array) -> tuple[Array, NDArray[np.intp]]:
        """First hits: distances in units of each direction's length, inf on a miss; triangle numbers, -1 on a miss."""
        distances, triangles = np.full(len(origins), np.inf), np.full(len(origins), -1)
        if len(self._numbers):
            for rows in self._chunks(len(origins)):
                distances[rows], triangles[rows] = self._first(origins[rows] - self._origin, directions[rows])
        return distances, triangles

    def _first(self, origins: Array, directions: Array) -> tuple[Array, NDArray[np.intp]]:
        lines = np.concatenate([np.cross(origins, directions), directions], axis=1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            inverse = -1 / (directions @ self._normal.T)
            u, v = (lines @ self._u) * inverse, (lines @ self._v) * inverse
            t = (origins @ self._normal.T - (self._a * self._normal).sum(axis=1)) * inverse
            t[~((u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (t > 1e-9))] = np.inf
        nearest = t.argmin(axis=1)
        distance = t[np.arange(len(t)), nearest]
        return distance, np.where(np.isfinite(distance), self._numbers[nearest], -1)

    def is_near(self, points: Array, radius: float) -> NDArray[np.bool_]:
        """Whether any surface lies within `radius` of each point."""
        result = np.zeros(len(points), dtype=bool)
        if len(self._numbers):
            for rows in self._chunks(len(points)):
                result[rows] = self._distances(points[rows] - self._origin).min(axis=1) <= radius
        return result

    def _distances(self, points: Array) -> Array:
        """From each point to each triangle (N, T): to its plane where the foot lies inside, else to an edge."""
        corners = [self._a, self._a + self._b, self._a + self._c]
        unit = self._normal / np.linalg.norm(self._normal, axis=1, keepdims=True)
        inside = np.ones((len(points), len(unit)), dtype=bool)
        nearest = np.full(inside.shape, np.inf)
        for start, end in zip(corners, corners[1:] + corners[:1], strict=True):
            edge, towards = end - start, points[:, None] - start
            along = np.clip((towards * edge).sum(axis=2) / (edge * edge).sum(axis=1), 0, 1)
            nearest = np.minimum(nearest, np.linalg.norm(towards - along[..., None] * edge, axis=2))
            inside &= (towards * np.cross(unit, edge)).sum(axis=2) >= 0
        height = np.abs(points @ unit.T - (self._a * unit).sum(axis=1))
        return np.where(inside, height, nearest)

    def restrict_to(self, ids: Iterable[int]) -> BruteForce:
        """The same scene with nothing but these objects."""
        return BruteForce(self._scene, self._scene.find_triangles(ids))


# ---- scenes, subjects and settings -----------------------------------------------------------------------------------


def config(preset: str = "blendset", **sections: dict[str, Any]) -> Config:
    """A configuration with few candidates, changed section by section."""
    cameras = {"preset": preset, "candidates": 16} | sections.pop("cameras", {})
    top = sections.pop("top", {})
    return config_from_dict({"cameras": cameras, **sections, **top})


def room_shell(width: float, depth: float, height: float) -> list[Solid]:
    """A floor, a ceiling and four walls, single-sided and facing inwards, with the floor's middle in the origin."""
    x, y, z = width / 2, depth / 2, height / 2
    return [
        panel("Plane", (0, 0, 0), (width, 0, 0), (0, depth, 0), albedo=0.3),
        panel("Plane.001", (0, 0, height), (0, depth, 0), (width, 0, 0), albedo=0.8),
        panel("Plane.002", (0, y, z), (width, 0, 0), (0, 0, height), albedo=0.7),
        panel("Plane.003", (0, -y, z), (-width, 0, 0), (0, 0, height), albedo=0.7),
        panel("Plane.004", (x, 0, z), (0, -depth, 0), (0, 0, height), albedo=0.6),
        panel("Plane.005", (-x, 0, z), (0, depth, 0), (0, 0, height), albedo=0.6),
    ]


def table(x: float, y: float, **about: Any) -> list[Solid]:
    """A top and four legs that nothing but contact holds together."""
    legs = [(x + dx, y + dy, 0.355) for dx in (-0.7, 0.7) for dy in (-0.3, 0.3)]
    top = box("Table", (x, y, 0.73), (1.6, 0.8, 0.04), albedo=0.4, **about)
    return [top, *(box(f"Leg.{k}", leg, (0.06, 0.06, 0.71)) for k, leg in enumerate(legs))]


def dresser(x: float, y: float) -> list[Solid]:
    """A chest with six knobs, each sunk a third into its front."""
    knobs = [(x + dx, y - 0.235, z) for dx in (-0.25, 0.25) for z in (0.2, 0.45, 0.7)]
    chest = box("Dresser", (x, y, 0.45), (1.0, 0.45, 0.9), albedo=0.25)
    return [chest, *(box(f"Knob.{k}", knob, (0.05, 0.06, 0.05), albedo=0.9) for k, knob in enumerate(knobs))]


FURNITURE = {"Table", "Dresser", "Cup.0", "Cup.1", "Cup.2", "Sofa", "Lamp", "Pouf", "Crate", "Stool", "Basket", "Vase"}
"""What a person would count in `furnished_room`."""


def furnished_room(scale: float = 1.0, metres_per_unit: float = 1.0, more: Iterable[Solid] = ()) -> Snapshot:
    """A living room of 6 x 5 x 2.8 with a dozen things in it, none of them parented or labelled."""
    solids = [
        *room_shell(6, 5, 2.8),
        *table(-1.2, 0.4),
        *(box(f"Cup.{k}", (-1.6 + 0.4 * k, 0.45, 0.8), (0.09, 0.09, 0.1), albedo=0.9) for k in range(3)),
        *dresser(1.6, 2.1),
        box("Sofa", (1.7, -1.4, 0.25), (2.0, 0.85, 0.5), albedo=0.2, unit="Sofa"),
        box("Sofa back", (1.7, -1.75, 0.6), (2.0, 0.15, 0.5), albedo=0.2, unit="Sofa"),
        ball("Lamp", (-2.4, 1.9, 1.5), 0.25, halvings=2, albedo=0.9),
        ball("Pouf", (0.1, -1.2, 0.3), 0.3, albedo=0.6),
        box("Crate", (-2.3, -1.8, 0.25), (0.6, 0.5, 0.5), turn_deg=20, albedo=0.35),
        box("Stool", (0.3, 1.4, 0.25), (0.35, 0.35, 0.5), turn_deg=40, albedo=0.45),
        box("Basket", (2.6, 0.3, 0.2), (0.4, 0.35, 0.4), albedo=0.55),
        ball("Vase", (1.6, 2.1, 1.05), 0.15, albedo=0.8),
        *more,
    ]
    return snapshot(solids, scale, metres_per_unit)


def subject_of(scene: Snapshot, *ids: int, points: Sequence[Sequence[float]] | None = None) -> Subject:
    """A subject made of these objects, without asking whether it deserves to be one."""
    triangles = scene.find_triangles(ids)
    spread = sample_surface_points(scene, triangles, SURFACE_POINTS, make_rng(0, *ids))
    return Subject(
        id=f"subject-{ids[0]}",
        label=scene.objects[ids[0] - 1].label,
        objects=frozenset(ids),
        copy=0,
        hull=scene.vertices[np.unique(scene.triangles[triangles])],
        points=spread if points is None else np.array(points, dtype=float),
        area=float(scene.areas[triangles].sum()),
    )

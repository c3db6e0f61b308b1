# SPDX-License-Identifier: Apache-2.0
"""The structure of a scene: walls, floors, ceilings, terrain and the shells of rooms.

Names are useless in most files and metres are wrong in many, so the rules are about shape and size relative to the
scene.
"""

from __future__ import annotations

import re

import numpy as np

from blendset.cameras import Array
from blendset.placement.sampling import sample_surface_points
from blendset.placement.scene import GROUND_RATIO, SceneObject, Snapshot, fibonacci_sphere
from blendset.randomness import make_rng

STRUCTURAL_NAME = re.compile(r"(?:^|[^a-z])(wall|floor|ceil|roof|terrain|ground|room|shell|backdrop)", re.IGNORECASE)
"""Names of walls, floors and the like; they count for large objects only."""
STRUCTURAL_THINNESS = 0.05
"""An object is flat like a wall when its least side is so much of its longest."""
STRUCTURAL_SPREAD = 0.2
"""A flat object is structural when it covers so much of the scene's footprint."""
STRUCTURAL_SIZE = 0.35
"""An object is large when its diagonal is so much of the scene's."""
ROOM_SHARE = 0.5
"""A large object that holds, or carries, more of the scene's other objects than this is a shell, or terrain."""
CONTENT_SIZE = 0.01
"""Objects of less than this share of a large object's diagonal say nothing about what it is."""
ROOM_CLEARANCE, ROOM_COVER = 0.1, 0.6
"""A shell has places inside that are so far from it, in its diagonals, and that it hides from so many directions."""
ROOM_FILL, ROOM_SPREAD = 0.35, 0.05
"""What is in a room fills no more of it than this, and stands about in at least so much of its width."""
SHELL_POINTS, SHELL_PLACES = 2048, 64
"""Points on a shell and places in its box that tell whether there is room inside."""
TERRAIN_FLATNESS, TERRAIN_TOP = 0.35, 0.95
"""Terrain is at most so high as a share of its longest side; what stands on it stands below so much of its height."""
TABLE_TOP_SHARE = 0.5
"""A level surface with more of the other objects below it than this is a table top, if there is no floor beneath."""
LEGS, LEG_SLENDERNESS, LEG_GAP = 3, 0.35, 0.05
"""A table top has so many legs; their sides are less than this share of their height, and so is the gap to the top."""
WALL_SECTORS, ENCLOSED_SHARE, WALL_HEIGHT = 16, 0.45, 0.3
"""A scene is enclosed when walls of so much of its height stand in so many of these sectors around its middle."""
ROOF_HEIGHT = 0.4
"""Share of a scene's height above which structure is a roof, or a ceiling."""
FAR_WALL = 0.2
"""Least distance of a wall of a lone mesh from the scene's middle, in diagonals of the scene."""
UPRIGHT = 0.5
"""Greatest height of the unit normal of a wall."""


def find_structural_objects(scene: Snapshot) -> frozenset[int]:
    """Return the ids of walls, floors, ceilings, terrain and room shells; a lone object is none."""
    boxes, diagonal = scene.bounds, scene.diagonal
    sizes = boxes[:, 1] - boxes[:, 0]
    footprint = float(np.prod((scene.extent[1] - scene.extent[0])[:2])) or 1.0
    if np.isfinite(sizes[:, 0]).sum() < 2:
        return frozenset()
    least, second, most = np.sort(sizes, axis=1).T
    wide = (least < STRUCTURAL_THINNESS * np.maximum(most, 1e-12)) & (second * most > STRUCTURAL_SPREAD * footprint)
    large = np.linalg.norm(sizes, axis=1) > STRUCTURAL_SIZE * diagonal
    found = set()
    for index in np.flatnonzero(wide | large):
        entry = scene.objects[index]
        if entry.label or entry.triangles[0] == entry.triangles[1]:
            continue
        if wide[index] or STRUCTURAL_NAME.search(entry.name) or _is_shell_or_terrain(scene, entry):
            found.add(entry.id)
    return frozenset(found - _find_table_tops(scene, found))


def _is_shell_or_terrain(scene: Snapshot, entry: SceneObject) -> bool:
    """Whether a large object holds most of the others in a room inside it, or carries them on its hills."""
    box = scene.bounds[entry.id - 1]
    others = np.delete(scene.bounds, entry.id - 1, axis=0)
    diagonals = np.linalg.norm(others[:, 1] - others[:, 0], axis=1)
    contents = others[diagonals >= CONTENT_SIZE * np.linalg.norm(box[1] - box[0])]  # not those without a box, either
    if not len(contents):
        return False
    middles = contents.mean(axis=1)
    holds_most = compute_share_inside(box, middles) > ROOM_SHARE
    if holds_most and not _is_filled(box, contents) and _has_room_inside(scene, entry, box):
        return True
    size = box[1] - box[0]
    if size[2] > TERRAIN_FLATNESS * size.max():
        return False
    feet = np.concatenate([middles[:, :2], contents[:, 0, 2:]], axis=1)
    below_top = np.stack([box[0], [box[1, 0], box[1, 1], box[0, 2] + TERRAIN_TOP * size[2]]])
    return compute_share_inside(below_top, feet) > ROOM_SHARE


def _is_filled(box: Array, contents: Array) -> bool:
    """Whether boxes (N, 2, 3) fill the one that they lie in, or share its axis, as what a bottle holds and wears."""
    sizes = np.clip(np.minimum(contents[:, 1], box[1]) - np.maximum(contents[:, 0], box[0]), 0, None)
    fill = sizes.prod(axis=1).sum() / max(float((box[1] - box[0]).prod()), 1e-12)
    middles = contents.mean(axis=1)
    inside = middles[((middles > box[0]) & (middles < box[1])).all(axis=1), :2]
    spread = np.ptp(inside, axis=0).max() / max(float((box[1] - box[0])[:2].max()), 1e-12) if len(inside) > 1 else 1.0
    return bool(fill > ROOM_FILL or spread < ROOM_SPREAD)


def _has_room_inside(scene: Snapshot, entry: SceneObject, box: Array) -> bool:
    """Whether there is a place in an object's box that is far from its surface and hidden by it all around."""
    rng = make_rng(0, "room inside", entry.name)
    surface = sample_surface_points(scene, scene.find_triangles([entry.id]), SHELL_POINTS, rng)
    spots = box[0] + rng.random((SHELL_PLACES, 3)) * (box[1] - box[0])
    towards = surface - spots[:, None]
    distances = np.linalg.norm(towards, axis=2)
    roomy = distances.min(axis=1) > ROOM_CLEARANCE * np.linalg.norm(box[1] - box[0])
    around = fibonacci_sphere(32)
    sectors = np.argmax((towards[roomy] / distances[roomy, :, None]) @ around.T, axis=2)
    cover = [len(np.unique(row)) / len(around) for row in sectors]
    return max(cover, default=0.0) >= ROOM_COVER


def is_enclosed(scene: Snapshot, structural: frozenset[int]) -> bool:
    """Return whether walls stand around at least half of a scene's middle: it is a room, or one that is cut open.

    Of a lone mesh those faces are walls that look at the middle from afar.
    """
    is_lone = len(scene.objects) == 1
    standing = [1] if is_lone else [id_ for id_ in structural if not is_lying(scene.bounds[id_ - 1])]
    triangles = scene.find_triangles(standing)
    if not len(triangles):
        return False
    triangles = triangles[np.abs(scene.normals[triangles, 2]) < UPRIGHT]
    low, high = scene.extent
    middle = (low + high) / 2
    if is_lone:
        towards = middle - scene.vertices[scene.triangles[triangles]].mean(axis=1)
        is_far = np.linalg.norm(towards, axis=1) > FAR_WALL * scene.diagonal
        triangles = triangles[is_far & ((towards * scene.normals[triangles]).sum(axis=1) > 0)]
    if not len(triangles):
        return False
    walls = sample_surface_points(scene, triangles, SHELL_POINTS, make_rng(0, "walls"))
    walls = walls[np.linalg.norm(walls - middle, axis=1) < scene.diagonal]
    return _count_walls(walls - middle, WALL_HEIGHT * float(high[2] - low[2])) >= ENCLOSED_SHARE * WALL_SECTORS


def _count_walls(points: Array, height: float) -> int:
    """Count the sectors around the vertical axis in which points (N, 3) reach over such a height at the origin's."""
    sectors = np.floor(np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) * WALL_SECTORS)
    low, high = points[:, 2] < -height / 2, points[:, 2] > height / 2
    return len(np.intersect1d(sectors[low], sectors[high]))


def drop_roofs(scene: Snapshot, structural: frozenset[int]) -> frozenset[int]:
    """Return the structure of a scene without walls around: what is high up is the roof of a building that stands in
    it, and part of that building."""
    low, high = scene.extent
    level = low[2] + ROOF_HEIGHT * (high[2] - low[2])
    widest = GROUND_RATIO * np.linalg.norm((high - low)[:2])
    sizes = scene.bounds[:, 1] - scene.bounds[:, 0]
    wide = np.linalg.norm(sizes[:, :2], axis=1) > widest
    return frozenset(id_ for id_ in structural if wide[id_ - 1] or scene.bounds[id_ - 1, 0, 2] < level)


def is_lying(box: Array) -> bool:
    """Return whether a box (2, 3) is that of a level surface, whose rim is no wall."""
    size = box[1] - box[0]
    return bool(size[2] < STRUCTURAL_THINNESS * size.max())


def _find_table_tops(scene: Snapshot, structural: set[int]) -> set[int]:
    """Level surfaces that stand on legs, or with most other things below and no floor beneath: the top of a table that
    is nearly all there is."""
    boxes = scene.bounds
    middles = boxes.mean(axis=1)[:, 2]
    tops = set()
    for id_ in structural:
        below = np.delete(middles, id_ - 1) < middles[id_ - 1]
        floors = [other for other in structural if other != id_ and middles[other - 1] < middles[id_ - 1]]
        most_below = below.any() and below.mean() > TABLE_TOP_SHARE and not floors
        if is_lying(boxes[id_ - 1]) and (most_below or _count_legs(boxes, boxes[id_ - 1]) >= LEGS):
            tops.add(id_)
    return tops


def _count_legs(boxes: Array, top: Array) -> int:
    """Count the boxes (N, 2, 3) that are slender, stand within the footprint of a level one (2, 3), and end at it."""
    sizes = boxes[:, 1] - boxes[:, 0]
    slack = LEG_GAP * sizes[:, 2]
    slender = np.maximum(sizes[:, 0], sizes[:, 1]) < LEG_SLENDERNESS * sizes[:, 2]
    ends = (boxes[:, 1, 2] >= top[0, 2] - slack) & (boxes[:, 1, 2] <= top[1, 2] + slack)
    within = ((boxes[:, 0] >= top[0] - slack[:, None]) & (boxes[:, 1] <= top[1] + slack[:, None]))[:, :2].all(axis=1)
    return int((slender & ends & within).sum())


def compute_share_inside(box: Array, points: Array) -> float:
    """Return the share of points (N, 3) inside a box (2, 3)."""
    return float(np.mean(((points > box[0]) & (points < box[1])).all(axis=1)))

# SPDX-License-Identifier: Apache-2.0
"""Floor, walls and ceiling: which objects they are, and which of their pixels are which."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from blendset.records import SceneObjectRecord, SceneRecord
from blendset_trainer.captioning.seeing.colours import colour_of
from blendset_trainer.captioning.seeing.gbuffer import LEVEL, UPRIGHT, Mask, Picture
from blendset_trainer.captioning.seeing.materials import material_of
from blendset_trainer.language.lexicon import noun_of

SURFACES = frozenset("floor wall ceiling ground roof terrain".split())


@dataclass(frozen=True, eq=False)
class Surface:
    """All that is seen of the floor, the walls, the ceiling, ..."""

    noun: str
    mask: Mask
    colour: str
    material: str
    lightness: float

    @property
    def share(self) -> float:
        return float(self.mask.mean())


def is_surface(each: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Walls, floors and the like: by the scene's own word, by name, or nameless but placed and shaped as they are."""
    if each.structural or noun_of(each.label).split(" ")[-1] in SURFACES:
        return True
    return not each.label and _is_nameless_surface(each, scene)


def _is_nameless_surface(each: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Boards at the very bottom, slabs that bear most of the scene, and panels as long as much of the floor."""
    floors = [other for other in scene.objects if other.structural]
    if not floors:
        return False
    size = np.subtract(each.bounds_max, each.bounds_min)
    widest = max(max(np.subtract(other.bounds_max, other.bounds_min)[:2]) for other in floors)
    lies = size[2] < 0.03 * size.max() and each.bounds_max[2] < min(f.bounds_min[2] for f in floors) + 0.05 * size.max()
    stands = size[:2].min() < 0.03 * size.max() and size[2] > 0.1 * size.max() and size[:2].max() > 0.5 * widest
    return bool(lies or stands or (size[2] < 0.15 * size.max() and _bears_most(each, scene)))


def _bears_most(each: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Whether most of the scene stands over it, as over a base plate."""
    low, high = np.array([each.bounds_min, each.bounds_max])
    centres = np.mean([(other.bounds_min, other.bounds_max) for other in scene.objects], axis=1)
    over = ((centres[:, :2] > low[:2]) & (centres[:, :2] < high[:2])).all(axis=1) & (centres[:, 2] > high[2])
    return bool(over.mean() > 0.5)


def surfaces_of(picture: Picture, objects: Sequence[SceneObjectRecord]) -> Iterator[Surface]:
    """Surfaces by noun, colour and material: by their label where it says so, else by where each pixel faces."""
    bottom = min((each.bounds_min[2] for each in objects), default=0.0)
    top = max((each.bounds_max[2] for each in objects), default=0.0)
    found: dict[tuple[str, str, str], Mask] = {}
    for each in objects:
        for noun, mask in _faces(picture, each, bottom + 0.15 * (top - bottom)):
            if mask.any():
                key = noun, colour_of(picture.lab[mask]), material_of(picture, mask, [each])
                found[key] = found.get(key, False) | mask
    for (noun, colour, material), mask in found.items():
        yield Surface(noun, mask, colour, material, float(np.median(picture.lab[mask][:, 0])))


def _faces(picture: Picture, each: SceneObjectRecord, low: float) -> Iterator[tuple[str, Mask]]:
    mask = picture.ids == each.id
    noun = noun_of(each.label).split(" ")[-1]
    if noun in SURFACES:
        yield noun, mask
        return
    up = picture.normals[..., 2]
    yield "floor", mask & (up > LEVEL) & (picture.positions[..., 2] <= low)
    yield "wall", mask & (np.abs(up) < UPRIGHT)
    yield "ceiling", mask & (up < -LEVEL)

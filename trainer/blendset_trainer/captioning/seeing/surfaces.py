# SPDX-License-Identifier: Apache-2.0
"""Surfaces: floor, walls and ceiling, which objects form them and which pixels show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from blendset.masks import Mask
from blendset.records import SceneObjectRecord, SceneRecord
from blendset_trainer.captioning.seeing.colours import name_colour
from blendset_trainer.captioning.seeing.gbuffer import MAX_UPRIGHT_Z, MIN_LEVEL_Z, GBuffer
from blendset_trainer.captioning.seeing.materials import find_material
from blendset_trainer.language.lexicon import extract_noun

SURFACE_NOUNS = frozenset("floor wall ceiling ground roof terrain".split())


@dataclass(frozen=True, eq=False)
class Surface:
    """All visible pixels of the floor, the walls, the ceiling, ...; `mask` is (H, W), `lightness` CIELAB's median."""

    noun: str
    mask: Mask
    colour: str
    material: str
    lightness: float

    @property
    def share(self) -> float:
        """Its share of the picture, 0 to 1."""
        return float(self.mask.mean())


def is_surface(record: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Whether an object is a wall, a floor or the like: structural, so named, or nameless, whole and so shaped."""
    if record.structural or extract_noun(record.label).split(" ")[-1] in SURFACE_NOUNS:
        return True
    return not record.label and not record.thing and _is_nameless_surface(record, scene)


def _is_nameless_surface(record: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Whether an object is a wall, a floor or the like: structural, so named, or nameless but shaped like one."""
    floors = [other for other in scene.objects if other.structural]
    if not floors:
        return False
    size = np.subtract(record.bounds_max, record.bounds_min)
    widest = max(max(np.subtract(other.bounds_max, other.bounds_min)[:2]) for other in floors)
    is_ground = (
        size[2] < 0.03 * size.max()
        and record.bounds_max[2] < min(floor.bounds_min[2] for floor in floors) + 0.05 * size.max()
    )
    is_wall = size[:2].min() < 0.03 * size.max() and size[2] > 0.1 * size.max() and size[:2].max() > 0.5 * widest
    return bool(is_ground or is_wall or (size[2] < 0.15 * size.max() and _supports_most(record, scene)))


def _supports_most(record: SceneObjectRecord, scene: SceneRecord) -> bool:
    """Whether the centres of most objects lie above it, as above a base plate."""
    low, high = np.array([record.bounds_min, record.bounds_max])
    centres = np.mean([(other.bounds_min, other.bounds_max) for other in scene.objects], axis=1)
    over = ((centres[:, :2] > low[:2]) & (centres[:, :2] < high[:2])).all(axis=1) & (centres[:, 2] > high[2])
    return bool(over.mean() > 0.5)


def find_surfaces(gbuffer: GBuffer, records: Sequence[SceneObjectRecord]) -> Iterator[Surface]:
    """Find the surfaces that these objects show, by noun, colour and material.

    An object's label says which surface it is; without one, the normal of each pixel does.
    """
    bottom = min((record.bounds_min[2] for record in records), default=0.0)
    top = max((record.bounds_max[2] for record in records), default=0.0)
    masks: dict[tuple[str, str, str], Mask] = {}
    for record in records:
        for noun, mask in _split_by_normal(gbuffer, record, bottom + 0.15 * (top - bottom)):
            if mask.any():
                key = noun, name_colour(gbuffer.lab[mask]), find_material(gbuffer, mask, [record])
                masks[key] = masks.get(key, False) | mask
    for (noun, colour, material), mask in masks.items():
        yield Surface(noun, mask, colour, material, float(np.median(gbuffer.lab[mask][:, 0])))


def _split_by_normal(gbuffer: GBuffer, record: SceneObjectRecord, low: float) -> Iterator[tuple[str, Mask]]:
    """Nouns and masks (H, W) of an object: by its label, else by normals, where a floor lies no higher than `low`."""
    mask = gbuffer.ids == record.id
    noun = extract_noun(record.label).split(" ")[-1]
    if noun in SURFACE_NOUNS:
        yield noun, mask
        return
    up = gbuffer.normals[..., 2]
    yield "floor", mask & (up > MIN_LEVEL_Z) & (gbuffer.positions[..., 2] <= low)
    yield "wall", mask & (np.abs(up) < MAX_UPRIGHT_Z)
    yield "ceiling", mask & (up < -MIN_LEVEL_Z)

# SPDX-License-Identifier: Apache-2.0
"""Instances of a scene: the objects of a subject together are one, every other object is one by itself.

An armchair of ten meshes is one armchair where the dataset says so: in the records of the views of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.masks import Mask, find_bounding_slices
from blendset.records import SceneObjectRecord, SceneRecord, ViewRecord
from blendset_trainer.exporting.source import ExportSource, group_by_scene

UNLABELLED = "object"
"""The label of an instance without one."""


@dataclass(frozen=True, eq=False)
class Instance:
    """An instance: its number in the scene from 1, its name and label, its bounds (3,) in world units."""

    number: int
    name: str
    label: str
    structural: bool
    bounds_min: Array
    bounds_max: Array


@dataclass(frozen=True, eq=False)
class SceneInstances:
    """The instances of a scene, and for each id in passes.exr the number of its instance (0: none)."""

    instances: tuple[Instance, ...]
    number_of_id: NDArray[np.int64]

    def find_masks(self, ids: NDArray[Any]) -> Iterator[tuple[Instance, Mask]]:
        """Yield each instance that an id pass (H, W) shows, and its mask (H, W)."""
        numbers = self.number_of_id[np.where(ids < len(self.number_of_id), ids, 0)]
        for number in np.unique(numbers[numbers > 0]):
            yield self.instances[number - 1], numbers == number


def find_instances(source: ExportSource) -> dict[str, SceneInstances]:
    """Find the instances of each scene in the source, grouped by the subjects of all views of the dataset."""
    scenes = group_by_scene(source.views)
    views = group_by_scene([view for view in source.dataset.views() if view.scene in scenes])
    return {scene: _build_scene_instances(source.dataset.scene(scene), views[scene]) for scene in scenes}


def _build_scene_instances(scene: SceneRecord, views: Iterable[ViewRecord]) -> SceneInstances:
    objects = {entry.id: entry for entry in scene.objects}
    names = {view.subject_objects: (view.subject, view.subject_label) for view in views if view.subject_objects}
    grouped = {number for ids in names for number in ids}
    names |= {(number,): (entry.name, entry.label) for number, entry in objects.items() if number not in grouped}
    number_of_id = np.zeros(max(objects, default=0) + 1, np.int64)
    instances = []
    for number, ids in enumerate(sorted(names), start=1):
        number_of_id[list(ids)] = number
        instances.append(_build_instance(number, *names[ids], [objects[part] for part in ids]))
    return SceneInstances(tuple(instances), number_of_id)


def _build_instance(number: int, name: str, label: str, parts: list[SceneObjectRecord]) -> Instance:
    return Instance(
        number=number,
        name=name,
        label=label or UNLABELLED,
        structural=all(part.structural for part in parts),
        bounds_min=np.min([part.bounds_min for part in parts], axis=0),
        bounds_max=np.max([part.bounds_max for part in parts], axis=0),
    )


def compute_bbox(mask: Mask) -> list[int]:
    """The bounding box of a mask (H, W), which has at least one pixel, as left, top, width and height in pixels."""
    rows, columns = find_bounding_slices(mask)
    return [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]

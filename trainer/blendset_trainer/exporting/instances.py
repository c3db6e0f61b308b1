# SPDX-License-Identifier: Apache-2.0
"""Instances of a scene: the parts of a thing together are one, every other object is one by itself.

An armchair of ten meshes is one armchair, whether a view is about it or not: the record of the scene says so. Scenes
that were rendered before it did say so in the records of the views that are about the armchair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.errors import BlendsetError
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
    """The instances of a scene, and for each object id the number of its instance (0: none)."""

    instances: tuple[Instance, ...]
    number_of_id: NDArray[np.int64]

    def find_masks(self, ids: NDArray[Any]) -> Iterator[tuple[Instance, Mask]]:
        """Yield each instance that ids (H, W) show, and its mask (H, W)."""
        numbers = self.number_of_id[np.where(ids < len(self.number_of_id), ids, 0)]
        for number in np.unique(numbers[numbers > 0]):
            yield self.instances[number - 1], numbers == number


def find_instances(source: ExportSource) -> dict[str, SceneInstances]:
    """Find the instances of each scene in the source, grouped by things, and else by subjects of the dataset's views.

    Labels that differ only in capitals are one, as the first one is spelled. Raises BlendsetError where a view lists an
    object that the record of its scene lacks.
    """
    scenes = group_by_scene(source.views)
    views = group_by_scene([view for view in source.dataset.views() if view.scene in scenes])
    spellings: dict[str, str] = {}
    return {scene: _build_scene_instances(source.dataset.scene(scene), views[scene], spellings) for scene in scenes}


def _build_scene_instances(
    scene: SceneRecord, views: Iterable[ViewRecord], spellings: dict[str, str]
) -> SceneInstances:
    """The instances of a scene; `spellings` collects how labels are spelled, by the label in small letters."""
    objects = {entry.id: entry for entry in scene.objects}
    names = _name_groups(scene, views)
    number_of_id = np.zeros(max(objects, default=0) + 1, np.int64)
    instances = []
    for number, ids in enumerate(sorted(names), start=1):
        number_of_id[list(ids)] = number
        name, label = names[ids]
        spelling = spellings.setdefault(label.casefold(), label)
        instances.append(_build_instance(number, name, spelling, [objects[part] for part in ids]))
    return SceneInstances(tuple(instances), number_of_id)


def _name_groups(scene: SceneRecord, views: Iterable[ViewRecord]) -> dict[tuple[int, ...], tuple[str, str]]:
    """Name and label of each instance of a scene, by the ids of its objects.

    A part that is a subject of its own is a part of its thing nevertheless: so each pixel counts once.
    """
    parts: dict[str, list[SceneObjectRecord]] = defaultdict(list)
    for entry in scene.objects:
        if entry.thing:
            parts[entry.thing].append(entry)
    names = {tuple(part.id for part in group): (thing, group[0].thing_label) for thing, group in parts.items()}
    alone = {entry.id: entry for entry in scene.objects if not entry.thing}
    known = {entry.id for entry in scene.objects}
    for view in views:
        if unknown := set(view.subject_objects) - known:
            raise BlendsetError(
                f"{view.view_id} is about object {min(unknown)}, which scenes/{scene.scene}.json does not list; "
                "restore that file, or render the scene again."
            )
        if ids := tuple(number for number in view.subject_objects if number in alone):
            names[ids] = view.subject, view.subject_label
    grouped = {number for ids in names for number in ids}
    return names | {(number,): (entry.name, entry.label) for number, entry in alone.items() if number not in grouped}


def _build_instance(number: int, name: str, label: str, parts: list[SceneObjectRecord]) -> Instance:
    return Instance(
        number=number,
        name=name,
        label=label or UNLABELLED,
        structural=all(part.structural for part in parts),
        bounds_min=np.min([part.bounds_min for part in parts], axis=0),
        bounds_max=np.max([part.bounds_max for part in parts], axis=0),
    )


Category = tuple[str, str]
"""Name and supercategory."""


def get_category(instance: Instance) -> Category:
    """The category of an instance: its label, and whether it is structure (a wall, a floor) or an object."""
    return instance.label, "structure" if instance.structural else "object"


def number_categories(scenes: Iterable[SceneInstances]) -> dict[Category, int]:
    """Number the categories of all scenes from 1, so that every split has the same numbers."""
    names = sorted({get_category(instance) for scene in scenes for instance in scene.instances})
    return {category: number for number, category in enumerate(names, start=1)}


def compute_bbox(mask: Mask) -> list[int]:
    """The bounding box of a mask (H, W), which has at least one pixel, as left, top, width and height in pixels."""
    rows, columns = find_bounding_slices(mask)
    return [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]

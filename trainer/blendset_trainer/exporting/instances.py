# SPDX-License-Identifier: Apache-2.0
"""What counts as one thing in a scene: the objects of a subject together, every other object by itself.

An armchair of ten meshes is one armchair, as far as the dataset says so: in the records of the views about it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from blendset.cameras import Array
from blendset.records import SceneObjectRecord, SceneRecord, ViewRecord
from blendset_trainer.exporting.source import Source, by_scene

UNLABELLED = "object"


@dataclass(frozen=True, eq=False)
class Instance:
    """A thing: its number in the scene from 1, what it is called, its bounds in the world."""

    number: int
    name: str
    label: str
    structural: bool
    bounds_min: Array
    bounds_max: Array


@dataclass(frozen=True, eq=False)
class Instances:
    """The things of a scene, and for each id in passes.exr the number of the thing that it belongs to (0: none)."""

    things: tuple[Instance, ...]
    number_of_id: NDArray[np.int64]

    def seen_in(self, ids: NDArray[Any]) -> Iterator[tuple[Instance, NDArray[np.bool_]]]:
        """Each thing that an id pass (H, W) shows, and its mask (H, W)."""
        numbers = self.number_of_id[np.where(ids < len(self.number_of_id), ids, 0)]
        for number in np.unique(numbers[numbers > 0]):
            yield self.things[number - 1], numbers == number


def instances_of(source: Source) -> dict[str, Instances]:
    """The things of each scene that the source shows, told apart by the subjects of all views of the dataset."""
    scenes = by_scene(source.views)
    views = by_scene([view for view in source.dataset.views() if view.scene in scenes])
    return {scene: _instances(source.dataset.scene(scene), views[scene]) for scene in scenes}


def _instances(scene: SceneRecord, views: Iterable[ViewRecord]) -> Instances:
    objects = {entry.id: entry for entry in scene.objects}
    called = {view.subject_objects: (view.subject, view.subject_label) for view in views if view.subject_objects}
    grouped = {each for ids in called for each in ids}
    called |= {(each,): (entry.name, entry.label) for each, entry in objects.items() if each not in grouped}
    number_of_id = np.zeros(max(objects, default=0) + 1, np.int64)
    things = []
    for number, ids in enumerate(sorted(called), start=1):
        number_of_id[list(ids)] = number
        things.append(_instance(number, *called[ids], [objects[each] for each in ids]))
    return Instances(tuple(things), number_of_id)


def _instance(number: int, name: str, label: str, parts: list[SceneObjectRecord]) -> Instance:
    return Instance(
        number=number,
        name=name,
        label=label or UNLABELLED,
        structural=all(part.structural for part in parts),
        bounds_min=np.min([part.bounds_min for part in parts], axis=0),
        bounds_max=np.max([part.bounds_max for part in parts], axis=0),
    )


def bounding_box(mask: NDArray[np.bool_]) -> list[int]:
    """Left, top, width and height in pixels of what a mask (H, W) holds."""
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    left, top = int(columns[0]), int(rows[0])
    return [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]

# SPDX-License-Identifier: Apache-2.0
"""What a person calls the objects of a scene: the parts of a thing have one name, that of the thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from blendset.dataset import Dataset
from blendset.records import SceneRecord, ViewRecord, VisibleObject


def label_parts(scene: SceneRecord) -> dict[int, str]:
    """Return the labels of the scene's things that have several objects, by the id of each of their objects."""
    return {record.id: record.thing_label for record in scene.objects if record.thing}


def read_part_labels(dataset: Dataset, views: Iterable[ViewRecord]) -> dict[str, dict[int, str]]:
    """Read what `label_parts` returns for each scene of which these views show objects, by the scene's id."""
    scenes = sorted({view.scene for view in views if view.visible_objects})
    return {scene: label_parts(dataset.scene(scene)) for scene in scenes}


def label_visible_objects(view: ViewRecord, labels: Mapping[int, str]) -> tuple[VisibleObject, ...]:
    """Return the objects in sight of a view, each with the label of its thing; `labels` are those of `label_parts`."""
    return tuple(replace(entry, label=labels.get(entry.id, entry.label)) for entry in view.visible_objects)

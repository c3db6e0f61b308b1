# SPDX-License-Identifier: Apache-2.0
"""The scene that stands for a source of pictures; its objects are the instances that one picture may show.

A picture's second dog is the scene's object "dog 2". That is another dog in another picture.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import SceneObjectRecord, SceneRecord, write_json
from blendset_trainer.adoption.views import MAX_IDS


class SourceScene:
    """The record of a source's scene as it grows with the labels of its pictures."""

    def __init__(self, dataset: Dataset, scene: str) -> None:
        self.scene = scene
        self._path = dataset.scene_path(scene)
        known = dataset.scene(scene).objects if self._path.exists() else ()
        self._objects = list(known)
        self._ids = {each.name: each.id for each in known}
        self._is_written = self._path.exists()

    def find_ids(self, labels: Sequence[str]) -> tuple[int, ...]:
        """Return the ids of a picture's instances with these labels; new ones become objects of the scene.

        Raises BlendsetError where there are more than a 16-bit picture can hold.
        """
        counts: Counter[str] = Counter()
        ids = []
        for label in labels:
            counts[label] += 1
            ids.append(self._find_id(label, counts[label]))
        return tuple(ids)

    def write(self) -> None:
        """Write the record where it has new objects, or is not there yet."""
        if not self._is_written:
            write_json(self._path, self._make_record())
            self._is_written = True

    def _find_id(self, label: str, number: int) -> int:
        name = f"{label} {number}"
        if name not in self._ids:
            self._ids[name] = len(self._objects) + 1
            if self._ids[name] > MAX_IDS:
                raise BlendsetError(f"The source has more than {MAX_IDS} kinds of instances; adopt a part of it.")
            self._objects.append(_make_object(self._ids[name], name, label))
            self._is_written = False
        return self._ids[name]

    def _make_record(self) -> SceneRecord:
        return SceneRecord(
            scene=self.scene, blend_name="", blend_sha256="", blender_scene="", frame=0, metres_per_unit=1.0,
            objects=tuple(self._objects), missing_files=(), notes=("pictures of other people, which no scene shows",),
        )  # fmt: skip


def _make_object(number: int, name: str, label: str) -> SceneObjectRecord:
    return SceneObjectRecord(
        id=number, name=name, label=label, collection="", materials=(), bounds_min=(0.0, 0.0, 0.0),
        bounds_max=(0.0, 0.0, 0.0), structural=False, instance_of="",
    )  # fmt: skip

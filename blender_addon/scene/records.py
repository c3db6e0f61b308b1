# SPDX-License-Identifier: GPL-3.0-or-later
"""What a dataset keeps of a scene."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np

from blendset.naming import slugify
from blendset.placement.labels import get_label
from blendset.placement.subjects import SubjectSearch
from blendset.records import SceneObjectRecord, SceneRecord

from .snapshot import OpenScene


def name_scene(stem: str, scene: bpy.types.Scene, digest: str) -> str:
    """Slug of the file's stem (and of the Blender scene, where there are several) and six digits of the file's hash."""
    name = stem if len(bpy.data.scenes) == 1 else f"{stem}-{scene.name}"
    return f"{slugify(name)}-{digest[:6]}"


def build_scene_record(
    source: Path, digest: str, name: str, scene: bpy.types.Scene, opened: OpenScene, search: SubjectSearch
) -> SceneRecord:
    """scenes/<scene>.json: every object and instance by the id that it has in the passes."""
    snapshot = opened.snapshot
    things = _name_things(search)
    objects = tuple(
        SceneObjectRecord(
            id=thing.id,
            name=thing.name,
            label=get_label(thing),
            collection=thing.collection,
            materials=thing.materials,
            bounds_min=tuple(box[0].tolist()),
            bounds_max=tuple(box[1].tolist()),
            structural=thing.id in search.structural,
            instance_of=thing.instance_of,
            thing=things.get(thing.id, ("", ""))[0],
            thing_label=things.get(thing.id, ("", ""))[1],
        )
        for thing, box in zip(snapshot.objects, np.nan_to_num(snapshot.bounds), strict=True)
    )
    return SceneRecord(
        scene=name,
        blend_name=source.name,
        blend_sha256=digest,
        blender_scene=scene.name,
        frame=scene.frame_current,
        metres_per_unit=snapshot.metres_per_unit,
        objects=objects,
        missing_files=opened.externals.missing_files,
        notes=opened.notes,
        world_offset=opened.world_offset,
    )


def _name_things(search: SubjectSearch) -> dict[int, tuple[str, str]]:
    """Name and label of the thing that each object is part of, by the object's id; an object that is a thing alone has
    none. The name is a subject's id where the thing is one, and else has a point, which no subject's id has."""
    subjects = {subject.objects: subject.id for subject in search.subjects}
    named: dict[int, tuple[str, str]] = {}
    for thing in search.things:
        name = subjects.get(thing.ids) or f"{slugify(thing.label or thing.key)}.{min(thing.ids)}"
        named |= dict.fromkeys(thing.ids, (name, thing.label))
    return named

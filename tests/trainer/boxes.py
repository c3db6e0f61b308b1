# SPDX-License-Identifier: Apache-2.0
"""A room of boxes, ray traced exactly: views whose every pixel has a depth, a normal and an id that are known."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from PIL import Image

from blendset.cameras import (
    SENSOR_MM,
    Array,
    Camera,
    compute_pixel_centres,
    direction_from_angles,
    make_facing_rotation,
    make_pose,
)
from blendset.config import Config
from blendset.dataset import PASSES, RGB, Dataset
from blendset.exr import Passes, write_passes
from blendset.records import CameraRecord, SceneObjectRecord, SceneRecord, ViewRecord, to_plain, write_json

BOXES = {
    "floor": ((-4.0, -4.0, -0.1), (4.0, 4.0, 0.0)),
    "seat": ((-0.6, -0.5, 0.0), (0.6, 0.5, 0.5)),
    "back": ((-0.6, 0.5, 0.0), (0.6, 0.7, 1.2)),
    "Cube.004": ((1.0, -1.4, 0.0), (1.6, -0.8, 0.7)),
}
"""Name, lowest and highest corner; ids count from 1."""
CHAIR = (2, 3)
SIZE = 96, 64
FOCAL_MM = 40.0
SHIFT = 0.03, -0.02
"""Off the middle, so that no format gets away with assuming it."""


def add_scene(
    dataset: Dataset,
    scene: str,
    metres_per_unit: float = 1.0,
    scale: float = 1.0,
    things: Mapping[int, tuple[str, str]] | None = None,
) -> None:
    """Write the record of the room, `scale` times as large, and that of the run `<scene>-run`.

    `things` are names and labels, by the id of each part.
    """
    objects = tuple(
        SceneObjectRecord(
            id=number,
            name=name,
            label="" if "." in name else name,
            collection="",
            materials=(),
            bounds_min=tuple(scale * np.array(low)),
            bounds_max=tuple(scale * np.array(high)),
            structural=name == "floor",
            instance_of="",
            thing=(things or {}).get(number, ("", ""))[0],
            thing_label=(things or {}).get(number, ("", ""))[1],
        )
        for number, (name, (low, high)) in enumerate(BOXES.items(), start=1)
    )
    record = SceneRecord(
        scene=scene, blend_name=f"{scene}.blend", blend_sha256="ab" * 32, blender_scene="Scene", frame=1,
        metres_per_unit=metres_per_unit, objects=objects, missing_files=(), notes=(),
    )  # fmt: skip
    write_json(dataset.scene_path(scene), record)
    facts = {"scene": scene, "blender": "4.5.1 LTS", "build_hash": "abc", "device": "CPU", "config": to_plain(Config())}
    write_json(dataset.run_path(f"{scene}-run"), facts)


def camera_at(azimuth_deg: float, elevation_deg: float = 25.0, distance: float = 5.0) -> Camera:
    """A camera that looks at the chair."""
    backward = direction_from_angles(azimuth_deg, elevation_deg)
    centre = np.array([0.0, 0.1, 0.5])
    return Camera(make_pose(make_facing_rotation(backward), centre + distance * backward), *SIZE, FOCAL_MM, SHIFT)


def surface(camera: Camera) -> tuple[Array, Passes]:
    """The positions (H, W, 3) that the pixels show, found by intersecting the boxes, not from depth; and the passes."""
    rays = camera.make_rays(compute_pixel_centres(camera.width, camera.height))
    nearest, ids, normals = np.full(len(rays), np.inf), np.zeros(len(rays), np.uint32), np.zeros((len(rays), 3))
    for number, (low, high) in enumerate(BOXES.values(), start=1):
        sides = (np.array([low, high])[:, None] - camera.position) / rays
        enter, leave = sides.min(axis=0), sides.max(axis=0).min(axis=1)
        axis = enter.argmax(axis=1)
        distance = enter.max(axis=1)
        hit = (distance < leave) & (distance > 0) & (distance < nearest)
        nearest[hit], ids[hit], normals[hit] = distance[hit], number, 0
        normals[hit, axis[hit]] = -np.sign(rays[hit, axis[hit]])
    with np.errstate(invalid="ignore"):
        positions = camera.position + rays * nearest[:, None]
    shape = camera.height, camera.width
    passes = Passes(
        nearest.reshape(shape).astype(np.float32),
        normals.reshape(*shape, 3).astype(np.float32),
        ids.reshape(shape),
    )
    return positions.reshape(*shape, 3), passes


def add_view(dataset: Dataset, scene: str, number: int, scale: float = 1.0, **changes: object) -> ViewRecord:
    """Add a view of the chair from around it, in a room `scale` times as large, and return its record."""
    camera = camera_at(40.0 * number)
    _, passes = surface(camera)
    passes = replace(passes, depth=passes.depth * np.float32(scale))
    pose = make_pose(camera.world_from_camera[:3, :3], scale * camera.position)
    x, y = camera.principal_point
    focal = camera.focal_length_px
    record = CameraRecord(*SIZE, focal, focal, x, y, tuple(pose.ravel().tolist()), FOCAL_MM, SENSOR_MM)
    fields: dict[str, object] = {
        "view_id": f"{scene}-chair-{number:04d}", "run": f"{scene}-run", "scene": scene, "subject": "chair",
        "subject_label": "chair", "subject_objects": CHAIR, "view_set": "", "view_index": 0, "source": "render",
        "camera": record, "azimuth_deg": 40.0 * number, "elevation_deg": 25.0, "distance": 5.0,
        "visible_fraction": 1.0, "subject_share": 0.2, "truncation": None, "visible_objects": (), "exposure_ev": 0.0,
        "samples": 1, "seed": 0, "lighting": "scene", "statistics": {}, "failed_checks": (), "files": {}, "timings": {},
    }  # fmt: skip
    png = io.BytesIO()
    Image.fromarray((127 + 127 * passes.normal).astype(np.uint8)).save(png, "PNG")
    payload = {RGB: png.getvalue(), PASSES: write_passes(passes)}
    return dataset.write_view(ViewRecord(**(fields | changes)), payload)  # type: ignore[arg-type]

# SPDX-License-Identifier: GPL-3.0-or-later
"""One finished view: path traced, measured as its preview was, and put into a record with its files."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from blendset.cameras import SENSOR_MM, Camera, angles_from_direction
from blendset.exr import Passes, write_passes
from blendset.placement.camera_plan import CameraPlan, PlannedView
from blendset.placement.framing import measure_framing
from blendset.placement.labels import get_label
from blendset.placement.scene import SceneObject
from blendset.placement.subjects import Subject
from blendset.quality import FINISHED, LUMA, collect_metrics, compute_statistics, find_framing_faults, find_light_faults
from blendset.randomness import derive_render_seed
from blendset.records import CameraRecord, ViewRecord, VisibleObject

from ..scene.snapshot import OpenScene
from .session import Pixels, RenderSession


def render_view(
    session: RenderSession,
    opened: OpenScene,
    plan: CameraPlan,
    view: PlannedView,
    subject: Subject | None,
) -> tuple[ViewRecord, dict[str, bytes]]:
    """Render a view of a plan; returns its record (without the files' hashes) and its files by name."""
    started = time.perf_counter()
    settings, seed = plan.config.render, derive_render_seed(view.view_id, plan.config.seed)
    exposure = view.exposure_ev or 0.0
    pixels = session.render(view.camera, settings.samples, seed, settings.denoise)
    rendered = time.perf_counter()
    png, values = session.encode_png(exposure)
    framing = (
        measure_framing(view.camera, subject, opened.geometry.restrict_to(subject.objects), pixels.ids)
        if subject
        else None
    )
    statistics = compute_statistics(values @ LUMA, np.isin(pixels.ids, list(subject.objects)) if subject else None)
    payload = {"rgb.png": png, "passes.exr": write_passes(Passes(pixels.depth, pixels.normal, pixels.ids))}
    record = ViewRecord(
        view_id=view.view_id,
        run=plan.run,
        scene=plan.scene,
        subject=view.subject,
        subject_label=view.subject_label,
        subject_objects=tuple(sorted(subject.objects)) if subject else (),
        view_set=view.view_set,
        view_index=view.view_index,
        source="render",
        camera=build_camera_record(view.camera),
        **_compute_viewpoint(view.camera, subject),
        visible_fraction=framing.visible_fraction if framing else None,
        subject_share=framing.subject_share if framing else None,
        truncation=framing.truncation if framing else None,
        visible_objects=_count_visible_objects(pixels, opened.snapshot.objects),
        exposure_ev=exposure,
        samples=settings.samples,
        seed=seed,
        lighting=plan.lighting,
        statistics=collect_metrics(statistics),
        failed_checks=(*find_light_faults(statistics, FINISHED), *find_framing_faults(framing, FINISHED)),
        files={},
        timings={"cycles_s": rendered - started, "measuring_s": time.perf_counter() - rendered},
        missing_files=_list_missing_files(pixels, opened),
    )
    return record, payload


def _list_missing_files(pixels: Pixels, opened: OpenScene) -> tuple[str, ...]:
    """The textures that things in the picture and the light lack."""
    things = {path for number in np.unique(pixels.ids).tolist() for path in opened.lacking.get(number, ())}
    return tuple(sorted(things | {loss.path for loss in opened.externals.light}))


def build_camera_record(camera: Camera) -> CameraRecord:
    """A camera as records carry it."""
    return CameraRecord(
        width=camera.width,
        height=camera.height,
        fx=camera.focal_length_px,
        fy=camera.focal_length_px,
        cx=camera.principal_point[0],
        cy=camera.principal_point[1],
        world_from_camera=tuple(float(value) for value in camera.world_from_camera.ravel()),
        focal_length_mm=camera.focal_length_mm,
        sensor_width_mm=SENSOR_MM,
        clip=camera.clip,
    )


def _compute_viewpoint(camera: Camera, subject: Subject | None) -> dict[str, Any]:
    """Azimuth, elevation and distance from the subject's centre; None for a view of the scene."""
    if subject is None:
        return {"azimuth_deg": None, "elevation_deg": None, "distance": None}
    offset = camera.position - subject.centre
    azimuth, elevation = angles_from_direction(offset)
    return {"azimuth_deg": azimuth, "elevation_deg": elevation, "distance": float(np.linalg.norm(offset))}


def _count_visible_objects(pixels: Pixels, objects: tuple[SceneObject, ...]) -> tuple[VisibleObject, ...]:
    """Everything in the picture, largest first."""
    ids, counts = np.unique(pixels.ids, return_counts=True)
    rows = [
        VisibleObject(number, get_label(objects[number - 1]), count, round(count / pixels.ids.size, 6))
        for number, count in zip(ids.tolist(), counts.tolist(), strict=True)
        if number
    ]
    return tuple(sorted(rows, key=lambda row: (-row.pixels, row.id)))

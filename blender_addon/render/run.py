# SPDX-License-Identifier: GPL-3.0-or-later
"""One scene from opening to its last view: what the worker, the headless command and the window all call."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from blendset.cameras import SENSOR_MM, Camera, angles
from blendset.config import Config, config_to_dict
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.exr import Passes, write_passes
from blendset.imaging import FINISHED, LUMA, Framing, as_figures, framing_faults, framing_in, light_faults, measure
from blendset.placement.candidates import PRESETS
from blendset.placement.gates import Verdict
from blendset.placement.labels import label_from_name
from blendset.placement.plan import (
    PlanFile,
    Planned,
    PlannedView,
    Step,
    plan_steps,
    planned_view,
    read_plan,
    write_funnel,
    write_plan,
)
from blendset.placement.subjects import Subject, find_subjects
from blendset.records import (
    CameraRecord,
    SceneObjectRecord,
    SceneRecord,
    ViewRecord,
    VisibleObject,
    sha256_file,
    slug,
    write_json,
)

from ..scene.cameras import own_cameras
from ..scene.geometry import JoinedGeometry
from ..scene.snapshot import OpenScene, open_scene
from . import lighting
from .previews import LIT_SHARE, Previewer, audition, lit_share, render_seed
from .session import Pixels, RenderSession

Emit = Callable[..., None]


class SceneRun:
    """A .blend that is open in this process, and the dataset that its views go to.

    `emit(event, **fields)` is told of everything worth knowing. Close it to give the scene back as it was.
    """

    def __init__(self, source: Path, dataset: Dataset, config: Config, emit: Emit) -> None:
        self.dataset, self.config, self._emit = dataset, config, emit
        self._exit = ExitStack()
        self.scene = _chosen_scene(config.scene)
        if config.frame is not None:
            self._exit.callback(self.scene.frame_set, self.scene.frame_current)
            self.scene.frame_set(config.frame)
        self.layer = _rendered_layer(self.scene)
        self._source_hash = sha256_file(source)
        self.scene_id = scene_id(source.stem, self.scene, self._source_hash)
        self.run = f"{self.scene_id}-{config.digest()}"
        started = time.perf_counter()
        self.opened: OpenScene = open_scene(self.scene, self.layer)
        self.geometry = JoinedGeometry(self.opened.snapshot)
        self.found = find_subjects(self.opened.snapshot, config.subjects, config.seed)
        self.lighting = "scene"
        self._timings = {"opening_s": time.perf_counter() - started}
        self._session: RenderSession | None = None
        self._subjects: dict[str, Subject] = {each.id: each for each in self.found.subjects}
        self._write_scene(source)
        snapshot = self.opened.snapshot
        emit(
            "opened",
            scene=self.scene_id,
            objects=len(snapshot.objects),
            triangles=len(snapshot.triangles),
            notes=self.notes,
        )

    def __enter__(self) -> SceneRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    @property
    def notes(self) -> list[str]:
        """What a person should know of this scene."""
        missing = [f"file missing: {path}" for path in self.opened.missing_files]
        return [*self.opened.notes, *missing]

    # ---- planning --------------------------------------------------------------------------------------------------

    def plan(self, previews: bool) -> PlanFile:
        """Place, gate and select; with `previews` also light, expose and audition. Writes the plan, the funnel and
        the run's record."""
        if previews and (earlier := self._earlier_plan()) is not None:
            return self.adopt(earlier)
        started = time.perf_counter()
        planned = self._geometric_plan()
        self._timings["screening_s"] = time.perf_counter() - started
        self._emit("screened", candidates=len(planned.verdicts), seconds=self._timings["screening_s"])
        views, previews_done = self._chosen(planned, previews)
        plan = PlanFile(self.run, self.scene_id, self.config, self.lighting, previews, tuple(views))
        write_funnel(self.dataset.funnel_path(self.run), self.scene_id, planned.verdicts, self.config.seed)
        write_plan(self.dataset.plan_path(self.run), plan)
        self._timings["planning_s"] = time.perf_counter() - started
        self._write_run(plan, previews_done)
        seen = {"found": len(planned.found.subjects), "seen": len(planned.seen_subjects), **planned.found.left_out}
        self._tell_planned(plan, planned.counts(), seen, previews_done)
        if not views:
            raise BlendsetError(f"{self.scene_id} gives no view: {_why_nothing(planned)}.")
        return plan

    def _earlier_plan(self) -> PlanFile | None:
        """The plan that an interrupted run of the same configuration left; a damaged one is made again."""
        path = self.dataset.plan_path(self.run)
        try:
            plan = read_plan(path) if path.exists() else None
        except BlendsetError:
            return None
        return plan if plan and plan.previewed and plan.views else None

    def adopt(self, plan: PlanFile) -> PlanFile:
        """Take a plan that was made before; one without previews gets them now, and loses the views that they
        reject."""
        asked = self.config.render.resolution
        if any(max(view.camera.width, view.camera.height) != asked for view in plan.views):
            raise BlendsetError(
                f"The plan {plan.run} was not made for {asked} pixels; plan again with that --resolution."
            )
        previews = 0
        if not plan.previewed:
            plan, previews = self._previewed(plan)
        if not self.dataset.plan_path(plan.run).exists():
            write_plan(self.dataset.plan_path(plan.run), plan)
            self._write_run(plan, previews)
        self._tell_planned(plan, {}, {"found": len(self.found.subjects)}, previews)
        return plan

    def _previewed(self, plan: PlanFile) -> tuple[PlanFile, int]:
        session = self._start_session()
        if self.config.render.lighting not in ("auto", "scene"):
            self._add_light(session, self.config.render.lighting)
        previewer = Previewer(session, self.geometry, self.scene_id, self.config)
        views = []
        for view in plan.views:
            answer = previewer.preview(view.view_id, view.camera, self._subjects.get(view.subject))
            if not answer.faults:
                views.append(dataclasses.replace(view, exposure_ev=answer.exposure_ev))
        done = dataclasses.replace(plan, lighting=self.lighting, previewed=True, views=tuple(views))
        return done, previewer.rendered

    def _tell_planned(self, plan: PlanFile, funnel: dict[str, int], subjects: dict[str, int], previews: int) -> None:
        chosen = {view.subject for view in plan.views if view.subject}
        self._emit(
            "planned",
            run=plan.run,
            scene=plan.scene,
            views=[view.view_id for view in plan.views],
            done=[view.view_id for view in plan.views if self.dataset.has_view(plan.scene, view.view_id)],
            funnel=funnel,
            subjects={**subjects, "chosen": len(chosen)},
            notes=self.notes + ([f"light added: {plan.lighting}"] if plan.lighting != "scene" else []),
            previews=previews,
        )

    def _geometric_plan(self) -> Planned:
        cameras = own_cameras(self.scene)
        if self.config.cameras.preset == "scene-cameras" and not cameras:
            raise BlendsetError(
                f"{self.scene_id} has no camera for --preset scene-cameras; add one, or choose another preset."
            )
        for step in plan_steps(self.opened.snapshot, self.geometry, self.config, cameras):
            if isinstance(step, Step):
                self._emit("progress", what=step.what, done=step.done, total=step.total, text="")
                continue
            return step
        raise RuntimeError("planning ended without a plan")

    def _chosen(self, planned: Planned, previews: bool) -> tuple[list[PlannedView], int]:
        """Views in render order and how many previews that took."""
        if PRESETS[self.config.cameras.preset].as_published:
            if self.config.render.lighting not in ("auto", "scene"):
                self._add_light(self._start_session(), self.config.render.lighting)
            return [self._planned_view(view, 0.0) for view in planned.sample(self.config)], 0
        if not previews:
            return [self._planned_view(view, None) for view in planned.ranking(self.config)], 0
        session = self._start_session()
        previewer = Previewer(session, self.geometry, self.scene_id, self.config)
        self._light(session, previewer, planned)
        chosen = audition(
            previewer,
            planned,
            self.config,
            lambda done, total: self._emit("progress", what="previews", done=done, total=total, text=""),
        )
        views = [self._planned_view(view, ev) for unit, stops in chosen for view, ev in zip(unit, stops, strict=True)]
        return views, previewer.rendered

    def _planned_view(self, verdict: Verdict, exposure_ev: float | None) -> PlannedView:
        return planned_view(self.scene_id, verdict, self.config.seed, exposure_ev)

    # ---- light -----------------------------------------------------------------------------------------------------

    def _light(self, session: RenderSession, previewer: Previewer, planned: Planned) -> None:
        """Decide on light as the configuration says."""
        wanted = self.config.render.lighting
        if wanted == "auto":
            dark = not lighting.has_light(self.scene, self.opened)
            if dark or lit_share(previewer, planned) < LIT_SHARE:
                wanted = lighting.fitting_kind(self.opened, self.geometry)
        if wanted not in ("auto", "scene"):
            self._add_light(session, wanted)
            previewer.forget()

    def _add_light(self, session: RenderSession, kind: str) -> None:
        lighting.add_light(self.scene, self.opened, self.geometry, kind, session.overrides)
        self.lighting = kind

    def _start_session(self) -> RenderSession:
        if self._session is None:
            session = RenderSession(self.scene, self.layer, self.opened, self.geometry, self.config.render)
            self._session = self._exit.enter_context(session)
        return self._session

    # ---- rendering -------------------------------------------------------------------------------------------------

    def render(self, plan: PlanFile, wanted: Sequence[str]) -> None:
        """Render these views of a plan in order, skipping those that are whole on disk."""
        session = self._start_session()
        if plan.lighting != self.lighting:
            self._add_light(session, plan.lighting)
        by_id = {view.view_id: view for view in plan.views}
        for view_id in wanted:
            if view_id not in by_id:
                raise BlendsetError(f"{plan.run} has no view {view_id}; make the plan again.")
            if not self.dataset.has_view(self.scene_id, view_id):
                self._render_view(session, by_id[view_id], plan)

    def read_plan(self, run: str) -> PlanFile:
        """The plan that another worker made."""
        return read_plan(self.dataset.plan_path(run))

    def _render_view(self, session: RenderSession, view: PlannedView, plan: PlanFile) -> None:
        started = time.perf_counter()
        settings, seed = self.config.render, render_seed(view.view_id, self.config.seed)
        pixels = session.render(view.camera, settings.samples, seed, settings.denoise)
        rendered = time.perf_counter()
        png, values = session.png(view.exposure_ev or 0.0)
        subject = self._subjects.get(view.subject)
        framing = self._framing(view, subject, pixels)
        mine = np.isin(pixels.ids, list(subject.objects)) if subject else None
        statistics = measure(values @ LUMA, mine)
        payload = {"rgb.png": png, "passes.exr": write_passes(Passes(pixels.depth, pixels.normal, pixels.ids))}
        record = ViewRecord(
            view_id=view.view_id,
            run=plan.run,
            scene=self.scene_id,
            subject=view.subject,
            subject_label=view.subject_label,
            view_set=view.view_set,
            view_index=view.view_index,
            source="render",
            camera=camera_record(view.camera),
            **_viewpoint(view.camera, subject),
            visible_fraction=framing.visible_fraction if framing else None,
            subject_share=framing.subject_share if framing else None,
            truncation=framing.truncation if framing else None,
            visible_objects=self._visible_objects(pixels),
            exposure_ev=view.exposure_ev or 0.0,
            samples=settings.samples,
            seed=seed,
            lighting=self.lighting,
            statistics=as_figures(statistics),
            failed_checks=(*light_faults(statistics, FINISHED), *framing_faults(framing, FINISHED)),
            files={},
            timings={"cycles_s": rendered - started, "measuring_s": time.perf_counter() - rendered},
        )
        self.dataset.write_view(record, payload)
        self._emit(
            "view",
            view=view.view_id,
            index=next(k for k, each in enumerate(plan.views) if each.view_id == view.view_id),
            path=self.dataset.view_folder(self.scene_id, view.view_id).relative_to(self.dataset.root).as_posix(),
            seconds=time.perf_counter() - started,
            cycles_seconds=rendered - started,
            passed=not record.failed_checks,
            failed_checks=list(record.failed_checks),
        )

    def _framing(self, view: PlannedView, subject: Subject | None, pixels: Pixels) -> Framing | None:
        if subject is None:
            return None
        return framing_in(view.camera, subject, self.geometry.only(subject.objects), pixels.ids)

    def _visible_objects(self, pixels: Pixels) -> tuple[VisibleObject, ...]:
        """Everything in the picture, largest first."""
        ids, counts = np.unique(pixels.ids, return_counts=True)
        objects = self.opened.snapshot.objects
        rows = [
            VisibleObject(number, _label(objects[number - 1]), count, round(count / pixels.ids.size, 6))
            for number, count in zip(ids.tolist(), counts.tolist(), strict=True)
            if number
        ]
        return tuple(sorted(rows, key=lambda row: (-row.pixels, row.id)))

    # ---- records ---------------------------------------------------------------------------------------------------

    def _write_scene(self, source: Path) -> None:
        snapshot = self.opened.snapshot
        boxes = np.nan_to_num(snapshot.bounds)
        objects = tuple(
            SceneObjectRecord(
                id=each.id,
                name=each.name,
                label=_label(each),
                collection=each.collection,
                materials=each.materials,
                bounds_min=tuple(box[0].tolist()),
                bounds_max=tuple(box[1].tolist()),
                structural=each.id in self.found.structural,
                instance_of=each.instance_of,
            )
            for each, box in zip(snapshot.objects, boxes, strict=True)
        )
        record = SceneRecord(
            scene=self.scene_id,
            blend_name=source.name,
            blend_sha256=self._source_hash,
            blender_scene=self.scene.name,
            frame=self.scene.frame_current,
            metres_per_unit=snapshot.metres_per_unit,
            objects=objects,
            missing_files=self.opened.missing_files,
            notes=self.opened.notes,
        )
        write_json(self.dataset.scene_path(self.scene_id), record)

    def _write_run(self, plan: PlanFile, previews: int) -> None:
        view = self.scene.view_settings
        values: dict[str, Any] = {
            "format": "blendset-run",
            "run": plan.run,
            "scene": plan.scene,
            "config": config_to_dict(self.config),
            "blender": bpy.app.version_string,
            "build_hash": bpy.app.build_hash.decode(),
            "device": self._session.device if self._session else "",
            "denoised": bool(self._session and self._session.can_denoise and self.config.render.denoise),
            "lighting": self.lighting,
            "view_transform": {
                "name": view.view_transform,
                "look": view.look,
                "exposure": view.exposure,
                "gamma": view.gamma,
            },
            "previews": previews,
            "timings": self._timings,
        }
        write_json(self.dataset.run_path(plan.run), values)


def _why_nothing(planned: Planned) -> str:
    """What stood in the way of every candidate, most frequent first."""
    if not planned.verdicts:
        left_out = ", ".join(f"{count} {reason}" for reason, count in planned.found.left_out.items())
        return (
            f"nothing in it can be photographed{f' ({left_out})' if left_out else ''}; check that it renders in Blender"
        )
    rejected = [
        f"{count} {reason}" for reason, count in planned.counts().items() if reason not in ("candidates", "accepted")
    ]
    return f"every camera was rejected ({', '.join(rejected[:4])}); try --lighting, or looser [gates] in --config"


def _label(each: Any) -> str:
    return each.label or label_from_name(each.name)


def _viewpoint(camera: Camera, subject: Subject | None) -> dict[str, Any]:
    """Azimuth, elevation and distance from the subject's centre; None for a view of the scene."""
    if subject is None:
        return {"azimuth_deg": None, "elevation_deg": None, "distance": None}
    offset = camera.position - subject.centre
    azimuth, elevation = angles(offset)
    return {"azimuth_deg": azimuth, "elevation_deg": elevation, "distance": float(np.linalg.norm(offset))}


def camera_record(camera: Camera) -> CameraRecord:
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
    )


def scene_id(stem: str, scene: bpy.types.Scene, digest: str) -> str:
    """Slug of the file's stem (and of the Blender scene, where there are several) and six digits of the file's hash."""
    name = stem if len(bpy.data.scenes) == 1 else f"{stem}-{scene.name}"
    return f"{slug(name)}-{digest[:6]}"


def _chosen_scene(name: str) -> bpy.types.Scene:
    if not name:
        return bpy.context.scene
    if name not in bpy.data.scenes:
        raise BlendsetError(f"The file has no scene '{name}'; it has {', '.join(bpy.data.scenes.keys())}.")
    return bpy.data.scenes[name]


def _rendered_layer(scene: bpy.types.Scene) -> str:
    """The first view layer that is switched on for rendering."""
    return next((layer.name for layer in scene.view_layers if layer.use), scene.view_layers[0].name)

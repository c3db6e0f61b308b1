# SPDX-License-Identifier: GPL-3.0-or-later
"""One scene from opening to its last view: what the worker, the headless command and the window all call."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import bpy

from blendset.config import Config
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset.placement.camera_plan import PlanFile, PlannedView, planned_view, previewed_run, read_plan, write_plan
from blendset.placement.candidates import PRESETS
from blendset.placement.funnel import write_funnel
from blendset.placement.gates import Verdict
from blendset.placement.planner import Planned, Step, plan_steps
from blendset.placement.subjects import Subject, find_subjects
from blendset.records import write_json

from ..scene.cameras import own_cameras
from ..scene.snapshot import OpenScene, open_scene, rendered_layer
from . import lighting
from .previews import LIT_SHARE, Previewer, Shot, audition, best_shots, by_sets, lit_share
from .scene_records import run_record, scene_id, scene_record
from .session import RenderSession
from .views import render_view

Emit = Callable[..., None]


class SceneRun:
    """A .blend that is open in this process, and the dataset that its views go to.

    `emit(event, **fields)` is told of everything worth knowing; `digest` is the source's SHA-256 where a copy of it is
    what is open. Close it to give the scene back as it was.
    """

    def __init__(self, source: Path, dataset: Dataset, config: Config, emit: Emit, digest: str = "") -> None:
        self.dataset, self.config, self._emit = dataset, config, emit
        self._exit = ExitStack()
        self.scene = _chosen_scene(config.scene)
        if config.frame is not None:
            self._exit.callback(self.scene.frame_set, self.scene.frame_current)
            self.scene.frame_set(config.frame)
        self.layer = rendered_layer(self.scene)
        digest = digest or sha256_file(source)
        self.scene_id = scene_id(source.stem, self.scene, digest)
        self.run = f"{self.scene_id}-{config.digest()}"
        started = time.perf_counter()
        self.opened: OpenScene = open_scene(self.scene, self.layer)
        self.found = find_subjects(self.opened.snapshot, config.subjects, config.seed)
        self.lighting = "scene"
        self._pixel_bytes = 0.0
        self._timings = {"opening_s": time.perf_counter() - started}
        self._session: RenderSession | None = None
        self._subjects: dict[str, Subject] = {each.id: each for each in self.found.subjects}
        record = scene_record(source, digest, self.scene_id, self.scene, self.opened, self.found.structural)
        write_json(dataset.scene_path(self.scene_id), record)
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

    def _write_run(self, plan: PlanFile, previews: int) -> None:
        facts = run_record(plan, self.scene, self._session, previews, self._timings)
        write_json(self.dataset.run_path(plan.run), facts)

    # ---- planning --------------------------------------------------------------------------------------------------

    def plan(self, previews: bool) -> PlanFile:
        """Place, gate and select; with `previews` also light, expose and audition. Writes the plan, the funnel and
        the run's record."""
        if previews and (earlier := self._earlier_plan(self.run)) is not None:
            return self.adopt(earlier)
        started = time.perf_counter()
        planned = self._geometric_plan()
        self._timings["screening_s"] = time.perf_counter() - started
        self._emit("screened", candidates=len(planned.verdicts), seconds=self._timings["screening_s"])
        views, previews_done = self._chosen(planned, previews)
        plan = PlanFile(self.run, self.scene_id, self.config, self.lighting, previews, tuple(views))
        write_funnel(self.dataset.funnel_path(self.run), self.scene_id, planned.verdicts, self.config.seed)
        self._timings["planning_s"] = time.perf_counter() - started
        self._write_run(plan, previews_done)
        write_plan(self.dataset.plan_path(self.run), plan)  # last: a plan that exists has its run's record
        seen = {"found": len(planned.found.subjects), "seen": len(planned.seen_subjects), **planned.found.left_out}
        self._tell_planned(plan, planned.counts(), seen, previews_done)
        if not views:
            raise BlendsetError(f"{self.scene_id} gives no view: {_why_nothing(planned)}.")
        return plan

    def _earlier_plan(self, run: str) -> PlanFile | None:
        """The plan that an interrupted run left; a damaged one is made again."""
        path = self.dataset.plan_path(run)
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
            run = previewed_run(plan)
            earlier = self._earlier_plan(run)
            plan, previews = (earlier, 0) if earlier else self._previewed(dataclasses.replace(plan, run=run))
        if not self.dataset.run_path(plan.run).exists():  # a window has written the plan, but not what a run finds out
            self._write_run(plan, previews)
            write_plan(self.dataset.plan_path(plan.run), plan)
        self._tell_planned(plan, {}, {"found": len(self.found.subjects)}, previews)
        return plan

    def _previewed(self, plan: PlanFile) -> tuple[PlanFile, int]:
        """A plan with light and exposures decided, without the views that fail, and how many previews that took."""
        session = self._start_session()
        previewer = self._previewer(session)
        shots = [(view.view_id, view.camera, self._subjects.get(view.subject)) for view in plan.views]
        self._light(
            session,
            previewer,
            list({view.subject: shot for view, shot in zip(plan.views, shots, strict=True)}.values()),
        )
        answers = by_sets(plan.views, [previewer.preview(*shot) for shot in shots])
        self._learn(previewer)
        views = tuple(
            dataclasses.replace(view, exposure_ev=answer.exposure_ev)
            for view, answer in zip(plan.views, answers, strict=True)
            if not answer.faults
        )
        if not views:
            faults = ", ".join(sorted({answer.faults[0] for answer in answers}))
            raise BlendsetError(
                f"No view of the plan {plan.run} passes its preview ({faults}); try --lighting, or plan anew."
            )
        return dataclasses.replace(plan, lighting=self.lighting, previewed=True, views=views), previewer.rendered

    def _previewer(self, session: RenderSession) -> Previewer:
        return Previewer(session, self.opened, self.scene_id, self.config)

    def _learn(self, previewer: Previewer) -> None:
        """Keep what the previews tell of the views' cost."""
        self._timings["previews_s"], self._pixel_bytes = previewer.seconds, previewer.pixel_bytes

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
            previews_s=self._timings.get("previews_s", 0.0),
            bytes=round(self._pixel_bytes * sum(view.camera.width * view.camera.height for view in plan.views)),
        )

    def _geometric_plan(self) -> Planned:
        cameras = own_cameras(self.scene)
        if self.config.cameras.preset == "scene-cameras" and not cameras:
            raise BlendsetError(
                f"{self.scene_id} has no camera for --preset scene-cameras; add one, or choose another preset."
            )
        for step in plan_steps(self.opened.snapshot, self.opened.geometry, self.found, self.config, cameras):
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
        previewer = self._previewer(session)
        self._light(session, previewer, best_shots(self.scene_id, planned, self.config.seed))
        chosen = audition(
            previewer,
            planned,
            self.config,
            lambda done, total: self._emit("progress", what="previews", done=done, total=total, text=""),
        )
        views = [self._planned_view(view, ev) for unit, stops in chosen for view, ev in zip(unit, stops, strict=True)]
        self._learn(previewer)
        return views, previewer.rendered

    def _planned_view(self, verdict: Verdict, exposure_ev: float | None) -> PlannedView:
        return planned_view(self.scene_id, verdict, self.config.seed, exposure_ev)

    # ---- light -----------------------------------------------------------------------------------------------------

    def _light(self, session: RenderSession, previewer: Previewer, shots: Sequence[Shot]) -> None:
        """Decide on light as the configuration says."""
        wanted = self.config.render.lighting
        if wanted == "auto":
            dark = not lighting.has_light(self.scene, self.opened)
            if dark or lit_share(previewer, shots) < LIT_SHARE:
                wanted = lighting.fitting_kind(self.opened)
        if wanted not in ("auto", "scene"):
            self._add_light(session, wanted)
            previewer.forget()

    def _add_light(self, session: RenderSession, kind: str) -> None:
        lighting.add_light(self.scene, self.opened, kind, session.overrides)
        self.lighting = kind

    def _start_session(self) -> RenderSession:
        if self._session is None:
            session = RenderSession(self.scene, self.layer, self.opened, self.config.render)
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
        subject = self._subjects.get(view.subject)
        record, payload = render_view(session, self.opened, plan, view, subject)
        self.dataset.write_view(record, payload)
        self._emit(
            "view",
            view=view.view_id,
            index=next(k for k, each in enumerate(plan.views) if each.view_id == view.view_id),
            path=self.dataset.view_folder(plan.scene, view.view_id).relative_to(self.dataset.root).as_posix(),
            seconds=time.perf_counter() - started,
            cycles_seconds=record.timings["cycles_s"],
            passed=not record.failed_checks,
            failed_checks=list(record.failed_checks),
        )


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


def _chosen_scene(name: str) -> bpy.types.Scene:
    if not name:
        return bpy.context.scene
    if name not in bpy.data.scenes:
        raise BlendsetError(f"The file has no scene '{name}'; it has {', '.join(bpy.data.scenes.keys())}.")
    return bpy.data.scenes[name]

# SPDX-License-Identifier: GPL-3.0-or-later
"""A scene's plan for a dataset: planned with or without previews, or taken from a plan file, and written down."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence

from blendset.config import Config
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.jobs.messages import CamerasScreened, Event, Progress, ScenePlanned
from blendset.placement.camera_plan import (
    CameraPlan,
    PlannedView,
    find_lost_view,
    group_by_set,
    make_planned_view,
    name_previewed_run,
    read_plan,
    take_views,
    write_plan,
)
from blendset.placement.funnel import write_funnel
from blendset.placement.gates import Verdict
from blendset.placement.obstacles import explain_limits, explain_losses, explain_no_views, format_counts
from blendset.placement.planner import PlanningResult, Step, count_reasons
from blendset.placement.subjects import Subject
from blendset.records import write_json

from ..render.session import RenderSession
from .lighting import choose_lighting, is_dark
from .previews import Previewer, Shot, choose_best_shots, select_by_preview, share_exposure
from .reading import SceneReading, plan_in_steps
from .records import build_run_record, name_run

Emit = Callable[[Event], None]


class ScenePlanner:
    """Plans one scene; the session is started only where something has to be rendered.

    `emit` is called with every event; `timings` are the run's seconds so far; `losses` and `limit` are as ScenePlanned
    has them.
    """

    def __init__(
        self,
        reading: SceneReading,
        scene_id: str,
        dataset: Dataset,
        config: Config,
        session: RenderSession,
        emit: Emit,
        timings: dict[str, float],
    ) -> None:
        self.reading, self.scene_id, self.dataset, self.config = reading, scene_id, dataset, config
        self.session, self._emit, self._timings = session, emit, timings
        self.run = name_run(scene_id, config)
        self._pixel_bytes = 0.0
        self._notes: list[str] = []
        self.losses, self.limit = "", ""

    # ---- a new plan -----------------------------------------------------------------------------------------

    def plan(self, previews: bool) -> CameraPlan:
        """Place, gate and select cameras; with `previews` also light and expose them, and reject what looks bad.

        Writes the plan, the funnel and the run's record; raises BlendsetError where no view is left.
        """
        if previews and (earlier := self._read_earlier_plan(self.run)) is not None:
            return self.adopt(earlier)
        started = time.perf_counter()
        result = self.plan_cameras()
        self._timings["screening_s"] = time.perf_counter() - started
        self._emit(CamerasScreened(candidates=len(result.verdicts), seconds=self._timings["screening_s"]))
        views, rendered = self._choose_views(result, previews)
        self._explain_shortfall(result, views)
        plan = CameraPlan(
            self.run,
            self.scene_id,
            self.config,
            self.session.lighting,
            previews,
            tuple(views),
            self.reading.opened.world_offset,
        )
        write_funnel(self.dataset.funnel_path(self.run), self.scene_id, result.verdicts, self.config.seed)
        self._timings["planning_s"] = time.perf_counter() - started
        self._write_run(plan, rendered)
        write_plan(self.dataset.plan_path(self.run), plan)  # last: a plan that exists has its run's record
        subjects = {
            "found": len(result.search.subjects),
            "seen": len(result.visible_subjects),
            **result.search.left_out,
        }
        self._emit_planned(plan, result.count_reasons(), subjects, rendered)
        if not views:
            of_subjects = [verdict for verdict in result.verdicts if verdict.candidate.subject]
            reason = explain_no_views(count_reasons(of_subjects or result.verdicts), subjects, self._list_lost_files())
            raise BlendsetError(f"{self.scene_id} gives no view: {reason}.")
        return plan

    def _explain_shortfall(self, result: PlanningResult, views: Sequence[PlannedView]) -> None:
        """Say why there are fewer views than were asked for: failed previews, if without them there were more."""
        count, asked = len(views), self.config.cameras.views
        if not 0 < count < asked:
            return
        if count < len(result.choose_views(self.config)):
            self.losses = explain_losses(result.count_reasons(), count, asked)
        else:
            self.limit = explain_limits(result, self.config, Counter(view.subject for view in views), count)

    def _list_lost_files(self) -> list[str]:
        """The files that things of this scene lack."""
        return sorted({path for thing in self.reading.opened.snapshot.objects for path in thing.missing_files})

    def plan_cameras(self) -> PlanningResult:
        """Propose candidates and pass them through the gates; nothing is rendered."""
        for step in plan_in_steps(self.reading, self.config):
            if isinstance(step, Step):
                self._emit(Progress(what=step.what, done=step.done, total=step.total))
                continue
            return step
        raise RuntimeError("planning ended without a plan")

    def _choose_views(self, result: PlanningResult, previews: bool) -> tuple[list[PlannedView], int]:
        """Views in render order and how many previews that took."""
        if self.config.renders_all or not previews:
            if self.config.starting_lighting != "scene":
                self.session.add_light(self.config.starting_lighting)
            elif self.config.renders_all and is_dark(self.session.scene, self.reading.opened):
                self._notes.append("there is no light: every view will be black; use --lighting sky or interior")
            exposure, verdicts = self.config.starting_exposure_ev, result.choose_views(self.config)
            if self.reading.takes_cameras:
                self._note_cameras_left_out(result, verdicts)
            return [self._to_planned_view(view, exposure) for view in verdicts], 0
        previewer = self.start_previewer()
        self._apply_lighting(previewer, choose_best_shots(self.scene_id, result, self.config.seed))
        chosen = select_by_preview(
            previewer,
            result,
            self.config,
            lambda done, total: self._emit(Progress(what="previews", done=done, total=total)),
        )
        self._note_costs(previewer)
        views = [
            self._to_planned_view(view, ev) for unit, stops in chosen for view, ev in zip(unit, stops, strict=True)
        ]
        return views, previewer.rendered

    def _note_cameras_left_out(self, result: PlanningResult, chosen: Sequence[Verdict]) -> None:
        """Name the artist's cameras that are not rendered because fewer views are asked for."""
        if names := [verdict.candidate.name for verdict in result.verdicts if verdict not in chosen]:
            self._notes.append(f"cameras left out by --views {self.config.cameras.views}: {', '.join(names)}")

    def _to_planned_view(self, verdict: Verdict, exposure_ev: float | None) -> PlannedView:
        return make_planned_view(self.scene_id, verdict, self.config.seed, exposure_ev)

    # ---- a plan that was made before -------------------------------------------------------------------------------

    def _read_earlier_plan(self, run: str) -> CameraPlan | None:
        """The plan that an interrupted run left; one that is damaged, or about other subjects, is made again."""
        path = self.dataset.plan_path(run)
        try:
            plan = read_plan(path) if path.exists() else None
        except BlendsetError:
            return None
        if plan is None or plan.world_offset != self.reading.opened.world_offset:
            return None
        usable = plan.previewed and plan.views and not find_lost_view(plan, self.reading.subjects)
        return plan if usable else None

    def adopt(self, plan: CameraPlan) -> CameraPlan:
        """Take a plan from a file, or as much of it as there are to be views. One without previews gets them now, and
        loses the views and view sets that they reject.

        Raises BlendsetError where it is of another resolution or of subjects that are not there, or no view is left.
        """
        self.check_plan(plan)
        resolution = self.config.render.resolution
        if any(max(view.camera.width, view.camera.height) != resolution for view in plan.views):
            raise BlendsetError(
                f"The plan {plan.run} was not made for {resolution} pixels; plan again with that --resolution."
            )
        rendered, planned, count = 0, len(plan.views), self._count_requested(plan)
        shorter = take_views(plan, count)
        if plan.previewed:
            plan = shorter
        else:
            run = name_previewed_run(shorter)
            earlier = self._read_earlier_plan(run)
            plan, rendered = (earlier, 0) if earlier else self._preview_plan(dataclasses.replace(plan, run=run), count)
        if count < planned:
            self._notes.append(
                f"--views {count} takes {len(plan.views)} of the plan's {planned} views; sets stay whole"
            )
        if not rendered:
            self._read_shortfall(plan.run)
        if not self.dataset.run_path(plan.run).exists():  # a window has written the plan, but not what a run finds out
            self._write_run(plan, rendered)
            write_plan(self.dataset.plan_path(plan.run), plan)
        self._emit_planned(plan, {}, {"found": len(self.reading.search.subjects)}, rendered)
        return plan

    def _read_shortfall(self, run: str) -> None:
        """Take over why an earlier run found fewer views than were asked for."""
        path = self.dataset.run_path(run)
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
            self.losses, self.limit = record.get("losses", ""), record.get("limit", "")

    def _count_requested(self, plan: CameraPlan) -> int:
        """How many views of a plan to take: all, unless fewer are asked for than when it was made."""
        asked = self.config.cameras.views
        return min(asked, len(plan.views)) if asked < plan.config.cameras.views else len(plan.views)

    def check_plan(self, plan: CameraPlan) -> None:
        """Raise BlendsetError where a plan has a view of a subject that this scene does not have now, or was made for
        another origin."""
        if plan.world_offset != self.reading.opened.world_offset:
            raise BlendsetError(
                f"The plan {plan.run} has its origin at {plan.world_offset}, and this scene is rendered from "
                f"{self.reading.opened.world_offset}; plan again."
            )
        if view := find_lost_view(plan, self.reading.subjects):
            raise BlendsetError(
                f"The view {view.view_id} of the plan {plan.run} shows '{view.subject}', which is no subject of this "
                "scene under these settings; plan again."
            )

    def _preview_plan(self, plan: CameraPlan, count: int) -> tuple[CameraPlan, int]:
        """A plan with light and exposures decided, of the first `count` views that do not fail (sets as a whole), and
        how many previews that took."""
        previewer = self.start_previewer()
        shots = {view.view_id: (view.view_id, view.camera, self._find_subject(view)) for view in plan.views}
        self._apply_lighting(previewer, list({view.subject: shots[view.view_id] for view in plan.views}.values()))
        exposures: dict[str, float] = {}
        faults: Counter[str] = Counter()
        for members in group_by_set(plan.views):
            if len(exposures) >= count:
                break
            previews = [previewer.preview(*shots[view.view_id]) for view in members]
            if faulty := [preview.faults[0] for preview in previews if preview.faults]:
                faults[faulty[0]] += len(members)
            else:
                stops = [preview.exposure_ev for preview in share_exposure(previews)]
                exposures |= {view.view_id: stop for view, stop in zip(members, stops, strict=True)}
        self._note_costs(previewer)
        lost = self._list_lost_files()
        if not exposures:
            raise BlendsetError(f"The plan {plan.run} gives no view: {explain_no_views(faults, None, lost)}.")
        if len(exposures) < min(count, len(plan.views)):
            self.losses = explain_losses(faults, len(exposures), min(count, len(plan.views)))
        elif faults:
            self._notes.append(f"left out of the plan after previews, view sets as a whole: {format_counts(faults)}")
        kept = [
            dataclasses.replace(view, exposure_ev=exposures[view.view_id])
            for view in plan.views
            if view.view_id in exposures
        ]
        plan = dataclasses.replace(plan, lighting=self.session.lighting, previewed=True, views=tuple(kept))
        return plan, previewer.rendered

    def _find_subject(self, view: PlannedView) -> Subject | None:
        """What a view is about; None for the scene itself."""
        return self.reading.subjects[view.subject] if view.subject else None

    # ---- previews and light ----------------------------------------------------------------------------------------

    def start_previewer(self) -> Previewer:
        """Start the session, and preview through it."""
        return Previewer(self.session.start(), self.reading.opened, self.scene_id, self.config)

    def _apply_lighting(self, previewer: Previewer, shots: Sequence[Shot]) -> None:
        """Add light as the configuration says, and as these shots need it.

        Raises BlendsetError where the scene's own light is to stay and there is none: every preview would be black.
        """
        if self.config.render.lighting == "scene" and is_dark(self.session.scene, self.reading.opened):
            raise BlendsetError(
                f"{self.scene_id} is dark: it has no light, and --lighting scene adds none; use --lighting auto."
            )
        kind = choose_lighting(self.session.scene, self.reading.opened, self.config.render.lighting, previewer, shots)
        if kind != "scene":
            self.session.add_light(kind)
            previewer.clear()

    # ---- what is written and reported ------------------------------------------------------------------------------

    def _note_costs(self, previewer: Previewer) -> None:
        """Keep how long previews took and how many bytes a pixel of a view needs."""
        self._timings["previews_s"], self._pixel_bytes = previewer.seconds, previewer.pixel_bytes

    def _write_run(self, plan: CameraPlan, previews: int) -> None:
        record = build_run_record(plan, self.session.scene, self.session, previews, self._timings)
        write_json(self.dataset.run_path(plan.run), record | {"losses": self.losses, "limit": self.limit})

    def _emit_planned(self, plan: CameraPlan, funnel: dict[str, int], subjects: dict[str, int], previews: int) -> None:
        chosen = {view.subject for view in plan.views if view.subject}
        added = [f"light added: {plan.lighting}"] if plan.lighting != "scene" else []
        self._emit(
            ScenePlanned(
                run=plan.run,
                scene=plan.scene,
                views=tuple(view.view_id for view in plan.views),
                done=tuple(view.view_id for view in plan.views if self.dataset.has_view(plan.scene, view.view_id)),
                funnel=funnel,
                subjects={**subjects, "chosen": len(chosen)},
                notes=(*self.reading.notes, *self._notes, *added),
                previews=previews,
                losses=self.losses,
                limit=self.limit,
                previews_s=self._timings.get("previews_s", 0.0),
                bytes=round(self._pixel_bytes * sum(view.camera.width * view.camera.height for view in plan.views)),
            )
        )

# SPDX-License-Identifier: GPL-3.0-or-later
"""One scene from opening to its last view: what the worker and the headless command call."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import bpy

from blendset.config import Config
from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import sha256_file
from blendset.jobs.messages import SceneOpened, ViewRendered
from blendset.placement.camera_plan import CameraPlan, PlannedView, read_plan
from blendset.records import SceneRecord, write_json

from .planning.reading import read_scene
from .planning.scene_planner import Emit, ScenePlanner
from .render.session import RenderSession
from .render.views import render_view
from .scene.frame import show_frame
from .scene.layers import find_rendered_layer
from .scene.names import repair_names
from .scene.overrides import Overrides
from .scene.records import build_scene_record, name_scene


class SceneRun:
    """A .blend that is open in this process, and the dataset that its views go to.

    `emit` is called with every event; `digest` is the source's SHA-256 where a copy of it
    is what is open; `slot` is as RenderSession has it. Close it to give the scene back as it was, but for
    names that Python cannot read: those stay repaired in memory.
    """

    def __init__(
        self,
        source: Path,
        dataset: Dataset,
        config: Config,
        emit: Emit,
        digest: str = "",
        slot: tuple[int, int] = (0, 1),
    ) -> None:
        self.dataset, self.config, self._emit = dataset, config, emit
        self._exit = ExitStack()
        remarks = repair_names()
        scene = _find_scene(config.scene)
        self._exit.enter_context(show_frame(scene, config.frame))
        layer = find_rendered_layer(scene, config.view_layer)
        digest = digest or sha256_file(source)
        self.scene_id = name_scene(source.stem, scene, digest)
        started = time.perf_counter()
        overrides = self._exit.enter_context(Overrides())
        self.reading = read_scene(scene, layer, config, overrides, remarks)
        timings = {"opening_s": time.perf_counter() - started}
        self.session = RenderSession(scene, layer, self.reading.opened, config.render, slot)
        self._exit.callback(self.session.close)
        self.planner = ScenePlanner(self.reading, self.scene_id, dataset, config, self.session, emit, timings)
        record = build_scene_record(source, digest, self.scene_id, scene, self.reading.opened, self.reading.search)
        _check_coordinates(dataset, record)
        write_json(dataset.scene_path(self.scene_id), record)
        snapshot = self.reading.opened.snapshot
        emit(
            SceneOpened(
                scene=self.scene_id,
                objects=len(snapshot.objects),
                triangles=len(snapshot.triangles),
                notes=tuple(self.reading.notes),
            )
        )

    def __enter__(self) -> SceneRun:
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def plan(self, previews: bool) -> CameraPlan:
        """Plan the scene; with `previews` also light and expose it, and reject what they show to be bad."""
        return self.planner.plan(previews)

    def adopt(self, plan: CameraPlan) -> CameraPlan:
        """Take a plan that was made before, and preview it where that was not done."""
        return self.planner.adopt(plan)

    def read_plan(self, run: str) -> CameraPlan:
        """The plan that another worker made."""
        return read_plan(self.dataset.plan_path(run))

    def render(self, plan: CameraPlan, view_ids: Sequence[str]) -> None:
        """Render these views of a plan in order, skipping those that are whole on disk.

        Raises BlendsetError, before anything is rendered, where a view's subject is not there.
        """
        self.planner.check_plan(plan)
        self.session.start()
        if plan.lighting != self.session.lighting:
            self.session.add_light(plan.lighting)
        by_id = {view.view_id: view for view in plan.views}
        for view_id in view_ids:
            if view_id not in by_id:
                raise BlendsetError(f"{plan.run} has no view {view_id}; make the plan again.")
            if not self.dataset.has_view(self.scene_id, view_id):
                self._render_view(by_id[view_id], plan)

    def _render_view(self, view: PlannedView, plan: CameraPlan) -> None:
        started = time.perf_counter()
        subject = self.reading.subjects[view.subject] if view.subject else None
        record, payload = render_view(self.session, self.reading.opened, plan, view, subject)
        self.dataset.write_view(record, payload)
        self._emit(
            ViewRendered(
                view=view.view_id,
                index=next(index for index, planned in enumerate(plan.views) if planned.view_id == view.view_id),
                path=self.dataset.view_folder(plan.scene, view.view_id).relative_to(self.dataset.root).as_posix(),
                seconds=time.perf_counter() - started,
                cycles_seconds=record.timings["cycles_s"],
                passed=not record.failed_checks,
                failed_checks=record.failed_checks,
            )
        )


def _check_coordinates(dataset: Dataset, record: SceneRecord) -> None:
    """Raise BlendsetError where a dataset has views of this scene in other coordinates, as older versions made them."""
    path = dataset.scene_path(record.scene)
    has_views = path.exists() and (dataset.root / "views" / record.scene).exists()
    if has_views and dataset.scene(record.scene).world_offset != record.world_offset:
        raise BlendsetError(
            f"{dataset.root} has views of {record.scene} whose origin is elsewhere; choose another --out."
        )


def _find_scene(name: str) -> bpy.types.Scene:
    """The scene of that name, or the active one; raises BlendsetError where the file has none of that name."""
    if not name:
        return bpy.context.scene
    if name not in bpy.data.scenes:
        raise BlendsetError(f"The file has no scene '{name}'; it has {', '.join(bpy.data.scenes.keys())}.")
    return bpy.data.scenes[name]

# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that the window shows: made of the open scene step by step, changed by hand, kept in memory only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import bpy

from blendset.cameras import Camera
from blendset.config import Config
from blendset.placement.camera_plan import PlanFile, planned_view
from blendset.placement.candidates import PRESETS, Candidate
from blendset.placement.gates import Verdict
from blendset.placement.planner import Planned, Step, plan_steps
from blendset.placement.subjects import find_subjects

from .scene.cameras import own_cameras
from .scene.snapshot import OpenScene, open_scene, rendered_layer


@dataclass(eq=False)
class WindowPlan:
    """What planning found out about a scene, and what a person thinks of it.

    Views are numbered by their candidates; `turned_down` and `added` hold what was changed by hand.
    """

    scene: str
    config: Config
    opened: OpenScene
    planned: Planned
    turned_down: set[int] = field(default_factory=set)
    kept: set[int] = field(default_factory=set)
    added: list[Verdict] = field(default_factory=list)
    stale: bool = False
    """Whether something in the scene has moved or changed its shape since."""

    def __post_init__(self) -> None:
        self.numbers = {id(verdict): number for number, verdict in enumerate(self.planned.verdicts)}
        self.objects = {each.instance_of or each.name for each in self.opened.snapshot.objects}
        self.choose()

    def choose(self) -> None:
        """Rank again: whatever was turned down makes room for the next best."""
        down = {id(self.planned.verdicts[number]) for number in self.turned_down}
        sampled = PRESETS[self.config.cameras.preset].as_published
        ranked = self.planned.sample(self.config) if sampled else self.planned.ranking(self.config, down)
        chosen = [number for view in ranked if (number := self.numbers[id(view)]) not in self.turned_down]
        self.chosen = [*chosen, *sorted(self.kept.difference(chosen))]

    @property
    def views(self) -> list[Verdict]:
        """The views to render, in order."""
        return [self.planned.verdicts[number] for number in self.chosen] + self.added

    def verdict(self, number: int) -> Verdict:
        """The view of that number: a candidate's, or for -1, -2, ... one that was added by hand."""
        return self.planned.verdicts[number] if number >= 0 else self.added[-1 - number]

    def views_of(self) -> Counter[str]:
        """How many views each subject gets, by its id."""
        return Counter(view.candidate.subject.id for view in self.views if view.candidate.subject)

    def why_unseen(self) -> dict[str, str]:
        """For each subject that no camera can see, what stood in the way most often."""
        reasons: dict[str, Counter[str]] = {}
        for verdict in self.planned.verdicts:
            if verdict.candidate.subject and verdict.candidate.subject.id not in self.planned.seen_subjects:
                reasons.setdefault(verdict.candidate.subject.id, Counter())[verdict.reason] += 1
        return {subject: counts.most_common(1)[0][0] for subject, counts in reasons.items()}

    def add(self, camera: Camera, name: str) -> None:
        """Add a view by hand: of the scene, for nobody has said what it is about."""
        square = camera.resized(self.config.render.resolution)
        self.added.append(Verdict(Candidate(square, name=name)))

    def plan_file(self, scene_id: str) -> PlanFile:
        """What the child Blender renders."""
        published = PRESETS[self.config.cameras.preset].as_published  # rendered as it is, at the scene's own exposure
        exposure = 0.0 if published else None
        views = [planned_view(scene_id, view, self.config.seed, exposure) for view in self.views]
        lighting = self.config.render.lighting if published else "scene"
        return PlanFile(
            run=f"{scene_id}-{self.config.digest()}",
            scene=scene_id,
            config=self.config,
            lighting="scene" if lighting == "auto" else lighting,
            previewed=published,
            views=tuple({view.view_id: view for view in views}.values()),
        )


def planning_steps(scene: bpy.types.Scene, config: Config) -> Iterator[Step | WindowPlan]:
    """Yields often enough for a window to stay alive, but for the first step, which is Blender's evaluation; the plan
    comes last."""
    name = scene.name
    yield Step("reading the scene", 0, 1)
    before = scene.frame_current
    try:
        if config.frame is not None:
            scene.frame_set(config.frame)
        opened, cameras = open_scene(scene, rendered_layer(scene)), own_cameras(scene)
    finally:
        if config.frame is not None:
            scene.frame_set(before)
    found = find_subjects(opened.snapshot, config.subjects, config.seed)
    for step in plan_steps(opened.snapshot, opened.geometry, found, config, cameras):
        if isinstance(step, Step):
            yield step
        else:
            yield WindowPlan(name, config, opened, step)


_plan: WindowPlan | None = None
"""One, as there is one set of lists in the window."""


def plan_of(scene: bpy.types.Scene) -> WindowPlan | None:
    """The plan that was last made, if it is this scene's."""
    return _plan if _plan is not None and _plan.scene == scene.name else None


def remember(plan: WindowPlan | None) -> None:
    """Make this the plan."""
    global _plan
    _plan = plan


@bpy.app.handlers.persistent  # type: ignore[untyped-decorator]
def _scene_changed(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> None:
    """Called after every change, so it looks no further once it knows."""
    plan = plan_of(scene)
    if plan is not None and not plan.stale:
        plan.stale = any(
            (each.is_updated_geometry or each.is_updated_transform)
            and isinstance(each.id, bpy.types.Object)
            and each.id.name_full in plan.objects
            for each in depsgraph.updates
        )


def register() -> None:
    """Watch the scene."""
    bpy.app.handlers.depsgraph_update_post.append(_scene_changed)


def unregister() -> None:
    """Watch no more, and forget the plan."""
    bpy.app.handlers.depsgraph_update_post.remove(_scene_changed)
    remember(None)

# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan that the window shows: planned step by step, changed by hand, never saved with the file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import bpy
import numpy as np

from blendset.cameras import Camera
from blendset.config import Config
from blendset.placement.camera_plan import CameraPlan, make_planned_view
from blendset.placement.candidates import Candidate
from blendset.placement.gates import Verdict
from blendset.placement.planner import PlanningResult, Step
from blendset.placement.subjects import Subject

from ..scene.frame import show_frame
from ..scene.layers import find_rendered_layer
from ..scene.names import check_names
from ..scene.overrides import Overrides
from ..scene.snapshot import OpenScene
from .reading import plan_in_steps, read_scene
from .records import name_run


@dataclass(eq=False)
class WindowPlan:
    """The result of planning a scene, and what a person has changed in it.

    `notes` are what a person should know of the scene. Views are numbered by their candidates; `turned_down`,
    `kept_by_hand` and `added` hold what was changed by hand.
    """

    scene: str
    config: Config
    opened: OpenScene
    result: PlanningResult
    notes: tuple[str, ...] = ()
    turned_down: set[int] = field(default_factory=set)
    kept_by_hand: set[int] = field(default_factory=set)
    added: list[Verdict] = field(default_factory=list)
    stale: bool = False
    """Whether something in the scene has moved or changed its shape since."""

    def __post_init__(self) -> None:
        self.numbers = {id(verdict): number for number, verdict in enumerate(self.result.verdicts)}
        self.objects = {thing.instance_of or thing.name for thing in self.opened.snapshot.objects}
        self.choose_views()

    def choose_views(self) -> None:
        """Rank again: whatever was turned down makes room for the next best."""
        down = {id(self.result.verdicts[number]) for number in self.turned_down}
        ranked = self.result.choose_views(self.config, down)
        chosen = [number for view in ranked if (number := self.numbers[id(view)]) not in self.turned_down]
        self.chosen = [*chosen, *sorted(self.kept_by_hand.difference(chosen))]

    @property
    def views(self) -> list[Verdict]:
        """The views to render, in order."""
        return [self.result.verdicts[number] for number in self.chosen] + self.added

    def get_verdict(self, number: int) -> Verdict:
        """The view of that number: a candidate's, or for -1, -2, ... one that was added by hand."""
        return self.result.verdicts[number] if number >= 0 else self.added[-1 - number]

    def count_views(self) -> Counter[str]:
        """How many views each subject gets, by its id."""
        return Counter(view.candidate.subject.id for view in self.views if view.candidate.subject)

    def find_obstacles(self) -> dict[str, str]:
        """For each subject that no camera can see, by its id, the most frequent reason."""
        reasons: dict[str, Counter[str]] = {}
        for verdict in self.result.verdicts:
            if verdict.candidate.subject and verdict.candidate.subject.id not in self.result.visible_subjects:
                reasons.setdefault(verdict.candidate.subject.id, Counter())[verdict.reason] += 1
        return {subject: counts.most_common(1)[0][0] for subject, counts in reasons.items()}

    def add_view(self, camera: Camera, name: str) -> None:
        """Add a view by hand, from a camera in the coordinates of the file; it is a view of the scene, without a
        subject."""
        square = camera.move(-np.array(self.opened.world_offset)).resize(self.config.render.resolution)
        self.added.append(Verdict(Candidate(square, name=name)))

    def to_camera_plan(self, scene_id: str) -> CameraPlan:
        """What the child Blender renders."""
        exposure = self.config.starting_exposure_ev
        views = [make_planned_view(scene_id, view, self.config.seed, exposure) for view in self.views]
        return CameraPlan(
            run=name_run(scene_id, self.config),
            scene=scene_id,
            config=self.config,
            lighting=self.config.starting_lighting,
            previewed=self.config.renders_all,
            world_offset=self.opened.world_offset,
            views=tuple({view.view_id: view for view in views}.values()),
        )

    # ---- subjects and the objects that make them -------------------------------------------------------------------

    def list_object_names(self, subject: Subject) -> list[str]:
        """The objects that make a subject, by name; instances stand for the object that scatters them."""
        objects = [self.opened.snapshot.objects[number - 1] for number in sorted(subject.objects)]
        return list(dict.fromkeys(thing.instance_of or thing.name for thing in objects))

    def find_objects(self, subject: Subject) -> list[bpy.types.Object]:
        """The objects that make a subject and are still there under their names."""
        names = set(self.list_object_names(subject))
        return [thing for thing in bpy.data.objects if thing.name_full in names]

    def find_largest_object(self, subject: Subject) -> str:
        """The name of the object that a subject goes by: a table's top rather than one of its legs."""
        boxes = self.opened.snapshot.bounds
        sizes = {
            number: float(np.linalg.norm(boxes[number - 1, 1] - boxes[number - 1, 0])) for number in subject.objects
        }
        return self.opened.snapshot.objects[max(sizes, key=lambda number: sizes[number]) - 1].name


def plan_window(scene: bpy.types.Scene, config: Config) -> Iterator[Step | WindowPlan]:
    """Yield progress often enough for a window to stay alive, but for the first step, which is Blender's evaluation;
    the plan comes last."""
    check_names()
    name = scene.name
    yield Step("reading the scene", 0, 1)
    with show_frame(scene, config.frame), Overrides() as overrides:
        reading = read_scene(scene, find_rendered_layer(scene, config.view_layer), config, overrides)
    for step in plan_in_steps(reading, config):
        yield step if isinstance(step, Step) else WindowPlan(name, config, reading.opened, step, tuple(reading.notes))

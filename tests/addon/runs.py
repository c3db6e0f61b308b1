# SPDX-License-Identifier: Apache-2.0
"""Whole runs of the installed add-on, small enough for tests, and what a person would find after them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import bpy
import numpy as np

from blendset.config import CameraSettings, Config, PreviewSettings, RenderSettings
from blendset.dataset import Dataset
from blendset.exr import Passes
from blendset.jobs.messages import Event, ScenePlanned
from blendset.placement.camera_plan import CameraPlan
from blendset.records import SceneRecord, ViewRecord

SMALL = Config(
    cameras=CameraSettings(views=4, candidates=32),
    preview=PreviewSettings(resolution=48, samples=4),
    render=RenderSettings(resolution=64, samples=4, device="cpu"),
)


def import_addon(module: str) -> Any:
    """A module of the add-on, as Blender has installed it."""
    return import_module(f"bl_ext.user_default.blendset.{module}")


def with_options(config: Config, section: str, **changes: Any) -> Config:
    """The configuration with other options in one section."""
    nested: dict[str, Any] = {section: dataclasses.replace(getattr(config, section), **changes)}
    return dataclasses.replace(config, **nested)


def read_picture(path: Path) -> np.ndarray:
    """The values 0..255 of a picture file, (H, W, 3)."""
    return np.asarray(np.rint(255 * import_addon("render.view_transform").read_image(path)))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a run left, and what it knew of the scene."""

    dataset: Dataset
    plan: CameraPlan
    scene: SceneRecord
    views: tuple[ViewRecord, ...]
    subjects: dict[str, Any]
    notes: tuple[str, ...]

    def list_names(self, subject: str) -> set[str]:
        """Names of the objects and of the instancers that make up a subject."""
        members = [self.scene.objects[number - 1] for number in self.subjects[subject].objects]
        return {name for each in members for name in (each.name, each.instance_of) if name}

    @property
    def photographable(self) -> set[str]:
        """Names of everything that is a subject or a part of one."""
        return {name for subject in self.subjects for name in self.list_names(subject)}

    def find_ids(self, name: str) -> list[int]:
        """Ids in passes.exr of an object and its instances, or of everything that an instancer shows."""
        return [each.id for each in self.scene.objects if name in (each.name, each.instance_of)]

    def read_passes(self, view: ViewRecord) -> Passes:
        """The passes of a view."""
        return self.dataset.passes(view)

    def read_picture(self, view: ViewRecord) -> np.ndarray:
        """The picture of a view, (H, W, 3) in 0..255."""
        return read_picture(self.dataset.rgb_path(view))


@contextmanager
def open_run(path: Path, root: Path, config: Config = SMALL) -> Iterator[tuple[Any, list[Event]]]:
    """A SceneRun of a file that was opened as a worker opens it, and the list that its events go to."""
    import_addon("worker").open_file(path)
    events: list[Event] = []
    dataset = Dataset.open_for_run(root, config, [path])
    with import_addon("scene_run").SceneRun(path, dataset, config, events.append) as run:
        yield run, events


def render_dataset(path: Path, root: Path, config: Config = SMALL) -> Outcome:
    """Plan, preview and render one file into a dataset, and index it."""
    with open_run(path, root, config) as (run, events):
        plan = run.plan(previews=True)
        run.render(plan, [view.view_id for view in plan.views])
    run.dataset.rebuild_index()
    return Outcome(
        dataset=run.dataset,
        plan=plan,
        scene=run.dataset.scene(run.scene_id),
        views=tuple(view for view in run.dataset.views() if view.run == plan.run),
        subjects={each.id: each for each in run.reading.search.subjects},
        notes=tuple(note for event in events if isinstance(event, ScenePlanned) for note in event.notes),
    )


def read_scene_state(scene: bpy.types.Scene) -> dict[str, Any]:
    """Everything that a run could have left changed in a file, by name."""
    owners: dict[str, Any] = {
        "scene": scene,
        "render": scene.render,
        "image": scene.render.image_settings,
        "cycles": scene.cycles,
        "view": scene.view_settings,
        "display": scene.display_settings,
    }
    for layer in scene.view_layers:
        owners |= {f"layer {layer.name}": layer, f"cycles of layer {layer.name}": layer.cycles}
    found = {f"{owner}.{name}": value for owner, of in owners.items() for name, value in _iterate_values(of)}
    for each in bpy.data.objects:
        found[f"object {each.name}"] = (each.pass_index, each.hide_render, [tuple(row) for row in each.matrix_world])
    for kind in ("objects", "cameras", "lights", "worlds", "images", "meshes", "collections", "materials", "scenes"):
        found[kind] = sorted(each.name_full for each in getattr(bpy.data, kind) if each.name != "Render Result")
    return found


def _iterate_values(owner: Any) -> Iterator[tuple[str, Any]]:
    """The plain values and the references of a Blender struct."""
    for each in owner.bl_rna.properties:
        value = getattr(owner, each.identifier, None)
        if each.type not in ("COLLECTION", "POINTER") and each.identifier != "session_uid":
            yield each.identifier, tuple(value) if getattr(each, "is_array", False) else value
        elif isinstance(value, bpy.types.ID) and each.identifier != "rna_type":
            yield each.identifier, value.name_full


OF_THE_WINDOW = ("all_ids", "screens", "workspaces", "window_managers")
COMPUTED = (
    "rna_type",
    "session_uid",
    "depsgraph",
    "use_nodes",
    "loop_triangles",
    "loop_triangle_polygons",
    "corner_normals",
    "storage_type",
    "tool_settings",
    "bound_box",
    "users",
)
MANY = 40


def describe_file(path: Path) -> dict[str, str]:
    """All that a saved file holds, property by property of every datablock but the window's own (of long lists, the
    beginning)."""
    bpy.ops.wm.open_mainfile(filepath=str(path))
    bpy.context.view_layer.update()
    found: dict[str, str] = {}
    for kind in bpy.data.bl_rna.properties:
        if kind.type == "COLLECTION" and kind.identifier not in OF_THE_WINDOW:
            for each in getattr(bpy.data, kind.identifier):
                if each.name != "Render Result":
                    _describe(each, f"{kind.identifier}/{each.name_full}", found)
    return found


def _describe(owner: Any, name: str, found: dict[str, str]) -> None:
    """Note everything below a Blender struct under its path; references to datablocks by their names."""
    for key in owner.keys() if hasattr(owner, "keys") and isinstance(owner, bpy.types.ID) else ():
        if not hasattr(owner[key], "keys"):
            found[f"{name}[{key}]"] = str(owner[key])
    for each in owner.bl_rna.properties:
        if each.identifier in COMPUTED or (value := getattr(owner, each.identifier, None)) is None:
            continue
        path = f"{name}.{each.identifier}"
        if each.type == "COLLECTION":
            found[f"{path}.length"] = str(len(value))
            for index, member in enumerate(value[:MANY]):
                _describe_member(member, f"{path}[{index}]", found)
        elif each.type == "POINTER":
            _describe_member(value, path, found)
        else:
            found[path] = repr(
                tuple(value) if getattr(each, "is_array", False) else value
            )  # never into Blender's memory


def _describe_member(value: Any, path: str, found: dict[str, str]) -> None:
    if isinstance(value, bpy.types.ID) and not value.is_embedded_data:
        found[path] = value.name_full
    elif isinstance(value, bpy.types.bpy_struct) and path.count(".") < 7:
        _describe(value, path, found)

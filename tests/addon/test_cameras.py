# SPDX-License-Identifier: Apache-2.0
"""The artist's cameras give the pictures that Blender renders from them, or are left out by name; and a plan gives the
views that it was made for, or says why not."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Vector

from blendset.cameras import Array, Camera, make_facing_rotation, make_pose
from blendset.config import Config
from blendset.errors import BlendsetError
from blendset.exr import read_exr
from blendset.jobs.messages import ScenePlanned
from blendset.placement.camera_plan import CameraPlan, read_plan, write_plan
from blendset.verification import verify_dataset
from tests.addon import scenes
from tests.addon.runs import SMALL, Outcome, import_addon, open_run, render_dataset, with_options

OPS: Any = bpy.ops.blendset
OWN = with_options(
    with_options(SMALL, "cameras", preset="scene-cameras", views=20),
    "render",
    resolution=64,
    samples=1,
    denoise=False,
    lighting="scene",
)
LEFT_OUT = {
    "Flat": "no position, or scaled to nothing",
    "Iso": "orthographic",
    "Mirrored": "mirrored by a negative scale",
    "Round": "panoramic",
    "Skewed": "skewed by a parent of uneven scale",
}


# ---- a file of many cameras ------------------------------------------------------------------------------------------


def scale(*factors: float) -> Callable[[Any], None]:
    """Scales a camera."""
    return lambda camera: setattr(camera, "scale", factors)


def set_optics(**values: object) -> Callable[[Any], None]:
    """Sets properties of a camera's data."""

    def change(camera: Any) -> None:
        for name, value in values.items():
            setattr(camera.data, name, value)

    return change


def exclude(camera: Any) -> None:
    """Puts a camera into a collection that the view layer leaves out, where it follows a hidden target."""
    target = scenes._link(bpy.data.objects.new("Target", None))
    target.location, target.hide_viewport, target.hide_render = (-2.0, 0.5, 0.5), True, True
    constraint = camera.constraints.new("TRACK_TO")
    constraint.target, constraint.track_axis, constraint.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    collection = scenes._add_collection("Old cameras")
    collection.objects.link(camera)
    bpy.context.scene.collection.objects.unlink(camera)
    bpy.context.view_layer.layer_collection.children["Old cameras"].exclude = True


def hang(camera: Any, stretch: float = 1.0) -> None:
    """Hangs a camera on a hidden arm that is turned, and stretched."""
    arm = scenes._link(bpy.data.objects.new("Arm", None))
    arm.rotation_euler, arm.scale, arm.hide_viewport = (0.0, 0.0, 0.4), (1.0, 1.0, stretch), True
    camera.parent = arm


def animate(camera: Any) -> None:
    """Moves a camera and its lens from frame to frame; the file stands between the two."""
    for frame, x, lens in ((1, 0.0, 20.0), (11, 2.0, 60.0)):
        camera.location.x, camera.data.lens = x, lens
        camera.keyframe_insert("location", frame=frame)
        camera.data.keyframe_insert("lens", frame=frame)


def drive(camera: Any) -> None:
    """Shifts a camera's lens by the height of the red box."""
    driver = camera.data.driver_add("shift_y").driver
    driver.type = "SUM"
    variable = driver.variables.new()
    variable.targets[0].id, variable.targets[0].data_path = bpy.data.objects["Red Box"], "delta_location.z"
    bpy.data.objects["Red Box"].delta_location.z = 0.1


KINDS: dict[str, Callable[[Any], None]] = {
    "Animated": animate,
    "Cut": set_optics(clip_start=7.5, clip_end=12.0),
    "Driven": drive,
    "Excluded": exclude,
    "On Arm": hang,
    "Scaled": scale(1.0, 2.0, 0.5),
    "Twice Mirrored": scale(-1.0, -1.0, 1.0),
    "Flat": scale(1.0, 0.0, 1.0),
    "Iso": set_optics(type="ORTHO"),
    "Mirrored": scale(-1.0, 1.0, 1.0),
    "Round": set_optics(type="PANO"),
    "Skewed": lambda camera: hang(camera, 2.5),
}


def build_cameras(path: Path, names: tuple[str, ...] = tuple(KINDS)) -> None:
    """The tidy stage with these cameras around it, all of them hidden in the viewport, and half of them for rendering
    as well."""
    scenes.tidy(path)
    scene = bpy.context.scene
    bpy.data.objects.remove(scene.camera)
    for number, name in enumerate(names):
        camera = scenes._link(bpy.data.objects.new(name, bpy.data.cameras.new(name)))
        angle = 0.5 * number - 2.2
        camera.location = (9 * math.cos(angle), 9 * math.sin(angle), 3.0)
        camera.rotation_euler = (Vector((0.0, 0.0, 0.5)) - camera.location).to_track_quat("-Z", "Y").to_euler()
        camera.data.lens = 30.0
        KINDS[name](camera)
        camera.hide_viewport, camera.hide_render = True, bool(number % 2)
    scene.render.resolution_x, scene.render.resolution_y = 64, 48
    scene.frame_set(6)
    scenes._save(path, {})


def render_depth(name: str, folder: Path) -> Array:
    """What Blender itself renders of the open file from a camera: depth (H, W), infinite where there is nothing."""
    scene = bpy.context.scene
    scene.camera, scene.cycles.samples, scene.cycles.use_denoising = bpy.data.objects[name], 1, False
    scene.view_layers[0].use_pass_z = True
    bpy.ops.render.render()
    formats = import_addon("render.formats")
    with formats.use_image_format(scene, formats.EXR):
        bpy.data.images["Render Result"].save_render(str(folder / "own.exr"), scene=scene)
    planes = read_exr(folder / "own.exr")
    depth = next(values for plane, values in planes.items() if plane.endswith("Depth.Z"))
    return np.where(depth < 1e9, depth, np.inf)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """A dataset of the artist's cameras."""
    folder = tmp_path_factory.mktemp("own")
    build_cameras(folder / "own.blend")
    return render_dataset(folder / "own.blend", folder / "dataset", OWN)


def test_the_artists_cameras_give_blenders_own_pictures(own: Outcome, tmp_path: Path) -> None:
    """Pixel by pixel in depth, which shows pose, lens, shift and clip range at once."""
    build_cameras(tmp_path / "again.blend")
    views = {view.view_id.rsplit("-", 1)[0]: view for view in own.views}
    names = [name for name in KINDS if name not in LEFT_OUT]
    assert views.keys() == {name.lower().replace(" ", "-") for name in names}
    for name in names:
        view = views[name.lower().replace(" ", "-")]
        theirs, ours = render_depth(name, tmp_path), own.read_passes(view).depth
        assert np.isfinite(ours).mean() > 0.15
        assert np.array_equal(np.isfinite(ours), np.isfinite(theirs)), name
        assert ours[np.isfinite(ours)] == pytest.approx(theirs[np.isfinite(ours)], rel=1e-5), name
    assert views["cut"].camera.clip == (7.5, 12.0)
    assert views["animated"].camera.focal_length_mm == pytest.approx(40.0)


def test_their_passes_fit_their_records(own: Outcome) -> None:
    """What records and depth say of the floor lies on its top, or on its underside where its rim is cut away."""
    assert not verify_dataset(own.dataset).problems
    for view in own.views:
        passes = own.read_passes(view)
        points = Camera.from_record(view.camera).unproject(np.where(passes.id > 0, passes.depth, 0.0))
        floor = np.isin(passes.id, own.find_ids("Floor")) & (passes.normal[..., 2] > 0.99)
        assert floor.sum() > 100
        height = points[floor][:, 2]
        assert np.minimum(np.abs(height), np.abs(height + 0.1)).max() < 1e-3
        assert np.linalg.norm(points[floor], axis=1).max() < 10


def test_cameras_that_no_record_holds_are_named_with_the_reason(own: Outcome) -> None:
    left_out = ", ".join(f"{name} ({reason})" for name, reason in LEFT_OUT.items())
    assert f"cameras left out: {left_out}" in own.notes


def test_cameras_beyond_the_views_asked_for_are_named(tmp_path: Path) -> None:
    build_cameras(tmp_path / "own.blend", ("Cut", "Scaled", "Driven"))
    with open_run(tmp_path / "own.blend", tmp_path / "dataset", with_options(OWN, "cameras", views=2)) as (run, events):
        views = run.plan(previews=False).views
    [planned] = (event for event in events if isinstance(event, ScenePlanned))
    [note] = planned.notes
    [left] = {"Cut", "Scaled", "Driven"} - {view.view_id.split("-")[0].capitalize() for view in views}
    assert note == f"cameras left out by --views 2: {left}"


def test_depth_of_field_is_told(tmp_path: Path) -> None:
    build_cameras(tmp_path / "own.blend", ("Scaled", "Cut"))
    bpy.data.objects["Cut"].data.dof.use_dof = True
    scenes._save(tmp_path / "own.blend", {})
    for config, notes in ((OWN, ["rendered without depth of field: Cut"]), (SMALL, [])):
        with open_run(tmp_path / "own.blend", tmp_path / str(len(notes)), config) as (run, _):
            assert [note for note in run.reading.notes if "Cut" in note] == notes


def test_a_scene_of_such_cameras_only_says_why_there_is_no_view(tmp_path: Path) -> None:
    """Headless and in the window with one sentence."""
    build_cameras(tmp_path / "iso.blend", ("Iso", "Mirrored"))
    with (
        open_run(tmp_path / "iso.blend", tmp_path / "dataset", OWN) as (run, _),
        pytest.raises(BlendsetError) as refusal,
    ):
        run.plan(previews=True)
    reasons = "Iso (orthographic), Mirrored (mirrored by a negative scale)"
    assert f"iso.blend has no camera for --preset scene-cameras that can be recorded: {reasons}; " in str(refusal.value)
    import_addon("properties").from_config(bpy.context.scene, OWN)
    with pytest.raises(RuntimeError) as window:
        OPS.plan()
    assert str(refusal.value) in str(window.value)


def test_the_window_names_them_too_and_adds_the_scenes_camera_as_it_renders(tmp_path: Path) -> None:
    build_cameras(tmp_path / "own.blend", ("Cut", "Animated", "Mirrored"))
    scene = bpy.context.scene
    import_addon("properties").from_config(scene, OWN)
    assert OPS.plan() == {"FINISHED"}
    plan = import_addon("state").get_plan(scene)
    assert plan.notes == ("cameras left out: Mirrored (mirrored by a negative scale)",)
    scene.camera = bpy.data.objects["Cut"]
    assert OPS.view_add(source="CAMERA") == {"FINISHED"}
    assert plan.added[-1].candidate.camera.clip == (7.5, 12.0)
    scene.camera = bpy.data.objects["Mirrored"]
    with pytest.raises(RuntimeError, match="Mirrored gives no view"):
        OPS.view_add(source="CAMERA")


# ---- plans that were made before -------------------------------------------------------------------------------------


def plan_tidy(folder: Path, config: Config) -> CameraPlan:
    """A plan of the tidy scene without previews."""
    scenes.tidy(folder / "tidy.blend")
    with open_run(folder / "tidy.blend", folder / "planned", config) as (run, _):
        plan: CameraPlan = run.plan(previews=False)
        return plan


def test_a_plan_whose_subject_is_gone_is_refused(tmp_path: Path) -> None:
    """When it is adopted, and by a worker that only renders."""
    plan = plan_tidy(tmp_path, SMALL)
    other = with_options(SMALL, "subjects", include=("Red*",))
    lost = next(view for view in plan.views if view.subject and view.subject != "red-box")
    with open_run(tmp_path / "tidy.blend", tmp_path / "dataset", other) as (run, _):
        for use in (run.adopt, lambda plan: run.render(plan, [lost.view_id])):
            with pytest.raises(BlendsetError, match=rf"{lost.view_id} .* shows '{lost.subject}', which .*; plan again"):
                use(plan)
        assert not list(run.dataset.views())


def test_an_interrupted_run_whose_subjects_have_changed_plans_anew(tmp_path: Path) -> None:
    config = with_options(SMALL, "cameras", preset="blendfusion")
    scenes.tidy(tmp_path / "tidy.blend")
    with open_run(tmp_path / "tidy.blend", tmp_path / "dataset", config) as (run, _):
        plan = run.plan(previews=True)
        path = run.dataset.plan_path(plan.run)
        write_plan(path, replace(plan, views=tuple(replace(view, subject="gone") for view in plan.views)))
        again = run.plan(previews=True)
        assert [view.subject for view in again.views] == [view.subject for view in plan.views]
        assert all(view.subject != "gone" for view in read_plan(path).views)


def test_view_sets_of_a_plan_stay_whole(tmp_path: Path) -> None:
    """One view of the first set sees nothing: the whole set goes, the next takes its place, and it is told."""
    config = with_options(SMALL, "cameras", preset="orbit-4", views=12)
    plan = plan_tidy(tmp_path, config)
    assert len(plan.views) == 12
    away = replace(
        plan.views[1].camera, world_from_camera=make_pose(make_facing_rotation(-np.ones(3)), 99 * np.ones(3))
    )
    plan = replace(plan, views=(plan.views[0], replace(plan.views[1], camera=away), *plan.views[2:]))
    fewer = with_options(config, "cameras", views=3)
    with open_run(tmp_path / "tidy.blend", tmp_path / "dataset", fewer) as (run, events):
        adopted = run.adopt(plan)
    assert len(adopted.views) == 4
    assert {view.view_set for view in adopted.views} == {adopted.views[0].view_set}
    assert adopted.views[0].view_set != plan.views[0].view_set
    [planned] = (event for event in events if isinstance(event, ScenePlanned))
    assert "--views 3 takes 4 of the plan's 12 views; sets stay whole" in planned.notes
    assert any(
        note.startswith("left out of the plan after previews, view sets as a whole: 4 ") for note in planned.notes
    )

# SPDX-License-Identifier: Apache-2.0
"""Numbers at the border: unit systems, places far from the origin, displays, and names that are no text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from mathutils import Vector

from blendset.cameras import Camera
from blendset.errors import BlendsetError
from tests.addon import scenes
from tests.addon.runs import SMALL, import_addon, open_run, render_dataset, with_options


@pytest.mark.parametrize(
    ("system", "scale", "metres"), [("NONE", 0.01, 1.0), ("METRIC", 0.01, 0.01), ("IMPERIAL", 0.3048, 0.3048)]
)
def test_a_scale_counts_only_where_there_are_units(system: str, scale: float, metres: float) -> None:
    """Without a unit system Blender ignores the scale that the file still holds."""
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    scene.unit_settings.system, scene.unit_settings.scale_length = system, scale
    opened = import_addon("scene.snapshot").open_scene(scene, scene.view_layers[0].name)
    assert opened.snapshot.metres_per_unit == pytest.approx(metres)


# ---- names -----------------------------------------------------------------------------------------------------------

MARK = b"QQZZ_A"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"T\xfcr", "Tür"),
        (b"Caf\xe9", "Café"),
        ("Дверь".encode()[:-1], "Двер"),
        ("部屋".encode(), "部屋"),
        (b"\x81\x8d", "\ufffd\ufffd"),
    ],
)
def test_bytes_become_the_name_that_they_stand_for(data: bytes, text: str) -> None:
    assert import_addon("scene.names").decode_name(data) == text


def test_paths_that_are_no_text_can_be_printed() -> None:
    assert import_addon("scene.names").decode_text("file missing: //F\udcfcr.png") == "file missing: //Für.png"


@pytest.fixture
def unreadable(tmp_path: Path) -> Path:
    """A file whose every name of ours, in `MARK`, is in the letters of Windows."""
    path = tmp_path / "old.blend"
    scenes.tidy(path)
    box = bpy.data.objects["Red Box"]
    box.name, box["blendset_label"] = f"O{MARK.decode()}", f"L{MARK.decode()}"
    box.data.name, box.data.materials[0].name = f"D{MARK.decode()}", f"M{MARK.decode()}"
    scene = bpy.context.scene
    scene.name, scene.view_layers[0].name = f"S{MARK.decode()}", f"V{MARK.decode()}"
    scene.collection.children.link(group := bpy.data.collections.new(f"C{MARK.decode()}"))
    group.objects.link(box)
    bpy.ops.wm.save_as_mainfile(filepath=str(path), compress=False)
    path.write_bytes(path.read_bytes().replace(MARK, b"\xfcr\xe9_\xe4x"))
    return path


def test_names_that_are_no_text_are_repaired_and_told(unreadable: Path, tmp_path: Path) -> None:
    with open_run(unreadable, tmp_path / "dataset") as (run, _):
        plan = run.plan(previews=False)
    record = run.dataset.scene(run.scene_id)
    box = next(each for each in record.objects if each.name == "Oüré_äx")
    assert (box.label, box.collection, box.materials) == ("Lüré_äx", "Cüré_äx", ("Müré_äx",))
    assert record.blender_scene == "Süré_äx"
    assert plan.views
    notes = " · ".join(run.reading.notes)
    assert "names are no UTF-8" in notes and "Oüré_äx" in notes


def test_a_window_renames_nothing_and_says_what_to_do(unreadable: Path) -> None:
    import_addon("worker").open_file(unreadable)
    with pytest.raises(BlendsetError) as refusal:
        list(import_addon("planning.window_plan").plan_window(bpy.context.scene, SMALL))
    assert "no UTF-8" in str(refusal.value) and "rename" in str(refusal.value) and ". " not in str(refusal.value)
    with pytest.raises(UnicodeDecodeError):
        _ = bpy.context.scene.name


# ---- far from the origin ---------------------------------------------------------------------------------------------

AWAY = np.array([433832.0, 477738.0, 0.0])
FAR = with_options(SMALL, "cameras", views=2)


def save_far(path: Path, change: Callable[[Any], object] = lambda thing: None) -> Path:
    """The tidy scene at map coordinates; `change` gets its red box."""
    scenes.tidy(path)
    for thing in bpy.context.scene.objects:
        if thing.parent is None:
            thing.location += Vector(AWAY.tolist())
    change(bpy.data.objects["Red Box"])
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


def test_a_scene_at_map_coordinates_is_rendered_near_an_origin_of_its_own(tmp_path: Path) -> None:
    """Depth there would be 0.2 to 1.6 % off."""
    path = save_far(tmp_path / "far.blend", lambda box: box.keyframe_insert("location"))
    outcome = render_dataset(path, tmp_path / "dataset", FAR)
    offset = np.array(outcome.scene.world_offset)
    assert np.abs(offset - AWAY).max() < 10 and np.array_equal(offset, np.rint(offset))
    box = outcome.scene.objects[outcome.find_ids("Red Box")[0] - 1]
    assert np.allclose(np.mean([box.bounds_min, box.bounds_max], axis=0) + offset - AWAY, (-2, 0, 0.5), atol=0.05)
    assert any("433,8" in note and "relative to" in note for note in outcome.notes)
    for view in outcome.views:
        passes = outcome.read_passes(view)
        (floor,) = outcome.find_ids("Floor")
        heights = Camera.from_record(view.camera).unproject(passes.depth)[passes.id == floor][:, 2]
        assert heights.size and np.abs(heights).max() < 2e-4 * view.camera.world_from_camera[11]
    assert all(not thing.delta_location.length for thing in bpy.data.objects)


def read_world_position(box: Any) -> None:
    tree = box.data.materials[0].node_tree
    shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    position = tree.nodes.new("ShaderNodeNewGeometry")
    tree.links.new(position.outputs["Position"], shader.inputs["Base Color"])


def constrain_lamp(box: Any) -> None:
    lamp = next(thing for thing in bpy.context.scene.objects if thing.type == "LIGHT")
    lamp.constraints.new("COPY_LOCATION").target = box


def limit_location(box: Any) -> None:
    limit = box.constraints.new("LIMIT_LOCATION")
    limit.use_min_x, limit.min_x = True, AWAY[0] - 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (read_world_position, "reads positions"),
        (constrain_lamp, "has a constraint"),
        (limit_location, "not everything in it moves along"),
        (lambda box: box.driver_add("scale", 0), "Red Box has a driver"),
    ],
)
def test_a_scene_that_might_change_by_moving_stays_and_says_why(
    change: Callable[[Any], object], reason: str, tmp_path: Path
) -> None:
    with open_run(save_far(tmp_path / "far.blend", change), tmp_path / "dataset", FAR) as (run, _):
        record = run.dataset.scene(run.scene_id)
    assert record.world_offset == (0, 0, 0)
    (note,) = (note for note in record.notes if "far from the origin" in note)
    assert reason in note and "move the scene" in note
    assert all(not thing.delta_location.length for thing in bpy.data.objects)


def test_the_window_plans_far_away_what_its_child_renders_and_draws_it_where_it_is(tmp_path: Path) -> None:
    path = save_far(tmp_path / "far.blend")
    with open_run(path, tmp_path / "dataset", FAR) as (run, _):
        rendered = {view.view_id for view in run.plan(previews=False).views}
        scene_id = run.scene_id
    import_addon("worker").open_file(path)
    plan = list(import_addon("planning.window_plan").plan_window(bpy.context.scene, FAR))[-1]
    planned = plan.to_camera_plan(scene_id)
    assert {view.view_id for view in planned.views} == rendered
    assert any(planned.world_offset) and not plan.stale
    camera = plan.views[0].candidate.camera
    import_addon("state").set_plan(plan)
    import_addon("rows").write_lists(bpy.context, plan)
    points, _ = import_addon("ui.overlay").build_lines(bpy.context)
    assert len(points) and np.abs(points - AWAY).max() < 100
    plan.add_view(camera.move(np.array(planned.world_offset)), "by hand")
    assert np.allclose(plan.added[0].candidate.camera.position, camera.position, atol=1e-6)
    assert all(not thing.delta_location.length for thing in bpy.data.objects)


# ---- displays --------------------------------------------------------------------------------------------------------


class Display:
    """A scene of another colour management, with these display devices."""

    def __init__(self, devices: list[str], transform: str) -> None:
        self.devices, self.device = devices, devices[0]
        self.display_settings = self
        self.view_settings = SimpleNamespace(view_transform=transform, look="None")

    @property
    def display_device(self) -> str:
        """The device; only one of its own can be set, as in Blender."""
        return self.device

    @display_device.setter
    def display_device(self, name: str) -> None:
        if name not in self.devices:
            raise TypeError(name)
        self.device = name


@pytest.mark.parametrize(
    ("devices", "transform", "chosen", "notes"),
    [
        (["sRGB - Display", "P3-D65 - Display"], "ACES 2.0", "sRGB - Display", 0),
        (["P3-D65 - Display", "sRGB - Display"], "ACES 2.0", "sRGB - Display", 1),
        (["ACES"], "sRGB", "ACES", 0),
    ],
)
def test_other_colour_managements_have_srgb_too(devices: list[str], transform: str, chosen: str, notes: int) -> None:
    scene = Display(devices, transform)
    with import_addon("scene.overrides").Overrides() as overrides:
        assert len(import_addon("scene.display").use_srgb_display(scene, overrides)) == notes
        assert scene.device == chosen
    assert scene.device == devices[0]


def test_a_view_transform_for_data_is_told() -> None:
    bpy.ops.wm.read_homefile(use_empty=True)
    scene = bpy.context.scene
    for transform, notes in (("Standard", 0), ("AgX", 0), ("False Color", 1), ("Raw", 1)):
        scene.view_settings.view_transform = transform
        with import_addon("scene.overrides").Overrides() as overrides:
            assert len(import_addon("scene.display").use_srgb_display(scene, overrides)) == notes


def test_a_colour_management_without_srgb_is_one_sentence() -> None:
    with import_addon("scene.overrides").Overrides() as overrides, pytest.raises(BlendsetError) as refusal:
        import_addon("scene.display").use_srgb_display(Display(["XYZ"], "Raw"), overrides)
    assert "no sRGB display, only such as XYZ; unset" in str(refusal.value)


def test_a_scene_for_another_display_gives_the_same_picture_as_for_srgb(tmp_path: Path) -> None:
    pictures, notes = {}, {}
    for device in ("sRGB", "Display P3"):
        path = tmp_path / f"{device}.blend"
        scenes.tidy(path)
        bpy.context.scene.display_settings.display_device = device
        bpy.ops.wm.save_as_mainfile(filepath=str(path))
        with open_run(path, tmp_path / "dataset") as (run, _):
            session, notes[device] = run.session.start(), run.reading.notes
            camera = run.plan(previews=False).views[0].camera
            session.render(camera.resize(32), 1, 1, False)
            pictures[device] = session.encode_png(0.0)[0]
        assert bpy.context.scene.display_settings.display_device == device
    assert pictures["Display P3"] == pictures["sRGB"]
    assert not any("display" in note for note in notes["sRGB"])
    assert any("Display P3" in note and "for sRGB" in note for note in notes["Display P3"])

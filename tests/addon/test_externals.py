# SPDX-License-Identifier: Apache-2.0
"""What a scene lacks outside its file, what its layers hide, and what its drivers need: known before the first preview,
and told."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blendset.errors import BlendsetError
from blendset.records import read_json
from tests.addon import scenes_externals
from tests.addon.runs import SMALL, import_addon, open_run, read_scene_state, render_dataset, with_options

FINE = {"sound", "misnamed", "generated", "tile", "frame", "left out of a mix", "muted"}
"""Patches that Cycles draws as they should be; it draws all others magenta."""
FEW = dataclasses.replace(SMALL, cameras=dataclasses.replace(SMALL.cameras, views=2, candidates=16))
NEUTRAL = with_options(FEW, "render", missing="neutral")


def render_patches(names: list[str], folder: Path) -> dict[str, np.ndarray]:
    """The colour of each patch, as Cycles draws it."""
    scene: Any = bpy.context.scene
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 4 * len(names), 4, 100
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath, scene.render.image_settings.file_format = str(folder / "patches.png"), "PNG"
    bpy.ops.render.render(write_still=True)
    picture = import_addon("render.view_transform").read_image(folder / "patches.png")
    return {name: picture[1:3, 4 * place + 1 : 4 * place + 3].mean(axis=(0, 1)) for place, name in enumerate(names)}


def is_magenta(colour: np.ndarray) -> bool:
    """Whether a colour (3,) is the one that Cycles draws for a picture that it cannot read."""
    return bool(colour[0] > 0.9 and colour[1] < 0.1 and colour[2] > 0.9)


def test_lost_is_what_cycles_draws_magenta_and_neutral_grey_stands_in_for_it(tmp_path: Path) -> None:
    names = scenes_externals.patches(tmp_path / "pictures")
    scene: Any = bpy.context.scene
    layer = scene.view_layers[0].name
    files, overrides = import_addon("scene.externals.files"), import_addon("scene.overrides").Overrides()
    drawn = render_patches(names, tmp_path)
    assert {name for name in names if not is_magenta(drawn[name])} == FINE
    assert set(files.find_externals(scene, layer).by_material) == set(names) - FINE
    before = {node.name: node.image for material in bpy.data.materials for node in list_image_nodes(material)}
    with overrides:
        import_addon("scene.externals.stand_ins").use_stand_ins(scene, layer, overrides)
        neutral = render_patches(names, tmp_path)
    for name in set(names) - FINE:
        assert neutral[name] == pytest.approx([0.5] * 3, abs=0.02), name
    for name in FINE:
        assert neutral[name] == pytest.approx(drawn[name], abs=0.02), name
    assert before == {node.name: node.image for material in bpy.data.materials for node in list_image_nodes(material)}
    assert not [image for image in bpy.data.images if image.name.startswith("Blendset")]


def list_image_nodes(material: bpy.types.Material) -> list[Any]:
    """The image nodes of a material."""
    return [node for node in material.node_tree.nodes if hasattr(node, "image")]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("sound.png", ""),
        ("misnamed.jpg", ""),
        ("pointer.png", "is a Git LFS pointer"),
        ("empty.png", "is empty"),
        ("page.png", "is no picture"),
        ("cut.png", "is no picture"),
        ("gone.png", "missing"),
        (".", "is no picture"),
    ],
)
def test_what_is_wrong_with_a_picture_is_said(tmp_path: Path, name: str, fault: str) -> None:
    scenes_externals.write_pictures(tmp_path)
    assert import_addon("scene.externals.files").find_fault(tmp_path / name, picture=True) == fault


def test_windows_separators_lead_to_the_file(tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    resolve = import_addon("scene.externals.files").resolve_path
    assert resolve("//textures\\wood.png") == tmp_path / "textures" / "wood.png"


def test_a_lost_texture_is_named_with_its_cure_and_its_thing_is_no_subject(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.lost_textures(path)
    with open_run(path, tmp_path / "dataset", FEW) as (run, _):
        ball = next(thing for thing in run.reading.opened.snapshot.objects if thing.name == "Green Ball")
        assert ball.missing_files == ("//gone normals.png", "//pointer.png")
        assert not any(ball.id in subject.objects for subject in run.reading.search.subjects)
        assert run.reading.notes[:2] == [
            "texture missing: //gone normals.png",
            "texture is a Git LFS pointer: //pointer.png; run `git lfs pull` in its folder",
        ]
        assert run.dataset.scene(run.scene_id).missing_files == (
            "//gone normals.png",
            "//pointer.png (is a Git LFS pointer)",
        )


def test_neutral_things_are_subjects_and_every_record_says_so(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.lost_textures(path)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    before = read_scene_state(bpy.context.scene)
    outcome = render_dataset(path, tmp_path / "dataset", NEUTRAL)
    assert read_scene_state(bpy.context.scene) == before
    assert "Green Ball" in outcome.photographable
    [ball] = outcome.find_ids("Green Ball")
    shows = {view.view_id: any(each.id == ball for each in view.visible_objects) for view in outcome.views}
    assert any(shows.values())
    for view in outcome.views:
        assert view.missing_files == (("//gone normals.png", "//pointer.png") if shows[view.view_id] else ())
        colours = outcome.read_picture(view)[outcome.read_passes(view).id == ball]
        assert not len(colours) or np.ptp(colours.mean(axis=0)) < 60  # grey below a blue sky, not magenta


def test_a_sky_without_its_picture_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.lost_sky(path)
    with pytest.raises(BlendsetError) as refusal, open_run(path, tmp_path / "dataset", FEW):
        pass
    assert str(refusal.value) == (
        "'Sky' would light the scene magenta, for its texture is lost: //gone.hdr; put it back, "
        "or use --missing neutral."
    )
    with open_run(path, tmp_path / "neutral", NEUTRAL) as (run, _):
        assert run.reading.opened.externals.light
    with open_run(path, tmp_path / "sky", with_options(FEW, "render", lighting="sky")) as (run, _):
        assert not run.reading.opened.externals.light  # another sky stands in its place


def test_every_kind_of_lost_file_is_named_with_what_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.lost_files(path)
    with open_run(path, tmp_path / "dataset", FEW) as (run, _):
        assert run.reading.notes[:3] == [
            "font missing: //sign.woff2 ('Sign' is set in Blender's own font)",
            "mesh cache missing: //gone.pc2 ('Red Box' stays as it was modelled)",
            "volume missing: //gone.vdb ('Smoke' is empty)",
        ]
        lost = run.dataset.scene(run.scene_id).missing_files
        assert lost == ("//gone.pc2", "//gone.vdb", "//sign.woff2", "//unused.py")


def test_long_lists_of_lost_files_are_counted() -> None:
    files = import_addon("scene.externals.files")
    losses = tuple(files.Loss(f"//{number:02}.png") for number in range(42))
    notes = files.Externals({"Wood": losses}).list_notes(loss.path for loss in losses)
    assert len(notes) == 6 and notes[0] == "texture missing: //00.png"
    assert notes[-1] == "texture: and 37 more; the scene's record names all"


@pytest.mark.parametrize(
    ("cyclic", "numbers"), [(False, [1, 1, 1, 2, 3, 3]), (True, [2, 3, 1, 2, 3, 1])], ids=["held", "repeated"]
)
def test_a_sequence_shows_the_picture_that_blender_shows(cyclic: bool, numbers: list[int]) -> None:
    node = bpy.data.node_groups.new("group", "ShaderNodeTree").nodes.new("ShaderNodeTexImage")
    user: Any = node.image_user
    user.frame_duration, user.frame_start, user.use_cyclic = 3, 3, cyclic
    compute = import_addon("scene.externals.files").compute_frame
    assert [compute(user, frame) for frame in range(1, 7)] == numbers


# ---- drivers and layers ----------------------------------------------------------------------------------------------


def test_drivers_that_need_python_are_named_with_what_they_drive(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.drivers(path)
    with open_run(path, tmp_path / "dataset", dataclasses.replace(FEW, frame=4)) as (run, _):
        [note] = [note for note in run.reading.notes if "Python" in note]
    assert note.startswith("1 driver needs Python, which is off") and "Red Box: location z" in note
    assert "Green Ball" not in note and "Blue Cone" not in note


def test_what_cameras_do_not_see_and_other_layers_are_told_and_recorded(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.layers(path)
    with open_run(path, tmp_path / "dataset", FEW) as (run, _):
        names = {thing.name for thing in run.reading.opened.snapshot.objects}
        assert names == {"Red Box", "Floor"}
        assert run.reading.notes[:2] == [
            "view layers: rendered: Set; not rendered: Actors; --view-layer chooses one",
            "not seen by cameras (indirect only, or camera rays off): Blue Cone, Green Ball",
        ]
        plan = run.plan(previews=False)
        record = read_json(run.dataset.run_path(plan.run))
    assert record["view_layer"] == "Set" and record["view_layers_not_rendered"] == ["Actors"]


def test_the_view_layer_can_be_chosen(tmp_path: Path) -> None:
    path = tmp_path / "scene.blend"
    scenes_externals.layers(path)
    with open_run(path, tmp_path / "dataset", dataclasses.replace(FEW, view_layer="Actors")) as (run, _):
        assert {thing.name for thing in run.reading.opened.snapshot.objects} == {"Red Box", "Floor", "Blue Cone"}
    with pytest.raises(BlendsetError) as refusal:
        import_addon("scene.layers").find_rendered_layer(bpy.context.scene, "Stage")
    assert str(refusal.value) == "Scene 'Scene' has no view layer 'Stage'; it has Set, Actors."

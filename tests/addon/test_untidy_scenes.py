# SPDX-License-Identifier: Apache-2.0
"""What strangers' scenes do: each oddity is planned and rendered, and what comes out is what a person expects."""

from __future__ import annotations

import dataclasses
import gzip
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blendset.cameras import Camera, make_facing_rotation, make_pose
from blendset.errors import BlendsetError
from blendset.verification import verify_dataset
from tests.addon import scenes
from tests.addon.runs import SMALL, Outcome, import_addon, open_run, read_scene_state, render_dataset, with_options

RENDERED = (
    "tidy no_camera no_light missing_library missing_textures hidden_things holdouts other_kinds hair_curves particles "
    "modifiers collection_instances geometry_nodes_instances negative_and_zero_scale unit_scale a_kilometre_away "
    "one_mesh several_scenes render_traps eevee scripts"
).split()
UNREADABLE = "not_a_blend truncated from_the_future for_newer_blenders_only unknown_format".split()
STAGE = set(scenes.STAGE)
Show = Callable[[str], tuple[Outcome, scenes.Facts]]


def build_scene(name: str, folder: Path) -> tuple[Path, scenes.Facts]:
    """The file of a scene and what is true of it; what must not appear would be "elsewhere" in the folder."""
    build = getattr(scenes, name)
    path = folder / f"{name}.blend"
    elsewhere = [folder / "elsewhere"] * bool({"elsewhere", "marker"} & set(inspect.signature(build).parameters))
    facts = build(path, *elsewhere)
    bpy.ops.wm.read_homefile(use_empty=True)
    return path, facts


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> Show:
    """Renders a scene the first time that a test asks for it."""
    known: dict[str, tuple[Outcome, scenes.Facts]] = {}

    def render_scene(name: str) -> tuple[Outcome, scenes.Facts]:
        if name not in known:
            path, facts = build_scene(name, tmp_path_factory.mktemp(name))
            known[name] = render_dataset(path, path.parent / "dataset"), facts
        return known[name]

    return render_scene


def assert_one_sentence(error: BaseException, *about: str) -> None:
    """Assert that a message is one sentence that names these things."""
    text = str(error)
    assert text.endswith(".") and ". " not in text and "\n" not in text, text
    for each in about:
        assert each in text


# ---- every scene -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RENDERED)
def test_every_scene_gives_whole_views_of_the_size_asked_for(show: Show, name: str) -> None:
    outcome, _ = show(name)
    report = verify_dataset(outcome.dataset)
    assert not report.problems and report.views == len(outcome.views) == len(outcome.plan.views) >= 1
    for view in outcome.views:
        passes = outcome.read_passes(view)
        assert (view.camera.width, view.camera.height) == (64, 64)
        assert outcome.read_picture(view).shape == (64, 64, 3) and passes.id.shape == (64, 64)
        ids, counts = np.unique(passes.id[passes.id > 0], return_counts=True)
        assert {each.id: each.pixels for each in view.visible_objects} == dict(
            zip(ids.tolist(), counts.tolist(), strict=True)
        )


@pytest.mark.parametrize("name", RENDERED)
def test_views_are_not_spoiled(show: Show, name: str) -> None:
    outcome, _ = show(name)
    assert sum(not view.failed_checks for view in outcome.views) >= 0.75 * len(outcome.views)
    for view in outcome.views:
        assert outcome.read_picture(view).mean() > 25


@pytest.mark.parametrize("name", RENDERED)
def test_the_subjects_are_what_a_person_would_photograph(show: Show, name: str) -> None:
    outcome, facts = show(name)
    assert set(facts["subjects"]) <= outcome.photographable
    assert not outcome.photographable & set(facts.get("not_subjects", ()))
    for thing, position in facts["subjects"].items():
        subject = next(each for each in outcome.subjects if thing in outcome.list_names(each))
        low, high = outcome.subjects[subject].bounds + np.array(outcome.scene.world_offset)
        assert (low - 1e-3 <= position).all() and (position <= high + 1e-3).all()


@pytest.mark.parametrize("name", [each for each in RENDERED if each not in ("one_mesh", "particles")])
def test_things_that_stand_apart_are_subjects_of_their_own(show: Show, name: str) -> None:
    outcome, facts = show(name)
    owners = [
        next(each for each in outcome.subjects if thing in outcome.list_names(each)) for thing in facts["subjects"]
    ]
    assert len(set(owners)) == len(owners)


# ---- what the file lacks ---------------------------------------------------------------------------------------------


def test_light_is_added_only_where_there_is_none(show: Show) -> None:
    dark, tidy = show("no_light")[0], show("tidy")[0]
    assert {view.lighting for view in dark.views} == {"sky"} and {view.lighting for view in tidy.views} == {"scene"}
    assert "light added: sky" in dark.notes and not [note for note in tidy.notes if "light" in note]


def test_without_light_the_user_may_refuse_any(tmp_path: Path) -> None:
    path, _ = build_scene("no_light", tmp_path)
    with pytest.raises(BlendsetError) as refusal:
        render_dataset(path, tmp_path / "dataset", with_options(SMALL, "render", lighting="scene"))
    assert_one_sentence(refusal.value, "no-light", "dark", "--lighting")


def test_the_same_things_are_seen_without_a_camera(show: Show) -> None:
    assert set(show("no_camera")[0].subjects) == set(show("tidy")[0].subjects)


def test_a_scene_without_camera_has_none_of_its_own_to_render(tmp_path: Path) -> None:
    path, _ = build_scene("no_camera", tmp_path)
    with pytest.raises(BlendsetError) as refusal:
        render_dataset(path, tmp_path / "dataset", with_options(SMALL, "cameras", preset="scene-cameras"))
    assert_one_sentence(refusal.value, "no_camera.blend", "add one")


def test_a_scene_without_a_mesh_ends_in_one_sentence(tmp_path: Path) -> None:
    path, _ = build_scene("no_mesh", tmp_path)
    with pytest.raises(BlendsetError) as refusal:
        render_dataset(path, tmp_path / "dataset")
    assert_one_sentence(refusal.value, "no-mesh", "nothing in it can be photographed", "check")


def test_missing_libraries_are_named(show: Show) -> None:
    outcome, facts = show("missing_library")
    for lost in facts["missing_files"] + facts["missing_objects"]:
        assert any(lost in each for each in outcome.scene.missing_files)
        assert any(lost in note for note in outcome.notes)


def test_missing_textures_are_named_and_never_photographed(show: Show) -> None:
    outcome, facts = show("missing_textures")
    assert any("not there.png" in each for each in outcome.scene.missing_files)
    assert any("not there.png" in note for note in outcome.notes)
    of_whom = set().union(*(outcome.list_names(view.subject) for view in outcome.views if view.subject))
    assert of_whom == set(facts["subjects"])
    assert not any("Packed" in each or "Made" in each for each in outcome.scene.missing_files)


# ---- what is in the file but not in the picture ----------------------------------------------------------------------


def test_what_does_not_render_is_not_in_the_scene(show: Show) -> None:
    outcome, facts = show("hidden_things")
    there = {each.name for each in outcome.scene.objects}
    assert not there & set(facts["not_subjects"])
    assert {"Monitor Off", "Eye Shut"} <= there


def test_a_hidden_boolean_cutter_is_not_in_the_scene(show: Show) -> None:
    outcome, _ = show("modifiers")
    assert "Cut By Hidden Cutter" not in {each.name for each in outcome.scene.objects}


def test_modified_shapes_have_the_bounds_that_render(show: Show) -> None:
    outcome, facts = show("modifiers")
    for name, bounds in facts["bounds"].items():
        each = next(each for each in outcome.scene.objects if each.name == name)
        assert np.allclose((each.bounds_min, each.bounds_max), bounds, atol=1e-4)


# ---- geometry that is no plain mesh ----------------------------------------------------------------------------------


def test_curves_texts_and_metaballs_are_photographed_with_ids_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "other_kinds.blend"
    scenes.other_kinds(path)
    bpy.data.objects.remove(bpy.data.objects["Volume"])  # it takes its time, and other tests see it
    bpy.ops.wm.save_mainfile()
    names = ("Thick Curve", "Text", "Metaball")
    config = dataclasses.replace(SMALL, subjects=dataclasses.replace(SMALL.subjects, include=names))
    outcome = render_dataset(path, tmp_path / "dataset", with_options(config, "cameras", views=6, scene_views=0.0))
    assert set(outcome.photographable) == set(names)
    assert {name for view in outcome.views for name in outcome.list_names(view.subject)} == set(names)
    for view in outcome.views:
        (name,) = outcome.list_names(view.subject)
        share = np.isin(outcome.read_passes(view).id, outcome.find_ids(name)).mean()
        assert share > 0.04 and view.subject_share == pytest.approx(share, abs=1e-3)


@pytest.mark.parametrize(("name", "coat"), [("hair_curves", "Coat"), ("particles", "Green Ball")])
def test_hair_covers_its_owner_in_the_picture(tmp_path: Path, name: str, coat: str) -> None:
    """A ball in its coat fills more of the picture than it does bare: hair has its owner's id, or its own."""
    path, _ = build_scene(name, tmp_path)
    with open_run(path, tmp_path / "dataset") as (run, _):
        session = run.session.start()
        pixels = session.render(make_camera((0.0, 1.0, 0.6), (0.0, -4.0, 1.6)), 4, 1, False)
        numbers = [each.id for each in run.reading.opened.snapshot.objects if each.name in (coat, "Green Ball")]
    bare = np.pi * (0.6 * 50 / 36) ** 2 / (5**2 + 1**2 - 0.6**2)  # a sphere's silhouette
    assert np.isin(pixels.ids, numbers).mean() > 1.05 * bare


def test_emitted_particles_have_ids_of_their_own(show: Show) -> None:
    outcome, facts = show("particles")
    for name, count in facts["emitted"].items():
        assert len([each for each in outcome.scene.objects if each.name == name and each.instance_of]) == count


# ---- instances -------------------------------------------------------------------------------------------------------


def test_two_instances_of_a_collection_are_two_subjects_under_its_label(show: Show) -> None:
    outcome, facts = show("collection_instances")
    chairs = [each for each in outcome.subjects.values() if each.label == facts["label"]]
    assert [outcome.list_names(each.id) - {"Seat", "Back"} for each in chairs] == [
        {name} for name in facts["instances"]
    ]
    assert not chairs[0].objects & chairs[1].objects


def test_two_instances_are_two_ids_in_one_picture(tmp_path: Path) -> None:
    path, facts = build_scene("collection_instances", tmp_path)
    outcome = render_dataset(
        path, tmp_path / "dataset", with_options(SMALL, "cameras", preset="scene-cameras", views=1)
    )
    (view,) = outcome.views
    for name in facts["instances"]:
        assert len(outcome.find_ids(name)) == 2
        assert np.isin(outcome.find_ids(name), outcome.read_passes(view).id).all()
    assert [each.label for each in view.visible_objects].count("chair") == 4


def test_instances_by_geometry_nodes_are_subjects_where_they_stand(show: Show) -> None:
    outcome, facts = show("geometry_nodes_instances")
    centres = np.array([each.centre for each in outcome.subjects.values()])
    for position in (*facts["instances_at"], facts["parts_at"][1]):  # the middle of the row that is one object
        assert (np.linalg.norm(centres - position, axis=1) < 1e-3).sum() == 1
    assert not any(np.allclose(centre, (0.0, 8.0, 0.6)) for centre in centres)  # the original, which does not render


# ---- numbers out of the ordinary -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["unit_scale", "a_kilometre_away"])
def test_scale_and_place_change_neither_subjects_nor_views(show: Show, name: str) -> None:
    (outcome, facts), (tidy, _) = show(name), show("tidy")
    assert list(outcome.subjects) == list(tidy.subjects)
    assert outcome.scene.metres_per_unit == pytest.approx(facts.get("metres_per_unit", 1.0))
    assert [view.subject for view in outcome.plan.views] == [view.subject for view in tidy.plan.views]


def test_a_mirrored_object_is_not_inside_out(show: Show) -> None:
    """Its surface faces the camera, or every ray would take it for the inside of something."""
    outcome, _ = show("negative_and_zero_scale")
    assert {"mirrored", "inside-out"} <= {view.subject for view in outcome.plan.views} | set(outcome.subjects)
    rows = outcome.dataset.funnel_path(outcome.plan.run).read_text(encoding="utf-8").splitlines()
    assert not [row for row in rows if '"inside something"' in row or '"back faces"' in row]


def test_one_mesh_that_is_the_whole_scene_gives_a_view(show: Show) -> None:
    outcome, _ = show("one_mesh")
    assert len(outcome.views) >= 1 and not any(view.failed_checks for view in outcome.views)


# ---- several scenes and view layers ----------------------------------------------------------------------------------


def test_the_active_scene_and_its_first_rendered_layer_are_taken(tmp_path: Path, show: Show) -> None:
    outcome, facts = show("several_scenes")
    assert outcome.photographable == set(facts["scenes"]["Main"]) and outcome.scene.blender_scene == "Main"
    path, _ = build_scene("several_scenes", tmp_path)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    bpy.data.scenes["Main"].view_layers["ViewLayer"].use = False
    bpy.ops.wm.save_mainfile()
    assert render_dataset(path, tmp_path / "dataset").photographable == set(facts["scenes"]["Main"]) - {"Blue Cone"}


def test_another_scene_of_the_file_can_be_asked_for(tmp_path: Path) -> None:
    path, facts = build_scene("several_scenes", tmp_path)
    asked = dataclasses.replace(SMALL, scene="Other")
    with open_run(path, tmp_path / "dataset", asked) as (run, _):
        plan = run.plan(previews=False)
        names = {
            run.reading.opened.snapshot.objects[number - 1].name
            for each in run.reading.search.subjects
            for number in each.objects
        }
    assert names == set(facts["scenes"]["Other"]) and plan.scene.startswith("several-scenes-other-")
    with (
        pytest.raises(BlendsetError) as refusal,
        open_run(path, tmp_path / "none", dataclasses.replace(SMALL, scene="X")),
    ):
        pass
    assert_one_sentence(refusal.value, "'X'", "Main", "Other")


# ---- settings that would spoil the pictures --------------------------------------------------------------------------


def make_camera(target: tuple[float, float, float], position: tuple[float, float, float], size: int = 64) -> Camera:
    """An upright camera of 50 mm."""
    at = np.array(position)
    return Camera(make_pose(make_facing_rotation(at - np.array(target)), at), size, size, 50.0)


def render_picture(path: Path, folder: Path, camera: Camera) -> Any:
    """The picture that a session takes of a file."""
    with open_run(path, folder / "dataset") as (run, _):
        session = run.session.start()
        pixels = session.render(camera, 16, 7, False)
        return session.encode_png(0.0)[1], pixels


def test_render_traps_change_no_pixel(tmp_path: Path) -> None:
    """Border, percentage, pixel aspect, stereo, motion blur, depth of field, Freestyle, film transparency, stamp,
    compositor and sequencer: the picture is the tidy scene's."""
    camera = make_camera((0.0, 0.5, 0.5), (3.0, -6.0, 3.0))
    pictures = []
    for name in ("tidy", "render_traps"):
        folder = tmp_path / name
        pictures.append(render_picture(build_scene(name, folder)[0], folder, camera))
    (plain, plain_pixels), (trapped, trapped_pixels) = pictures
    assert plain.std() > 20
    assert np.abs(plain - trapped).max() <= 1
    assert np.array_equal(plain_pixels.ids, trapped_pixels.ids)
    assert np.allclose(plain_pixels.depth, trapped_pixels.depth)


def test_nothing_is_written_elsewhere(show: Show) -> None:
    _, facts = show("render_traps")
    assert not facts["elsewhere"].exists()


def test_an_eevee_file_is_path_traced_with_all_its_passes(show: Show) -> None:
    outcome, _ = show("eevee")
    for view in outcome.views:
        assert len(view.visible_objects) >= 2 and np.isfinite(outcome.read_passes(view).depth).any()


@pytest.mark.parametrize("name", ["tidy", "no_light", "render_traps", "eevee", "missing_textures", "several_scenes"])
def test_after_a_run_the_scene_is_as_it_was(tmp_path: Path, name: str) -> None:
    path, _ = build_scene(name, tmp_path)
    asked = dataclasses.replace(SMALL, frame=5)
    import_addon("worker").open_file(path)
    before = read_scene_state(bpy.context.scene)
    dataset = import_addon("scene_run").Dataset.open_for_run(tmp_path / "dataset", asked, [path])
    with import_addon("scene_run").SceneRun(path, dataset, asked, lambda _: None) as run:
        plan = run.plan(previews=True)
        run.render(plan, [view.view_id for view in plan.views][:1])
        assert read_scene_state(bpy.context.scene) != before
    after = read_scene_state(bpy.context.scene)
    assert {key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)} == {}


# ---- files that attack, and names that break things ------------------------------------------------------------------


@pytest.mark.parametrize("allowed", [False, True], ids=["preferences forbid", "preferences allow"])
def test_scripts_and_drivers_do_not_run(tmp_path: Path, allowed: bool) -> None:
    """Not even where the user's preferences would let them."""
    path, facts = build_scene("scripts", tmp_path)
    preferences = bpy.context.preferences.filepaths
    before = preferences.use_scripts_auto_execute
    preferences.use_scripts_auto_execute = allowed
    try:
        outcome = render_dataset(path, tmp_path / "dataset")
    finally:
        preferences.use_scripts_auto_execute = before
    assert len(outcome.views) >= 1 and not facts["marker"].exists()


@pytest.mark.parametrize("name", scenes.AWKWARD_NAMES)
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    """For the file, the folder that it is in, and the dataset's."""
    folder = tmp_path / Path(name).stem
    path = folder / name
    scenes.tidy(path)
    outcome = render_dataset(path, folder / f"dataset of {Path(name).stem}", with_options(SMALL, "cameras", views=1))
    assert not verify_dataset(outcome.dataset).problems and outcome.scene.blend_name == name
    assert [each.name for each in folder.iterdir() if each != path and each != outcome.dataset.root] == []


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_file_that_cannot_be_read_ends_in_one_sentence(tmp_path: Path, name: str) -> None:
    path, _ = build_scene(name, tmp_path)
    with pytest.raises(BlendsetError) as refusal:
        import_addon("worker").open_file(path)
    assert_one_sentence(refusal.value, str(path))


@pytest.mark.parametrize("share", [0, 0.3, 0.7])
def test_a_compressed_file_cut_short_and_a_file_of_zeros_end_in_one_sentence(tmp_path: Path, share: float) -> None:
    path = tmp_path / "packed.blend"
    scenes.tidy(path)
    packed = gzip.compress(path.read_bytes())
    path.write_bytes(packed[: int(len(packed) * share)] or bytes(1000))
    with pytest.raises(BlendsetError) as refusal:
        import_addon("worker").open_file(path)
    assert_one_sentence(refusal.value, str(path))


@pytest.mark.parametrize("share", [0.0001, 0.01, 0.1, 0.9, 0.99, 0.9999])
def test_a_broken_download_ends_in_one_sentence(tmp_path: Path, share: float) -> None:
    path = tmp_path / "truncated.blend"
    scenes.truncated(path, share)
    with pytest.raises(BlendsetError) as refusal:
        import_addon("worker").open_file(path)
    assert_one_sentence(refusal.value, str(path))


def test_a_newer_file_names_the_version_it_needs(tmp_path: Path) -> None:
    path, facts = build_scene("from_the_future", tmp_path)
    with pytest.raises(BlendsetError) as refusal:
        import_addon("worker").open_file(path)
    assert_one_sentence(refusal.value, ".".join(map(str, facts["claimed_version"])), "--blender")


def test_what_is_no_file_ends_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty.blend").touch()
    for path in (tmp_path, tmp_path / "nowhere.blend", tmp_path / "empty.blend"):
        with pytest.raises(BlendsetError) as refusal:
            import_addon("worker").open_file(path)
        assert_one_sentence(refusal.value, str(path))


def test_after_a_file_that_cannot_be_read_the_next_one_is(tmp_path: Path) -> None:
    for name in UNREADABLE:
        with pytest.raises(BlendsetError):
            import_addon("worker").open_file(build_scene(name, tmp_path)[0])
    path, _ = build_scene("tidy", tmp_path)
    assert render_dataset(path, tmp_path / "dataset", with_options(SMALL, "cameras", views=1)).views


# ---- very many objects -----------------------------------------------------------------------------------------------


def test_more_objects_than_the_index_pass_can_count_have_ids_of_their_own(tmp_path: Path) -> None:
    count = 33_500
    path = tmp_path / "field.blend"
    scenes.many_objects(path, count)
    with open_run(path, tmp_path / "dataset") as (run, _):
        numbers = {each.name: each.id for each in run.reading.opened.snapshot.objects}
        centres = run.reading.opened.snapshot.bounds.mean(axis=1)
        session = run.session.start()
        for first in (0, count - 40):
            name = f"Stone {first + 20:05d}"
            centre = centres[numbers[name] - 1]
            camera = make_camera(tuple(centre), tuple(centre + np.array([0.0, -4.0, 7.0])))
            ids = session.render(camera, 1, 1, False).ids
            assert ids[32, 32] == numbers[name]
            for number in np.unique(ids[ids > 0]).tolist():
                pixels, _ = camera.project(centres[[number - 1]])
                assert (
                    run.reading.opened.snapshot.objects[number - 1].name == "Floor" or (np.abs(pixels - 32) < 60).all()
                )
    assert len(numbers) == len(set(numbers.values())) == count + 4 and max(numbers.values()) > 32_767

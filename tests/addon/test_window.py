# SPDX-License-Identifier: Apache-2.0
"""The window's half of the add-on without a window: settings, operators, lists, and panels that can be drawn."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest

from blendset.config import Config, GateSettings, JobSettings, RenderSettings, config_to_toml, load_config
from blendset.dataset import Dataset
from blendset.files import sha256_file
from blendset.placement.camera_plan import make_planned_view
from blendset.verification import verify_dataset
from tests.addon import scenes
from tests.addon.runs import SMALL, describe_file, import_addon, open_run, read_picture, read_scene_state, with_options

OPS: Any = bpy.ops.blendset
CHANGED = "The scene has changed since"


def get_lists() -> Any:
    """What the lists hold."""
    return bpy.context.window_manager.blendset


def get_settings() -> Any:
    """The settings of the scene that is open."""
    return bpy.context.scene.blendset


def open_tidy(folder: Path) -> Path:
    """A small scene as a file, open in this Blender, with the settings of the tests."""
    path = folder / "tidy.blend"
    scenes.tidy(path)
    bpy.ops.wm.open_mainfile(filepath=str(path))
    import_addon("properties").from_config(bpy.context.scene, SMALL)
    get_settings().out = str(folder / "dataset")
    return path


def plan_scene() -> Any:
    """Press the button, and return the plan."""
    assert OPS.plan() == {"FINISHED"}
    return import_addon("state").get_plan(bpy.context.scene)


# ---- settings --------------------------------------------------------------------------------------------------------


def test_the_settings_are_the_configuration() -> None:
    """Untouched they are the defaults, to the last digit; and every option goes there and back."""
    properties = import_addon("properties")
    assert properties.to_config(bpy.context.scene) == Config()
    other = replace(
        SMALL,
        seed=7,
        frame=12,
        gates=GateSettings(visible_fraction=0.123, clearance=0.055),
        jobs=JobSettings(workers=3),
    )
    properties.from_config(bpy.context.scene, other)
    assert properties.to_config(bpy.context.scene) == other


def test_settings_as_toml_are_what_the_command_line_reads(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    get_settings().cameras.fill, get_settings().subjects.exclude = "0.5, 0.25", "Wall*, lamp"
    assert OPS.settings_export(filepath=str(file)) == {"FINISHED"}
    config = load_config(file)
    assert config.cameras.fill == (0.5, 0.25) and config.subjects.exclude == ("Wall*", "lamp")
    file.write_text(config_to_toml(SMALL), encoding="utf-8")
    assert OPS.settings_import(filepath=str(file)) == {"FINISHED"}
    assert import_addon("properties").to_config(bpy.context.scene) == SMALL


def test_a_list_that_is_no_list_is_one_sentence(tmp_path: Path) -> None:
    get_settings().cameras.focal_length_mm = "fifty"
    with pytest.raises(RuntimeError, match="Focal length mm is 'fifty'; give numbers with commas between them"):
        OPS.settings_export(filepath=str(tmp_path / "settings.toml"))
    assert not (tmp_path / "settings.toml").exists()


def test_the_machine_decides_where_the_scene_does_not() -> None:
    preferences = import_addon("preferences")
    chosen = preferences.get_preferences()
    chosen.device, chosen.workers = "cpu", 2
    try:
        ours = preferences.apply_preferences(Config())
        asked = replace(Config(), render=RenderSettings(device="cuda"), jobs=JobSettings(workers=5))
        assert (ours.render.device, ours.jobs.workers) == ("cpu", 2)
        assert preferences.apply_preferences(asked) == asked
        assert ours.compute_digest() == Config().compute_digest()  # nothing that decides a picture
    finally:
        chosen.device, chosen.workers = "auto", 1


# ---- planning --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config",
    [
        SMALL,
        with_options(SMALL, "cameras", preset="orbit-4", views=8, focal_length_mm=(28.0,), fill=(0.3, 0.5)),
        with_options(
            with_options(SMALL, "gates", visible_fraction=0.7, clearance=0.02), "subjects", exclude=("red*",), copies=2
        ),
        replace(with_options(SMALL, "cameras", elevation_deg=(10.0, 30.0), per_subject=2), seed=5, frame=3),
    ],
    ids=["default", "view sets", "gates and subjects", "seed, frame and angles"],
)
def test_the_window_plans_what_the_command_line_plans(config: Config, tmp_path: Path) -> None:
    """With its settings as TOML."""
    path = open_tidy(tmp_path)
    import_addon("properties").from_config(bpy.context.scene, config)
    OPS.settings_export(filepath=str(tmp_path / "settings.toml"))
    views = plan_scene().views
    with open_run(path, tmp_path / "headless", load_config(tmp_path / "settings.toml")) as (run, _):
        headless = run.plan(previews=False)
        ours = [make_planned_view(run.scene_id, view, config.seed) for view in views]
    assert len(ours) > 1
    assert [view.view_id for view in ours] == [view.view_id for view in headless.views]
    assert [view.camera.world_from_camera.tolist() for view in ours] == [
        view.camera.world_from_camera.tolist() for view in headless.views
    ]


def test_the_lists_tell_what_the_plan_found(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    made = plan_scene()
    assert {row.name for row in get_lists().subjects} == {each.id for each in made.result.search.subjects}
    views = [row.views for row in get_lists().subjects]
    assert views == sorted(views, reverse=True)  # what one looks for stands on top
    assert sum(row.views for row in get_lists().subjects) == sum(made.count_views().values()) > 0
    assert sum(row.count for row in get_lists().reasons) == get_lists().candidates == len(made.result.verdicts)
    assert [row.number for row in get_lists().views] == made.chosen and not get_lists().doing


def test_what_is_left_out_stays_out_under_another_name(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    first = plan_scene().result.search.subjects[0]
    names = [each.name for each in plan_scene().find_objects(first)]
    get_lists().subject = get_lists().subjects.find(first.id)
    assert OPS.subject_leave_out() == {"FINISHED"} and get_lists().subjects[get_lists().subject].left_out
    bpy.data.objects[names[0]].name = "Another [name]*"
    assert first.id not in {each.id for each in plan_scene().result.search.subjects}
    assert len(get_settings().left_out) == len(names)
    for _ in names:
        assert OPS.object_take_in(place=0) == {"FINISHED"}
    assert "another-name" in {each.id for each in plan_scene().result.search.subjects}


def test_a_label_goes_to_the_object(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    made = plan_scene()
    [holder, *_] = made.find_objects(made.result.search.subjects[0])
    get_lists().subject = get_lists().subjects.find(made.result.search.subjects[0].id)
    assert OPS.subject_label(label="reading chair") == {"FINISHED"}
    assert holder["blendset_label"] == "reading chair"
    assert "reading-chair" in {each.id for each in plan_scene().result.search.subjects}
    bpy.context.view_layer.objects.active = holder
    assert OPS.subject_pick() == {"FINISHED"} and get_lists().subjects[get_lists().subject].name == "reading-chair"
    assert OPS.subject_frame() == {"FINISHED"} and holder.select_get()


def test_views_are_turned_down_and_added_by_hand(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    made = plan_scene()
    chosen = list(made.chosen)
    get_lists().view = 1
    assert OPS.view_turn_down() == {"FINISHED"}
    assert chosen[1] not in made.chosen and len(made.chosen) == len(chosen)
    get_lists().view = next(index for index, row in enumerate(get_lists().views) if row.turned_down)
    assert OPS.view_turn_down() == {"FINISHED"} and made.chosen == chosen
    get_lists().reason = next(index for index, row in enumerate(get_lists().reasons) if row.name != "accepted")
    assert OPS.view_keep_rejected() == {"FINISHED"} and len(made.views) == len(chosen) + 1
    bpy.context.scene.camera = bpy.data.objects.new("Own", bpy.data.cameras.new("Own"))
    bpy.context.scene.collection.objects.link(bpy.context.scene.camera)
    assert OPS.view_add(source="CAMERA") == {"FINISHED"} and made.views[-1].candidate.name == "Own"
    assert len(get_lists().views) == len(made.views)


def test_a_plan_is_forgotten_with_its_file(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    plan_scene()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert import_addon("state").get_plan(bpy.context.scene) is None
    with pytest.raises(RuntimeError, match="poll"):
        OPS.view_turn_down()


def test_a_plan_knows_that_its_scene_has_changed(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    made = plan_scene()
    bpy.context.view_layer.update()
    assert not made.stale and CHANGED not in draw_panels().texts
    made.find_objects(made.result.search.subjects[0])[0].location.x += 0.5
    bpy.context.view_layer.update()
    assert made.stale and CHANGED in draw_panels().texts
    assert not plan_scene().stale


def test_another_scene_of_the_file_has_no_plan_yet(tmp_path: Path) -> None:
    path = open_tidy(tmp_path)
    first = bpy.context.scene
    plan_scene()
    bpy.ops.scene.new(type="FULL_COPY")
    assert "Plan first" in draw_panels().texts and not len(import_addon("ui.overlay").build_lines(bpy.context)[0])
    plan_scene()
    bpy.ops.wm.save_mainfile()
    assert OPS.render() == {"FINISHED"}
    assert wait_for_job().ended.status == "done"
    [scene] = {view.scene for view in Dataset(tmp_path / "dataset").views()}
    assert scene.endswith(sha256_file(path)[:6]) and bpy.context.scene != first


def test_planning_leaves_the_scene_as_it_was(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    before = read_scene_state(bpy.context.scene)
    plan_scene()
    assert read_scene_state(bpy.context.scene) == before


def test_the_picture_that_was_rendered_last_stays(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 16
    bpy.ops.render.render()
    pictures = [tmp_path / name for name in ("before.png", "after.png")]
    bpy.data.images["Render Result"].save_render(str(pictures[0]))
    plan_scene()
    bpy.data.images["Render Result"].save_render(str(pictures[1]))
    before, after = (read_picture(each) for each in pictures)
    assert before.shape == (16, 16, 3) and (before == after).all()


def test_the_saved_file_differs_in_our_settings_and_labels_only(tmp_path: Path) -> None:
    path = open_tidy(tmp_path)
    bpy.ops.wm.save_mainfile()
    before = describe_file(path)
    plan_scene()
    OPS.subject_label(label="reading chair")
    OPS.subject_leave_out()
    OPS.view_turn_down()
    plan_scene()
    bpy.ops.wm.save_mainfile()
    assert OPS.render() == {"FINISHED"}
    assert wait_for_job().ended.status == "done"
    bpy.ops.wm.save_mainfile()
    after = describe_file(path)
    assert len(before) > 300
    different = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    assert different and all("blendset" in key for key in different), different


def test_a_file_that_may_not_be_written_can_be_rendered(tmp_path: Path) -> None:
    path = open_tidy(tmp_path)
    bpy.ops.wm.save_mainfile()
    path.chmod(0o444)
    plan_scene()
    assert OPS.render() == {"FINISHED"}
    assert wait_for_job().ended.status == "done"


@pytest.mark.parametrize("kind", ["empty", "edit mode", "unsaved", "no active object"])
def test_planning_in_odd_moments_is_no_traceback(kind: str, tmp_path: Path) -> None:
    if kind != "empty":
        bpy.ops.mesh.primitive_cube_add()
    if kind == "edit mode":
        bpy.ops.object.mode_set(mode="EDIT")
    if kind == "no active object":
        bpy.context.view_layer.objects.active = None
    assert OPS.plan() == {"FINISHED"}
    assert bool(get_lists().views) == (kind != "empty")
    if kind == "no active object":
        with pytest.raises(RuntimeError, match="No object is active"):
            OPS.subject_pick()
    with pytest.raises(RuntimeError, match="save the file"):
        OPS.render()


# ---- rendering -------------------------------------------------------------------------------------------------------


def wait_for_job(seconds: float = 240) -> Any:
    """Pump the job as Blender's timer would."""
    jobs, state = import_addon("jobs"), import_addon("state")
    until = time.monotonic() + seconds
    while jobs.pump() is not None:
        assert time.monotonic() < until, state.get_job().message
        time.sleep(0.05)
    return state.get_job()


def until_planned(seconds: float = 240) -> str:
    """Pump the job until its previews are made; what it then says of the disk."""
    jobs, state = import_addon("jobs"), import_addon("state")
    until = time.monotonic() + seconds
    while not state.get_job().disk:
        assert jobs.pump() is not None and time.monotonic() < until, state.get_job().message
        time.sleep(0.01)
    assert not state.get_job().supervisor.done
    return str(state.get_job().disk)


def read_megabytes(text: str) -> float:
    """The number that a line about the disk begins with."""
    return float(text.split(" MB")[0].replace(",", ""))


def test_a_job_renders_the_plan_with_what_was_changed_by_hand(tmp_path: Path) -> None:
    path = open_tidy(tmp_path)
    made = plan_scene()
    OPS.view_turn_down()
    bpy.ops.wm.save_mainfile()
    before = path.read_bytes()
    assert OPS.render() == {"FINISHED"}
    expected = until_planned()
    job = wait_for_job()
    assert job.ended.status == "done", job.ended
    assert 0.4 < read_megabytes(expected) / read_megabytes(job.disk) < 2.5
    views = list(Dataset(tmp_path / "dataset").views())
    assert 0 < len(views) <= len(made.views) and Path(job.picture).exists()
    expected_ids = {make_planned_view(views[0].scene, view, SMALL.seed).view_id for view in made.views}
    assert {view.view_id for view in views} <= expected_ids
    assert path.read_bytes() == before
    assert views[0].scene == f"tidy-{sha256_file(path)[:6]}"  # not of the copy that the child opened
    assert OPS.verify() == {"FINISHED"}
    assert "MB on disk" in job.disk and "more than is free" not in job.disk
    assert OPS.open_contact_sheet() == {"FINISHED"}
    assert OPS.copy_command() == {"FINISHED"}
    page = (tmp_path / "dataset" / "cache" / "contact.html").read_text(encoding="utf-8")
    assert all((tmp_path / "dataset" / "cache" / each).exists() for each in re.findall(r'src="([^"]+)"', page))
    assert page.count("<img") == len(views)
    assert OPS.render() == {"FINISHED"}
    again = wait_for_job()
    assert again.ended.views == len(views) and not again.picture


def test_a_cancelled_job_goes_on_where_it_was_also_after_reopening(tmp_path: Path) -> None:
    path = open_tidy(tmp_path)
    plan_scene()
    bpy.ops.wm.save_mainfile()
    OPS.render()
    job = import_addon("state").get_job()
    assert OPS.job_pause() == {"FINISHED"} and job.supervisor.paused
    assert OPS.job_pause() == {"FINISHED"} and not job.supervisor.paused
    while not job.picture:
        import_addon("jobs").pump()
        time.sleep(0.02)
    OPS.job_cancel()
    assert wait_for_job().ended.reason == "cancelled"
    assert get_lists().unfinished and "views of 1 scene" in get_lists().there
    bpy.ops.wm.open_mainfile(filepath=str(path))
    assert get_lists().unfinished and not get_lists().views
    assert OPS.resume() == {"FINISHED"}
    assert wait_for_job().ended.status == "done"
    assert not get_lists().unfinished
    assert not verify_dataset(Dataset(tmp_path / "dataset")).problems


# ---- drawing ---------------------------------------------------------------------------------------------------------


class Layout:
    """Stands for Blender's layout, which is not to be had without a window: takes what it would take, and notes it."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pressed: list[str] = []
        self.step = self.source = None

    def _itself(self, *_: object, **__: object) -> Layout:
        return self

    row = column = box = split = _itself

    def label(self, text: str = "", **_: object) -> None:
        self.texts.append(text)

    progress = label

    def prop(self, group: Any, name: str, **_: object) -> None:
        assert name in group.bl_rna.properties, f"{group} has no {name}"

    def operator(self, name: str, **_: object) -> Layout:
        getattr(OPS, name.removeprefix("blendset.")).get_rna_type()
        self.pressed.append(name)
        return self

    def template_list(self, kind: str, _: str, owner: Any, name: str, active: Any, index: str, **__: object) -> None:
        assert index in active.bl_rna.properties
        for item in getattr(owner, name):
            getattr(import_addon("ui.panels"), kind).draw_item(None, bpy.context, self, owner, item, 0, active, index)

    def template_icon(self, icon_value: int, **_: object) -> None:
        assert icon_value


def draw_panels() -> Layout:
    """All panels, one after the other."""
    layout = Layout()
    panels = [each for each in import_addon("ui.panels").CLASSES if issubclass(each, bpy.types.Panel)]
    for panel in panels:
        panel.draw(SimpleNamespace(layout=layout), bpy.context)
    assert len(panels) >= 8
    return layout


def test_all_panels_draw_with_a_plan_and_without(tmp_path: Path) -> None:
    assert "Plan first" in draw_panels().texts
    open_tidy(tmp_path)
    made = plan_scene()
    full = draw_panels()
    assert "Plan first" not in full.texts
    assert {each.label or each.id for each in made.result.search.subjects} <= set(full.texts)
    assert f"{len(made.result.verdicts):,} candidates" in full.texts


def test_a_preset_keeps_all_settings() -> None:
    properties = import_addon("properties")
    before = len(list(properties.list_option_paths()))
    properties.from_config(bpy.context.scene, SMALL)
    assert OPS.preset_add(name="Small") == {"FINISHED"}
    properties.from_config(bpy.context.scene, Config())
    [file] = [each for path in bpy.utils.preset_paths("blendset") for each in Path(path).glob("[Ss]mall.py")]
    assert file.read_text().count("settings.") == before
    kind = import_addon("ui.presets").BLENDSET_PT_presets.__name__
    assert bpy.ops.script.execute_preset(filepath=str(file), menu_idname=kind) == {"FINISHED"}
    assert properties.to_config(bpy.context.scene) == SMALL


# ---- the add-on as a guest -------------------------------------------------------------------------------------------


def test_every_button_has_a_tooltip_and_a_place() -> None:
    for each in (each for each in dir(OPS) if not each.startswith("_")):
        kind = getattr(OPS, each).get_rna_type()
        assert kind.description and kind.name, each


def test_f1_opens_the_guide_on_every_button() -> None:
    known: Any = bpy.utils.manual_map
    where = [each for each in known() if "blendset" in str(each[1])]
    assert {pattern for _, patterns in where for pattern, _ in patterns} == {"bpy.ops.blendset*", "bpy.types.blendset*"}
    guide = import_addon("manual").GUIDE
    assert where[0][0] + guide.name == guide.as_uri()
    page = guide.read_text(encoding="utf-8")
    assert "Plan Cameras" in page
    assert all((guide.parent / each).exists() for each in re.findall(r'<img src="([^"]+)"', page))


def test_every_panel_and_button_has_a_german_name() -> None:
    german = import_addon("translations").GERMAN
    panels = [each for each in import_addon("ui.panels").CLASSES if issubclass(each, bpy.types.Panel)]
    buttons = [getattr(OPS, name.removeprefix("blendset.")).get_rna_type() for name in set(draw_panels().pressed)]
    titles = {each.bl_label for each in panels} | {each.name for each in buttons}
    assert titles - set(german) == {"Render"}  # Blender's own word


def test_scripts_are_reloaded_in_between(tmp_path: Path) -> None:
    open_tidy(tmp_path)
    plan_scene()
    bpy.ops.script.reload()
    draw_panels()
    assert plan_scene().views and "Plan first" not in draw_panels().texts


def test_it_leaves_nothing_behind_and_comes_back() -> None:
    name = "bl_ext.user_default.blendset"
    for _ in range(2):
        bpy.ops.preferences.addon_disable(module=name)
        assert not [each for each in dir(bpy.types) if each.startswith("BLENDSET_")]
        assert not hasattr(bpy.types.Scene, "blendset") and not hasattr(bpy.types.WindowManager, "blendset")
        bpy.ops.preferences.addon_enable(module=name)
    assert import_addon("properties").to_config(bpy.context.scene) == Config()
    assert RenderSettings().resolution == get_settings().render.resolution

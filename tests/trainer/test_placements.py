# SPDX-License-Identifier: Apache-2.0
"""Placements of cameras, judged by what their pictures show: rules, intervals, budgets, and what goes wrong.

The pictures are ray traced (tests/trainer/boxes.py), in the place of Blender's.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blendset.cameras import SENSOR_MM, Array, Camera, direction_from_angles, make_facing_rotation, make_pose
from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.jobs.scenes import SceneSummary, Summary
from blendset.placement.reasons import Reason
from blendset.records import CameraRecord, write_json
from blendset_trainer.evaluation.placements import compare_placements as placements
from blendset_trainer.evaluation.placements.compare_placements import PlacementReport, compare_placements
from blendset_trainer.evaluation.placements.framed_things import (
    SceneThing,
    find_things,
    judge_view,
    measure_boxed_framing,
)
from blendset_trainer.evaluation.placements.settings import PlacementSettings
from blendset_trainer.evaluation.placements.table import format_placement_markdown, format_placement_table
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.statistics.intervals import estimate_share
from blendset_trainer.stages.stage import View
from tests.real_runs import BLENDER, require_blender, save_scene
from tests.trainer import boxes
from tests.trainer.tiny_datasets import add_picture, make_dataset
from tests.trainer.tiny_models import maker

THINGS = dict.fromkeys(boxes.CHAIR, ("chair", "chair"))
CHAIR_CENTRE = (0.0, 0.1, 0.6)


def look(
    azimuth_deg: float, elevation_deg: float = 25.0, distance: float = 4.0, at: tuple[float, ...] = CHAIR_CENTRE
) -> Camera:
    backward = direction_from_angles(azimuth_deg, elevation_deg)
    return Camera(make_pose(make_facing_rotation(backward), np.array(at) + distance * backward), 96, 96, 50.0)


def add_traced(dataset: Dataset, camera: Camera, number: int, light: float = 1.0, **changes: object) -> str:
    _, passes = boxes.surface(camera)
    x, y = camera.principal_point
    focal = camera.focal_length_px
    pose = tuple(camera.world_from_camera.ravel().tolist())
    record = CameraRecord(camera.width, camera.height, focal, focal, x, y, pose, 50.0, SENSOR_MM)
    rgb = (light * (127 + 127 * passes.normal)).astype(np.uint8)
    return add_picture(dataset, "hall", str(changes.pop("subject", "")), number, rgb, passes, camera=record, **changes)


def judge(root: Path, camera: Camera, light: float = 1.0) -> Any:
    dataset = make_dataset(root)
    boxes.add_scene(dataset, "hall", things=THINGS)
    add_traced(dataset, camera, 0, light)
    (record,) = dataset.views()
    scene = dataset.scene("hall")
    return judge_view(View(record, dataset.view_folder("hall", record.view_id), scene), find_things(scene))


# --- the rule ---------------------------------------------------------------------------------------------------------


def test_a_thing_that_stands_well_in_good_light_makes_a_view_usable(tmp_path: Path) -> None:
    verdict = judge(tmp_path, look(-60))
    assert verdict.is_usable
    assert verdict.faults == ()
    assert verdict.usable_things[0].name == "chair"
    assert verdict.usable_things[0].azimuth_deg == pytest.approx(300)


@pytest.mark.parametrize(
    ("camera", "light", "fault"),
    [
        (look(-60), 0.05, "dark"),
        (look(-60, distance=16), 1.0, "too little in picture"),
        (look(-60, distance=1.7), 1.0, "truncated in picture"),
        (look(-60, at=(1.9, 1.2, 0.6)), 1.0, "truncated in picture"),
        (look(90, -20, at=(0, 9, 3)), 1.0, "nothing in sight"),
    ],
)
def test_what_is_wrong_with_a_view_is_said(tmp_path: Path, camera: Camera, light: float, fault: str) -> None:
    verdict = judge(tmp_path, camera, light)
    assert not verdict.is_usable
    assert verdict.usable_things == ()
    assert fault in verdict.faults
    if light < 1:
        assert verdict.is_framed  # whatever the light


def test_structure_is_no_thing_and_parts_are_one(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    boxes.add_scene(dataset, "hall", things=THINGS)
    things = find_things(dataset.scene("hall"))
    assert {thing.name: sorted(thing.objects) for thing in things} == {"Cube.004.4": [4], "chair": [2, 3]}
    assert [len(thing.boxes) for thing in things] == [1, 2]


def make_thing(name: str) -> SceneThing:
    number = list(boxes.BOXES).index(name) + 1
    return SceneThing(name, frozenset([number]), np.array([boxes.BOXES[name]]))


def test_framing_of_boxes_is_that_of_their_surface() -> None:
    """The share and the part outside the frame, against the same camera with a wider frame."""
    narrow, wide = (
        Camera(look(-60, at=(0.9, 0.6, 0.6)).world_from_camera, side, side, 50.0 * 96 / side) for side in (96, 288)
    )
    thing = SceneThing("chair", frozenset(boxes.CHAIR), np.array([boxes.BOXES["seat"], boxes.BOXES["back"]]))
    passes, around = boxes.surface(narrow)[1], boxes.surface(wide)[1]
    framing = measure_boxed_framing(narrow, thing, passes)
    pixels = [np.isin(one.id, boxes.CHAIR).sum() for one in (passes, around)]
    assert framing.subject_share == pytest.approx(pixels[0] / 96**2)
    assert 0.02 < framing.truncation < 0.9
    assert framing.truncation == pytest.approx(1 - pixels[0] / pixels[1], abs=0.02)


def test_what_stands_before_a_box_hides_it() -> None:
    camera = look(-52, 8, 5, at=(0.3, 0.3, 0.5))  # the cube stands before the chair
    passes = boxes.surface(camera)[1]
    back = measure_boxed_framing(camera, make_thing("back"), passes)
    alone = measure_boxed_framing(camera, make_thing("Cube.004"), passes)
    assert back.visible_fraction < 0.9
    assert alone.visible_fraction == 1.0
    assert back.truncation == alone.truncation == 0.0


def test_a_room_of_several_things_is_a_picture_too(tmp_path: Path) -> None:
    dataset = make_dataset(tmp_path)
    boxes.add_scene(dataset, "hall")  # seat, back and cube are three things
    add_traced(dataset, look(-60, 30, 9), 0)
    (record,) = dataset.views()
    scene = dataset.scene("hall")
    view = View(record, dataset.view_folder("hall", record.view_id), scene)
    verdict = judge_view(view, find_things(scene))
    assert [thing.faults for thing in verdict.things] == [(Reason.TOO_LITTLE_IN_PICTURE,)] * 3
    assert verdict.is_usable
    assert verdict.usable_things == ()
    assert not judge_view(view, find_things(scene)[:2]).is_usable


# --- intervals --------------------------------------------------------------------------------------------------------


def ones(count: int) -> Array:
    return np.ones(count)


def test_shares_have_exact_intervals() -> None:
    """Clopper and Pearson's of 7 in 20 is 0.154 to 0.592 (their figure 4 reads alike)."""
    estimate = estimate_share(np.array([1.0] * 7 + [0.0] * 13), ones(20))
    assert (estimate.value, estimate.units) == (0.35, 20)
    assert (estimate.low, estimate.high) == pytest.approx((0.154, 0.592), abs=0.012)
    full, none = estimate_share(ones(10), ones(10)), estimate_share(0 * ones(10), ones(10))
    assert (full.value, full.high, none.value, none.low) == (1.0, 1.0, 0.0, 0.0)
    assert full.low == pytest.approx(0.025 ** (1 / 10))
    assert none.high == pytest.approx(1 - full.low)


def test_views_of_one_unit_that_agree_are_worth_one() -> None:
    flags = np.array([1.0, 0, 1, 0, 1, 1])
    apart, together = estimate_share(flags, ones(6)), estimate_share(8 * flags, 8 * ones(6))
    assert apart.value == together.value
    assert together.high - together.low > 0.9 * (apart.high - apart.low)
    independent = estimate_share(np.tile(flags, 8), ones(48))
    assert independent.high - independent.low < 0.5 * (together.high - together.low)


def test_share_of_nothing_is_refused() -> None:
    with pytest.raises(BlendsetError, match="at least one unit"):
        estimate_share(ones(0), ones(0))


# --- comparing --------------------------------------------------------------------------------------------------------

CAMERAS = {
    "blendset": [*(look(azimuth) for azimuth in (-60, -20, -100)), look(-50, 25, 3, at=(1.3, -1.1, 0.35))],
    "random": [look(-60, distance=1.7), look(40, distance=16), look(90, -20, at=(0, 9, 3)), look(-60)],
    "anchor-sweep": [look(90, -20, at=(0, 9, 3))] * 3,
    "blendfusion": [],
}
SUBJECTS = {"blendset": "chair", "random": "", "anchor-sweep": ""}
"""What their cameras are aimed at."""


class FakeRender:
    """Renders what `blendset render` would, by ray tracing; what is there stays."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.written = 0

    def __call__(self, scene: Path, *, out: Path, preset: str, views: int, on_progress: Any, **options: Any) -> Summary:
        self.calls.append({"scene": scene.stem, "preset": preset, "views": views, **options})
        dataset, run = make_dataset(out), f"run-{views}"
        boxes.add_scene(dataset, "hall", things=THINGS)
        write_json(dataset.run_path(run), {"timings": {"opening_s": 1.0, "planning_s": 2.0}})
        cameras = CAMERAS[preset][:views]
        for number, camera in enumerate(cameras, start=100 * views):
            if not dataset.has_view("hall", f"{SUBJECTS[preset] or 'scene'}-{number:04d}"):
                self.written += 1
                add_traced(dataset, camera, number, run=run, subject=SUBJECTS[preset], timings={"cycles_s": 3.0})
        dataset.rebuild_index()
        ended = SceneSummary(
            str(scene), "done", run, len(cameras), len(cameras), 0, "no further camera passes", 1.0, (), {}, {}, ()
        )
        return Summary((ended,), 1.0, False, "")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRender:
    renderer = FakeRender()
    monkeypatch.setattr(placements, "render", renderer)
    return renderer


def make_scenes(folder: Path, *names: str) -> list[Path]:
    paths = [folder / f"{name}.blend" for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"BLENDER")
    return paths


def compare(folder: Path, *scenes: str, **options: Any) -> PlacementReport:
    settings = PlacementSettings(out=folder / "out", **{"views": 4, **options})
    return compare_placements(make_scenes(folder, *scenes), settings)


def test_placements_have_one_budget_and_one_rule(tmp_path: Path, fake: FakeRender) -> None:
    report = compare(tmp_path, "hall", seed=5, resolution=64, samples=3, lighting="sky")
    assert [(call["preset"], call["views"]) for call in fake.calls] == [(name, 4) for name in report.placements]
    assert {tuple(call[name] for name in ("seed", "resolution", "samples", "lighting")) for call in fake.calls} == {
        (5, 64, 3, "sky")
    }
    (scene,) = report.scenes
    results = {result.placement: result for result in scene.results}
    assert {name: (result.views, result.usable) for name, result in results.items()} == {
        "blendset": (4, 4), "blendfusion": (0, 0), "random": (4, 1), "anchor-sweep": (3, 0),
    }  # fmt: skip
    assert results["random"].metrics["usable"].value == 0.25
    assert results["random"].faults["nothing in sight"] == 1
    assert results["random"].reason == ""
    assert report.means["random"] == {}  # there is one scene only


def test_missing_views_count_against_the_budget_and_not_against_the_pictures(tmp_path: Path, fake: FakeRender) -> None:
    report = compare(tmp_path, "hall", views=8, placements="blendset,blendfusion")
    ours, none = report.scenes[0].results
    assert (ours.metrics["usable"].value, ours.metrics["budget"].value) == (1.0, 0.5)
    assert ours.reason == "no further camera passes"
    assert none.metrics["budget"] == Estimate(0, 0, 0, 0)
    assert not none.metrics.keys() & {"heuristics", "framed", "usable"}  # of pictures that there are none of
    assert none.metrics["subjects"].value == 0
    assert "hall-blendset: no further camera passes" in format_placement_table(report)


def test_subjects_and_directions_are_those_that_any_placement_shows(tmp_path: Path, fake: FakeRender) -> None:
    (scene,) = compare(tmp_path, "hall").scenes
    results = {result.placement: result.metrics for result in scene.results}
    assert scene.subjects == 2  # the chair and the cube
    assert results["blendset"]["subjects"].value == 1.0
    assert results["anchor-sweep"]["subjects"].value == 0.0
    assert results["blendset"]["directions"].value > results["random"]["directions"].value > 0


def test_means_and_differences_are_over_scenes_in_pairs(tmp_path: Path, fake: FakeRender) -> None:
    report = compare(tmp_path, "hall", "loft", placements=("blendset", "random", "blendfusion"))
    assert report.means["random"]["usable"].value == 0.25
    assert report.means["random"]["usable"].units == 2
    assert report.differences["random"]["usable"].value == 0.75
    assert "blendset" not in report.differences
    assert "usable" not in report.differences["blendfusion"]  # it has no pictures
    assert report.differences["blendfusion"]["budget"].value == 1.0


def test_a_second_run_renders_nothing_and_says_the_same(tmp_path: Path, fake: FakeRender) -> None:
    compare(tmp_path, "hall")
    before, written = (tmp_path / "out" / "placements.json").read_bytes(), fake.written
    compare(tmp_path, "hall")
    assert (tmp_path / "out" / "placements.json").read_bytes() == before
    assert fake.written == written > 0
    assert json.loads(before)["scenes"][0]["results"][0]["metrics"]["usable"]["value"] == 1.0


def test_views_of_another_run_in_the_folder_are_not_judged(tmp_path: Path, fake: FakeRender) -> None:
    small = compare(tmp_path, "hall", views=2, placements=("blendset", "random"))
    large = compare(tmp_path, "hall", views=4, placements=("blendset", "random"))
    assert [result.views for result in small.scenes[0].results] == [2, 2]
    assert [result.views for result in large.scenes[0].results] == [4, 4]


def test_scores_are_averaged_over_units(tmp_path: Path, fake: FakeRender) -> None:
    report = compare(tmp_path, "hall", placements=("random", "anchor-sweep"), with_="phash")
    random, anchors = report.scenes[0].results
    views = Dataset(tmp_path / "out" / "hall-random").views()
    means = [
        np.asarray(Image.open(tmp_path / "out/hall-random/views/hall" / view.view_id / "rgb.png").convert("L")).mean()
        for view in views
    ]
    grey = random.scores["image-stats.mean"]
    assert grey.value == pytest.approx(np.mean(means), abs=0.5)
    assert grey.units == 4
    assert grey.low < grey.value < grey.high
    assert anchors.scores == {}  # all of its views stand at one point, which is one unit


def test_a_scorer_of_captions_gets_some(tmp_path: Path, fake: FakeRender) -> None:
    model = maker(tmp_path / "models")("open_clip")
    report = compare(tmp_path, "hall", placements=("random",), with_=(f"clip:{model}",))
    (result,) = report.scenes[0].results
    (name,) = (name for name in result.scores if name.startswith("clip-"))
    assert name.endswith(".similarity")
    assert result.scores[name].units == 4
    assert -1 <= result.scores[name].low < result.scores[name].high <= 1
    assert name in format_placement_table(report)


def test_tables_hold_every_scene_and_placement(tmp_path: Path, fake: FakeRender) -> None:
    report = compare(tmp_path, "hall", "loft")
    text, page = format_placement_table(report), format_placement_markdown(report)
    assert text.count("\nhall ") == 2 * 4  # results and scores
    assert page.count("| loft |") == 2 * 4
    assert "minus random" in text
    assert "100 (" in text
    assert "| blendset |" in page
    assert "nan" not in text + page


# --- what goes wrong --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"placements": "blendset,blendfuson"}, "placements is 'blendfuson'; did you mean 'blendfusion'?"),
        ({"placements": ("random", "random")}, "The placement 'random' stands twice; name each once."),
        ({"placements": ()}, "placements is empty; give at least one value."),
        ({"views": 0}, "views is 0; it must be at least 1."),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        PlacementSettings(out=tmp_path, **options)
    assert str(raised.value) == sentence


def test_wrong_scenes_are_refused(tmp_path: Path, fake: FakeRender) -> None:
    settings = PlacementSettings(out=tmp_path / "out")
    (hall,) = make_scenes(tmp_path, "hall")
    (other,) = make_scenes(tmp_path / "other", "hall")
    for scenes, sentence in (
        ([], "There is no scene"),
        ([hall, hall], "stands twice; name each once"),
        ([hall, other], "Two scenes are called hall"),
        ([tmp_path / "attic.blend"], "attic.blend does not exist"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            compare_placements(scenes, settings)
    with pytest.raises(SettingsError, match="did you mean phash"):
        compare_placements([hall], PlacementSettings(out=tmp_path / "out", with_=("phas",)))
    assert not fake.calls


def test_a_scene_that_cannot_be_rendered_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hall,) = make_scenes(tmp_path, "hall")
    broken = SceneSummary(str(hall), "failed", "", 0, 0, 0, "it is no .blend file", 1.0, (), {}, {}, ())
    monkeypatch.setattr(placements, "render", lambda *words, **options: Summary((broken,), 1.0, False, ""))
    with pytest.raises(BlendsetError, match=r"hall.blend was not rendered to its end with blendset \(it is no"):
        compare_placements([hall], PlacementSettings(out=tmp_path / "out"))


def test_a_cancelled_run_ends_as_ctrl_c_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (hall,) = make_scenes(tmp_path, "hall")
    monkeypatch.setattr(placements, "render", lambda *words, **options: Summary((), 1.0, True, ""))
    with pytest.raises(KeyboardInterrupt):
        compare_placements([hall], PlacementSettings(out=tmp_path / "out"))


# --- with a real Blender ----------------------------------------------------------------------------------------------


def test_a_real_blender_renders_a_placement_once(tmp_path: Path) -> None:
    require_blender()
    scene = save_scene(tmp_path / "room.blend")
    settings = PlacementSettings(
        placements=("anchor-sweep",), views=3, resolution=32, samples=1, out=tmp_path / "out",
        blender=str(BLENDER),
    )  # fmt: skip
    report = compare_placements([scene], settings)
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("rgb.png")}
    again = compare_placements([scene], settings)
    assert pictures == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("rgb.png")}
    assert len(pictures) == report.scenes[0].results[0].views == 3
    assert again == report

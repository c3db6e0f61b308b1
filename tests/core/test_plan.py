# SPDX-License-Identifier: Apache-2.0
"""Plans and funnels: what is written comes back, the same seed gives the same plan, and every candidate is accounted
for."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blendset.cameras import Camera, direction_from_angles, make_facing_rotation, make_pose
from blendset.config import Config
from blendset.errors import BlendsetError
from blendset.naming import SPLIT_WORDS
from blendset.placement.camera_plan import (
    CameraPlan,
    PlannedView,
    camera_from_dict,
    find_lost_view,
    make_planned_view,
    make_view_id,
    name_previewed_run,
    read_plan,
    take_views,
    write_plan,
)
from blendset.placement.candidates import Candidate
from blendset.placement.funnel import get_metrics, write_funnel
from blendset.placement.gates import Verdict
from blendset.placement.planner import PlanningResult, Step, plan, plan_steps
from blendset.placement.reasons import Reason
from blendset.placement.scene import Snapshot
from blendset.placement.subjects import find_subjects
from tests.core.analytic import (
    FURNITURE,
    BruteForce,
    Solid,
    ball,
    box,
    config,
    furnished_room,
    panel,
    snapshot,
    subject_of,
)

ROOM = furnished_room()
SMALL = snapshot(
    [box("Crate", (0, 0, 0.5), (1, 1, 1)), ball("Ball", (3, 1, 0.5), 0.5), box("Base", (1, 0, -0.05), (9, 9, 0.1))]
)


def planned(scene: Snapshot, settings: Config) -> PlanningResult:
    return plan(scene, BruteForce(scene), settings)


def plan_file(scene: Snapshot, settings: Config, run: str = "run") -> CameraPlan:
    views = planned(scene, settings).rank_views(settings)
    return CameraPlan(
        run,
        "room-abcdef",
        settings,
        "scene",
        False,
        tuple(make_planned_view("room-abcdef", v, settings.seed) for v in views),
    )


@pytest.fixture(scope="module")
def furnished() -> PlanningResult:
    return planned(ROOM, config())


# ---- planning --------------------------------------------------------------------------------------------------------


def test_a_furnished_room_is_covered(furnished: PlanningResult) -> None:
    """Nearly every piece of furniture gets a view, the room itself its share, and the budget is met."""
    views = furnished.rank_views(config())
    subjects = Counter(view.candidate.subject.id for view in views if view.candidate.subject)
    assert len(views) == 48
    assert len(subjects) >= 0.8 * len(FURNITURE) and max(subjects.values()) <= 6
    assert 5 <= sum(view.candidate.subject is None for view in views) <= 7
    assert all(view.accepted and view.score > 0 for view in views)
    assert len({make_planned_view("scene", view, 0).view_id for view in views}) == 48


def test_every_subject_seen_is_named_once(furnished: PlanningResult) -> None:
    passed = {
        verdict.candidate.subject.id for verdict in furnished.verdicts if verdict.accepted and verdict.candidate.subject
    }
    assert furnished.visible_subjects == passed


def test_the_counts_account_for_every_candidate(furnished: PlanningResult) -> None:
    counts = furnished.count_reasons()
    total = counts.pop("candidates")
    assert total == len(furnished.verdicts) == sum(counts.values())
    assert counts["accepted"] == sum(verdict.accepted for verdict in furnished.verdicts)
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


def test_subjects_are_ranked_by_what_their_pictures_promise() -> None:
    """Of two like things the one with a label comes first."""
    solids = [
        box(name, (3 * k, 0, 0.5), (1, 1, 1), label=label)
        for k, (name, label) in enumerate((("A", ""), ("B", "crate")))
    ]
    units = planned(snapshot([*solids, box("Base", (1.5, 0, -0.05), (9, 9, 0.1))]), config()).subject_units
    first = units[0][0][0].candidate.subject
    assert first is not None and first.id == "crate"


@pytest.mark.parametrize(
    "things",
    [
        [box("Cube", (0, 0, 0), (2, 2, 2))],
        [ball("Figure", (0, 0, 1), 1.0, halvings=2), panel("Plane", (0, 0, 0), (20, 0, 0), (0, 20, 0))],
    ],
    ids=["cube", "figure"],
)
def test_where_there_is_no_room_every_view_is_of_the_thing(things: list[Solid]) -> None:
    """No camera inside a lone cube, and no close-up of an ear called "whole scene"."""
    views = planned(snapshot(things), config()).rank_views(config())
    assert len(views) == 6 and {view.candidate.subject.objects for view in views if view.candidate.subject} == {
        frozenset({1})
    }
    assert all(view.candidate.subject for view in views)


def test_slender_things_get_views_too() -> None:
    """A pole as a person would frame it: it fills the picture's height, for it covers little of its width."""
    yard = [
        panel("Plane", (0, 0, 0), (12, 0, 0), (0, 12, 0)),
        box("Pole", (3, 3, 2), (0.25, 0.25, 4)),
        *(ball(f"Stone.{k}", (3 * k - 4, 0, 0.5 + 0.1 * k), 0.5 + 0.1 * k) for k in range(3)),
    ]
    assert "pole" in planned(snapshot(yard), config(cameras={"candidates": 64})).visible_subjects


def test_a_room_and_a_yard_of_things_have_views_of_their_own(furnished: PlanningResult) -> None:
    yard = snapshot(
        [
            panel("Plane", (0, 0, 0), (12, 0, 0), (0, 12, 0)),
            *(ball(f"Stone.{k}", (3 * k - 4, 2 * (k % 2), 0.5 + 0.1 * k), 0.5 + 0.1 * k) for k in range(4)),
        ]
    )
    assert furnished.scenery and any(verdict.candidate.subject is None for verdict in planned(yard, config()).verdicts)


def test_one_of_each_kind_comes_before_any_copy() -> None:
    """A forest of eight trees of two sorts and a hut: the hut and each sort come first."""
    trees = [
        ball(f"{sort}.{k}", (3 * k, 4 * row, 1), 0.8 + 0.05 * k, halvings=row)
        for row, sort in enumerate(("Fir", "Birch"))
        for k in range(4)
    ]
    units = planned(snapshot([*trees, box("Hut", (5, -4, 1), (2, 3, 2))]), config()).subject_units
    firsts = [unit[0][0].candidate.subject for unit in units[:3]]
    assert {subject.label for subject in firsts if subject} == {"fir", "birch", "hut"}


def test_planning_tells_how_far_it_is() -> None:
    *steps, last = plan_steps(
        SMALL, BruteForce(SMALL), find_subjects(SMALL, Config().subjects, 0), config(cameras={"candidates": 4})
    )
    assert isinstance(last, PlanningResult)
    parts = [step.done / step.total for step in steps if isinstance(step, Step)]
    assert len(parts) == len(steps) >= 2 and parts == sorted(parts)
    assert parts[0] == 0 and parts[-1] == 1


@pytest.mark.parametrize(("preset", "count"), [("orbit-4", 4), ("orbit-21", 21)])
def test_a_planned_view_set_is_whole_and_in_order(preset: str, count: int) -> None:
    settings = config(preset, cameras={"candidates": 2 * count, "views": 2 * count})
    sets = defaultdict(list)
    for view in planned(SMALL, settings).rank_views(settings):
        sets[view.candidate.view_set].append(view.candidate.view_index)
    assert sets and all(indices == list(range(count)) for indices in sets.values())


# ---- the same again --------------------------------------------------------------------------------------------------


def test_one_seed_gives_one_plan_to_the_byte_and_another_other_cameras(tmp_path: Path) -> None:
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        settings = config(cameras={"candidates": 6, "views": 12}, top={"seed": seed})
        write_plan(tmp_path / name, plan_file(furnished_room(), settings))
    one, again, other = ((tmp_path / name).read_bytes() for name in ("one", "again", "other"))
    assert one == again
    ids = [{view.view_id for view in read_plan(tmp_path / name).views} for name in ("one", "other")]
    assert len(ids[0]) == len(ids[1]) == 12 and not ids[0] & ids[1]
    assert other != one


def test_the_resolution_does_not_move_a_camera() -> None:
    cameras = [
        [view.camera for view in plan_file(SMALL, config(render={"resolution": side}, cameras={"candidates": 4})).views]
        for side in (128, 1024)
    ]
    poses = [np.array([camera.world_from_camera for camera in each]) for each in cameras]
    assert poses[0] == pytest.approx(poses[1], abs=1e-9)
    assert {camera.width for camera in cameras[1]} == {1024}


# ---- view ids --------------------------------------------------------------------------------------------------------


def candidate(
    label: str = "Chair", azimuth: float = 30.0, side: int = 64, lens: float = 50.0, nudge: float = 0.0
) -> Candidate:
    scene = snapshot([box("Cube", (0, 0, 0), (1, 1, 1), label=label)])
    subject = replace(subject_of(scene, 1), id=label.lower())
    towards = direction_from_angles(azimuth, 20)
    return Candidate(Camera(make_pose(make_facing_rotation(towards), 4 * towards + nudge), side, side, lens), subject)


def test_a_view_has_one_name_in_every_run() -> None:
    """Also when another machine's last digits differ."""
    assert make_view_id("scene", candidate(), 0) == make_view_id("scene", candidate(nudge=1e-9), 0)
    assert re.fullmatch(r"chair-[0-9a-f]{10}", make_view_id("scene", candidate(), 0))


def test_whatever_changes_the_picture_changes_the_name() -> None:
    changed = [candidate(), candidate(azimuth=31), candidate(side=65), candidate(lens=35), candidate(nudge=0.01)]
    optics: list[dict[str, Any]] = [{"shift": (0.1, 0.0)}, {"clip": (5.2, 100.0)}, {"clip": (5.2, 90.0)}]
    changed += [replace(candidate(), camera=replace(candidate().camera, **each)) for each in optics]
    ids = {make_view_id("scene", each, 0) for each in changed}
    assert len(ids | {make_view_id("scene", candidate(), 1), make_view_id("other", candidate(), 0)}) == 10


def test_two_cameras_of_the_artist_that_stand_alike_have_two_names() -> None:
    """Also where the names give one slug."""
    names = ("Kamera 1", "kamera_1", "KAMERA.1", "カメラ", "カメラ2")
    ids = {make_view_id("scene", replace(candidate(), subject=None, name=name), 0) for name in names}
    assert len(ids) == len(names)


def test_views_of_the_scene_and_the_artists_cameras_have_names_too() -> None:
    bare = replace(candidate(), subject=None)
    assert make_view_id("s", bare, 0).startswith("scene-")
    assert make_view_id("s", replace(bare, name="Test Kamera Nord"), 0).startswith("testx-kamera-nord-")


@given(st.integers(0, 10**9))
def test_no_name_holds_a_word_that_names_a_split(seed: int) -> None:
    assert not re.search(
        rf"(?<![a-z])({SPLIT_WORDS})(?![a-z])", make_view_id("s", replace(candidate(), subject=None), seed)
    )


def test_two_cameras_of_a_dollhouse_have_two_names() -> None:
    """A room modelled at a thousandth of its size: a millimetre is a metre, and a name must not be shared."""
    scene = furnished_room(0.001, metres_per_unit=1000)
    verdicts = planned(scene, config("anchor-sweep-grid", cameras={"views": 512})).verdicts
    assert len({make_view_id("s", verdict.candidate, 0) for verdict in verdicts}) == len(verdicts) == 512


# ---- plan files ------------------------------------------------------------------------------------------------------


def example() -> CameraPlan:
    rotation = make_facing_rotation(np.array([1.0, 2, 0.3]))
    cameras = [
        Camera(make_pose(rotation, np.array([k / 3, 1e-7, 1e5])), 512, 288, 35.1 + k, (0.1, -0.05), clip)
        for k, clip in enumerate((None, (0.1, 1000.0), (5.2, 100.0)))
    ]
    views = tuple(
        PlannedView(f"stuhl-{k}", "stuhl", "Stühl 椅子", "set", k, camera, 0.123456, (None, 0.0, -1.5)[k])
        for k, camera in enumerate(cameras)
    )
    settings = config("orbit-4", subjects={"include": ["stühl*"]}, top={"seed": 7, "frame": 12})
    return CameraPlan("run-1", "scene-abcdef", settings, "studio", True, views)


def as_values(plan_file: CameraPlan) -> list[Any]:
    """Everything in it, with matrices as lists so that equal means equal."""
    cameras = [
        [view.camera.world_from_camera.tolist(), *list(vars(view.camera).values())[1:]] for view in plan_file.views
    ]
    views = [{**vars(view), "camera": camera} for view, camera in zip(plan_file.views, cameras, strict=True)]
    return [{**vars(plan_file), "views": views}]


def test_a_plan_comes_back_exactly(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", example())
    back = read_plan(tmp_path / "plan.json")
    assert as_values(back) == as_values(example())
    write_plan(tmp_path / "again.json", back)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "plan.json").read_bytes()


def list_ids(taken: CameraPlan) -> str:
    return " ".join(view.view_id for view in taken.views)


@pytest.mark.parametrize(
    ("count", "left"), [(1, "a0 a1 a2"), (3, "a0 a1 a2"), (4, "a0 a1 a2 b0"), (5, "a0 a1 a2 b0 c0 c1"), (7, "all")]
)
def test_fewer_views_of_a_plan_are_its_first_in_whole_sets(count: int, left: str) -> None:
    """Also where a set's views do not stand together: c1 comes last."""
    names = ("a0", "a1", "b0", "c0", "a2", "d0", "c1")
    sets = {"a": "orbit-a", "c": "orbit-c"}
    views = tuple(replace(example().views[0], view_id=name, view_set=sets.get(name[0], "")) for name in names)
    whole = replace(example(), views=views)
    for previewed in (True, False):
        taken = take_views(replace(whole, previewed=previewed), count)
        assert list_ids(taken) == (list_ids(whole) if left == "all" else left)
        renamed = previewed and left != "all"
        assert taken.run == (name_previewed_run(replace(taken, run=whole.run)) if renamed else whole.run)


def test_a_view_of_a_subject_that_is_gone_is_found() -> None:
    assert find_lost_view(example(), {"stuhl", "tisch"}) is None
    lost = find_lost_view(example(), {"tisch"})
    assert lost is not None and lost.view_id == "stuhl-0"
    bare = tuple(replace(view, subject="") for view in example().views)
    assert find_lost_view(replace(example(), views=bare), ()) is None


def test_every_reason_has_a_meaning_and_stands_in_the_documents(furnished: PlanningResult) -> None:
    assert furnished.count_reasons().keys() - {"candidates", "accepted"} <= set(Reason)
    guide = (Path(__file__).parents[2] / "docs" / "rendering.md").read_text(encoding="utf-8")
    table = guide.split("## Gates and reason codes")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    told = {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)}
    assert told == set(Reason)


def test_a_plan_without_views_is_a_plan(tmp_path: Path) -> None:
    write_plan(tmp_path / "plan.json", replace(example(), views=()))
    assert read_plan(tmp_path / "plan.json").views == ()


def one_sentence(path: Path) -> None:
    with pytest.raises(BlendsetError) as caught:
        read_plan(path)
    text = str(caught.value)
    assert path.name in text and "\n" not in text and text.endswith(".") and "''" not in text


@pytest.mark.parametrize(
    "content",
    [
        b'{"format": "blendset", "version": 1}',
        b'{"format": "blendset-plan", "version": 99}',
        b"[1, 2]",
        b"null",
        b'"plan"',
        b"{",
        b"\x89PNG\r\n\x1a\n\x00\x00",
        b"",
    ],
)
def test_a_file_that_is_no_plan_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "wrong.json").write_bytes(content)
    one_sentence(tmp_path / "wrong.json")


def test_a_plan_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    one_sentence(tmp_path / "absent.json")
    one_sentence(tmp_path)  # a folder


def broken(values: Any, path: str, value: Any) -> Any:
    """Values with the entry at a dotted path replaced, or removed where the new value is `...`."""
    *parents, last = (int(part) if part.isdigit() else part for part in path.split("."))
    holder = values
    for part in parents:
        holder = holder[part]
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return values


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("views", None),
        ("views", ...),
        ("views", 5),
        ("views", ["view"]),
        ("views", [[]]),
        ("views.0.view_id", ...),
        ("views.0.colour", "red"),
        ("views.0.view_id", 5),
        ("views.0.score", "high"),
        ("views.0.camera", None),
        ("views.0.camera.shift", []),
        ("views.0.camera.shift", [0.1]),
        ("views.0.camera.shift", None),
        ("views.0.camera.width", ...),
        ("views.0.camera.width", "512"),
        ("views.0.camera.world_from_camera", [1, 2, 3]),
        ("views.0.camera.world_from_camera", "identity"),
        ("views.0.camera.world_from_camera.3", float("nan")),
        ("views.0.camera.world_from_camera.3", None),
        ("views.0.camera.world_from_camera.0", 1.5),
        ("views.1.camera.clip", [0.1]),
        ("views.1.camera.clip", "near"),
        ("run", ...),
        ("run", 7),
        ("lighting", ...),
        ("config", ...),
        ("config", None),
        ("config.cameras", 3),
        ("config.seed", "seven"),
        ("config.colour", "red"),
    ],
    ids=str,
)
def test_a_damaged_plan_is_refused_by_name(tmp_path: Path, path: str, value: Any) -> None:
    """Before anything is rendered of it, and never with a traceback."""
    file = tmp_path / "plan.json"
    write_plan(file, example())
    file.write_text(json.dumps(broken(json.loads(file.read_bytes()), path, value)), encoding="utf-8")
    one_sentence(file)


@pytest.mark.parametrize("name", ["../../outside", "a/b", "..", "", "C:\\windows"])
def test_a_plan_from_elsewhere_cannot_write_outside_its_dataset(tmp_path: Path, name: str) -> None:
    """View ids become folders."""
    file = tmp_path / "plan.json"
    write_plan(file, example())
    file.write_text(json.dumps(broken(json.loads(file.read_bytes()), "views.0.view_id", name)), encoding="utf-8")
    one_sentence(file)


# ---- funnels ---------------------------------------------------------------------------------------------------------


def funnel(path: Path, verdicts: tuple[Verdict, ...], seed: int = 0) -> list[dict[str, Any]]:
    write_funnel(path, "scene", verdicts, seed)
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_a_funnel_holds_every_candidate_with_its_reason(tmp_path: Path, furnished: PlanningResult) -> None:
    lines = funnel(tmp_path / "funnel.jsonl", furnished.verdicts)
    assert len(lines) == len(furnished.verdicts)
    assert Counter(line["reason"] for line in lines) == Counter(verdict.reason for verdict in furnished.verdicts)
    for line, verdict in zip(lines, furnished.verdicts, strict=True):
        assert line["accepted"] is (line["reason"] == "")
        assert line["metrics"]
        assert (
            camera_from_dict(line["camera"]).world_from_camera.tolist()
            == verdict.candidate.camera.world_from_camera.tolist()
        )
        assert line["view_id"] == make_view_id("scene", verdict.candidate, 0)


def test_the_metrics_of_old_funnels_are_read_under_their_new_names() -> None:
    new = {"metrics": {"truncated": 0.1, "visible_fraction": 0.4}}
    old = {"figures": {"hidden": 0.4, "truncated": 0.1}}
    assert get_metrics(old) == get_metrics(new) == new["metrics"]


def test_a_funnel_without_candidates_has_no_lines(tmp_path: Path) -> None:
    assert funnel(tmp_path / "funnel.jsonl", ()) == []


def test_metrics_without_a_value_are_left_out_of_a_funnel(tmp_path: Path) -> None:
    verdict = Verdict(candidate(), metrics={"share": 0.5, "spread": float("nan"), "distance": float("inf")})
    assert funnel(tmp_path / "funnel.jsonl", (verdict,))[0]["metrics"] == {"share": 0.5}

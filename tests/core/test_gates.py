# SPDX-License-Identifier: Apache-2.0
"""Every geometric gate on a scene built to trigger it and no other, and the rays that the tests themselves stand on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from blendset.cameras import (
    Array,
    Camera,
    compute_pixel_centres,
    direction_from_angles,
    make_facing_rotation,
    make_pose,
)
from blendset.config import GateSettings
from blendset.placement.candidates import Candidate, frame_subject
from blendset.placement.gates import (
    FIRST_POINTS,
    GateContext,
    Verdict,
    reject_unlikely_viewpoints,
    run_gates,
    screen_proposals,
)
from blendset.placement.planner import plan
from blendset.placement.scene import Snapshot
from blendset.placement.subjects import Subject
from tests.core.analytic import (
    BruteForce,
    Solid,
    ball,
    box,
    config,
    furnished_room,
    panel,
    room_shell,
    snapshot,
    subject_of,
)

SQUARE = (128, 128)
CUBE = box("Cube", (0, 0, 0.5), (1, 1, 1))
FLOOR = panel("Floor", (0, 0, 0), (12, 0, 0), (0, 12, 0), albedo=0.3)
TOWARDS = direction_from_angles(30, 20)


def view(subject: Subject, towards: Array = TOWARDS, fill: float = 0.55) -> Candidate:
    return Candidate(frame_subject(subject, towards, fill, 50.0, SQUARE), subject)


def looking(position: ArrayLike, target: ArrayLike, lens: float = 24.0) -> Camera:
    at = np.asarray(position, dtype=float)
    return Camera(make_pose(make_facing_rotation(at - np.array(target)), at), *SQUARE, lens)


def judged(scene: Snapshot, *candidates: Candidate, structural: Sequence[int] = (), **gates: float) -> list[Verdict]:
    ground = GateContext.from_scene(scene, BruteForce(scene), frozenset(structural), GateSettings(**gates))
    verdicts = [Verdict(candidate) for candidate in candidates]
    run_gates(ground, verdicts)
    return verdicts


def reason(scene: Snapshot, candidate: Candidate, structural: Sequence[int] = (), **gates: float) -> str:
    [verdict] = judged(scene, candidate, structural=structural, **gates)
    return verdict.reason


def beside(candidate: Candidate, right: float, up: float, forward: float) -> tuple[float, float, float]:
    """A point given along the camera's own axes."""
    x, y, z = candidate.camera.position + candidate.camera.rotation @ [right, up, -forward]
    return float(x), float(y), float(z)


def screen_panel(candidate: Candidate, forward: float, left: float, right: float) -> Solid:
    """A panel square to the view, from `left` to `right` in units of the half frame, taller than the frame."""
    half = forward * float(candidate.camera.half_tangents[0])
    across, up = candidate.camera.rotation[:, 0] * (right - left) * half, candidate.camera.rotation[:, 1] * 4 * half
    return panel("Screen", beside(candidate, (left + right) / 2 * half, 0, forward), tuple(across), tuple(up))


SUBJECT = subject_of(snapshot([CUBE]), 1)
VIEW = view(SUBJECT)

# ---- the rays --------------------------------------------------------------------------------------------------------


@given(st.floats(0, 360), st.floats(-90, 90), st.floats(1.2, 9), st.floats(0.1, 20))
def test_rays_hit_a_ball_where_it_is_and_from_its_own_distance(az: float, el: float, far: float, length: float) -> None:
    geometry = BruteForce(snapshot([ball("Ball", (5, 5, 5), 1, halvings=2), box("Far", (5, 5, -40), (1, 1, 1))]))
    out = direction_from_angles(az, el)
    origins = np.array([5, 5, 5]) + np.array([far * out, far * out, 0 * out])
    distances, triangles = geometry.cast(origins, np.array([-out, out, out]) * length)
    assert distances[[0, 2]] * length == pytest.approx([far - 1, 1], abs=0.03)  # from outside, and from within
    assert distances[1] == np.inf or el < -60
    assert (triangles[[0, 2]] < 320).all()
    assert geometry.is_near(origins, far - 0.95)[:2].all() and not geometry.is_near(origins, far - 1.01)[:2].any()
    assert geometry.restrict_to([2]).cast(origins[:1], -out[None] * length)[1][0] in (-1, *range(320, 332))


def test_the_nearest_point_may_lie_on_a_face_an_edge_or_a_corner() -> None:
    geometry = BruteForce(snapshot([box("Box", (0, 0, 0), (2, 2, 2))]))
    points = np.array([[0, 0, 3.0], [3, 3, 0], [3, 3, 3], [0.5, 0, 0]])
    for point, distance in zip(points, (2, 8**0.5, 12**0.5, 0.5), strict=True):
        assert (
            geometry.is_near(point[None], distance + 1e-6)[0] and not geometry.is_near(point[None], distance - 1e-6)[0]
        )


def test_normals_point_out_of_solids() -> None:
    scene = snapshot([box("Box", (1, 2, 3), (1, 2, 3), turn_deg=30), ball("Ball", (1, 2, 3), 1)])
    outwards = scene.vertices[scene.triangles].mean(axis=1) - [1, 2, 3]
    assert ((scene.normals * outwards).sum(axis=1) > 0).all()


# ---- one gate at a time ----------------------------------------------------------------------------------------------


def test_a_well_framed_thing_on_a_floor_passes() -> None:
    scene = snapshot([CUBE, FLOOR])
    [verdict] = judged(scene, VIEW, structural=[2])
    assert verdict.reason == "" and verdict.accepted
    assert verdict.visible_points.shape == (48,) and verdict.visible_points.all()
    rays = VIEW.camera.make_rays(compute_pixel_centres(*SQUARE))
    _, hit = BruteForce(scene).cast(np.broadcast_to(VIEW.camera.position, rays.shape), rays)
    assert verdict.metrics["subject_share"] == pytest.approx(np.mean((hit >= 0) & (hit < 12)), abs=0.03)
    assert verdict.metrics["empty"] == pytest.approx(np.mean(hit < 0), abs=0.03)


def test_clearance() -> None:
    scene = snapshot([CUBE, FLOOR, box("Behind", beside(VIEW, 0, 0, -0.09), (0.1, 0.1, 0.1))])
    assert reason(scene, VIEW, [2]) == "clearance"
    assert reason(scene, VIEW, [2], clearance_metres=0.01) == ""  # the nearest side is 0.04 away
    assert reason(scene, VIEW, [2], clearance=0.002) == ""


def test_clearance_is_in_metres_whatever_the_unit_is() -> None:
    """In a hall of 40 units a box stands 0.3 behind the camera: 30 centimetres in metres, 3 in a file of 0.1."""
    hall = [panel("Floor", (0, 0, 0), (40, 0, 0), (0, 40, 0)), box("Far", (18, 18, 1), (3, 3, 3))]
    solids = [CUBE, *hall, box("Near", (-18, -18, 1), (3, 3, 3)), box("Behind", beside(VIEW, 0, 0, -0.35), (0.1,) * 3)]
    assert reason(snapshot(solids), VIEW, [2]) == ""
    assert reason(snapshot(solids, metres_per_unit=0.1), VIEW, [2]) == "clearance"


def test_blocked() -> None:
    screen_before = screen_panel(VIEW, 1.8, -1, 0.3)
    assert reason(snapshot([CUBE, FLOOR, screen_before]), VIEW, [2]) == "blocked"


def test_what_stands_behind_does_not_block() -> None:
    assert reason(snapshot([CUBE, FLOOR, screen_panel(VIEW, 5, -1, 0.3)]), VIEW, [2]) == ""


def test_hidden_is_decided_by_all_points_not_by_the_first_look() -> None:
    """The screen covers the left half of the cube, but the first sixteen points all lie on its right half."""
    screen_before = screen_panel(VIEW, 1.8, -1, 0)
    points = np.concatenate([SUBJECT.points, 0.9 * SUBJECT.points + [0, 0, 0.05]])
    right = VIEW.camera.project(points)[0][:, 0] > 64
    ordered = np.concatenate([points[right][:FIRST_POINTS], points[~right][:48]])
    subject = replace(SUBJECT, points=ordered)
    scene = snapshot([CUBE, FLOOR, screen_before])
    [verdict] = judged(scene, replace(VIEW, subject=subject), structural=[2])
    assert verdict.reason == "hidden"
    assert verdict.metrics["blocked"] == 1.0 and verdict.metrics["visible_fraction"] == pytest.approx(
        FIRST_POINTS / len(ordered)
    )
    assert verdict.visible_points[:16].all() and verdict.visible_points[16:].mean() < 0.05


def test_truncated() -> None:
    aside = looking(VIEW.camera.position, beside(VIEW, 1.3, 0, 5), lens=50)
    scene = snapshot([CUBE, FLOOR])
    assert reason(scene, Candidate(aside, SUBJECT), [2]) == "truncated"
    assert reason(scene, Candidate(looking(aside.position, (0, 0, 9), lens=50), SUBJECT), [2]) == "truncated"


def test_what_lies_behind_the_camera_is_not_in_the_frame() -> None:
    """Half of a long beam lies behind the camera, and would project into the frame if depth were forgotten."""
    beam = snapshot([box("Beam", (0, 0, 0), (20, 0.2, 0.2))])
    camera = looking((0, 0, 0.8), (9, 0, 0), lens=18)
    [verdict] = judged(beam, Candidate(camera, subject_of(beam, 1)))
    assert verdict.reason == "truncated" and verdict.metrics["truncated"] > 0.3


def test_inside_a_solid() -> None:
    """A closed block around both the camera and the subject: everything is in sight, from inside."""
    block = box("Block", (0, 0, 0), (9, 9, 9))
    assert reason(snapshot([CUBE, block]), VIEW) == "inside solid"


def test_single_sided_walls_seen_from_behind_are_no_solid() -> None:
    """The same faces as part of the room are the room."""
    shell = box("Room", (0, 0, 0), (9, 9, 9))
    assert reason(snapshot([CUBE, shell, box("Chest", (-2, 0, 0.5), (1, 2, 1))]), VIEW, [2]) == ""


def test_a_few_single_sided_leaves_are_no_solid() -> None:
    leaf = panel("Leaf", beside(VIEW, 0, 0.6, -0.3), (0.7, 0, 0), (0, 0.7, 0))
    [verdict] = judged(snapshot([CUBE, FLOOR, leaf]), VIEW, structural=[2])
    assert verdict.accepted and verdict.metrics["inside solid"] > 0


def test_one_surface() -> None:
    """A small thing before a bare wall that fills the picture."""
    wall = panel("Wall", (-1, 0, 0), (0, 60, 0), (0, 0, 60), albedo=0.7)
    candidate = view(SUBJECT, direction_from_angles(0, 2), fill=0.35)
    assert reason(snapshot([CUBE, wall]), candidate, [2]) == "one surface"
    halves = [panel(f"Wall {k}", (-1, y, 0), (0, 30, 0), (0, 0, 60)) for k, y in enumerate((-15, 15))]
    assert reason(snapshot([CUBE, *halves]), candidate, [2, 3]) == ""


@pytest.mark.parametrize("flip", [1, -1])
def test_floor_and_ceiling_are_two_surfaces(flip: int) -> None:
    """A corridor is half floor and half ceiling; neighbouring ids with opposite normals must not be taken for one."""
    floor = panel("A floor", (0, 0, 0), (40, 0, 0), (0, 40.0 * flip, 0))
    ceiling = panel("B ceiling", (0, 0, 3), (40, 0, 0), (0, -40.0 * flip, 0))
    candidate = Candidate(looking((0, -19, 1.5), (0, 0, 1.5)))
    [verdict] = judged(snapshot([floor, ceiling]), candidate, structural=[1, 2])
    assert verdict.metrics["one_surface"] < 0.55


def test_a_flat_surface_is_one_surface_whatever_the_last_digit_of_its_normals() -> None:
    """A floor of many triangles, half of them level and half level to a hundredth of a millimetre."""
    x, y = (each.ravel() for each in np.meshgrid(np.linspace(-9, 9, 7), np.linspace(-9, 9, 7)))
    corners = [(k + a, k + b, k + c) for k in range(41) if k % 7 < 6 for a, b, c in ((0, 1, 8), (0, 8, 7))]
    heights = np.where(x > 0, 1e-5 * np.random.default_rng(0).normal(size=49), 0)
    floor = Solid("Floor", np.stack([x, y, heights], axis=1), np.array(corners, dtype=np.int32), 0.5, {})
    down = Candidate(looking((0.1, 0, 4), (0, 0, 0)))
    assert reason(snapshot([floor]), down, [1]) == "one surface"


TURNS = st.tuples(st.sampled_from([-1, 1]), st.sampled_from([0, 0, 0.2, -0.3]), st.sampled_from([0, 0, 0.1, -0.3]))


@given(st.tuples(TURNS, TURNS), st.sampled_from([(0, 5, 0), (5, 0, 0), (0, 0, -5), (0, 0, 5), (3, 3, -3)]))
@settings(max_examples=60, deadline=None)
def test_surfaces_of_different_things_are_never_counted_together(
    turns: tuple[tuple[float, ...], ...], ahead: tuple[float, ...]
) -> None:
    """Two panels side by side, each tilted and turned over as it comes, fill half of the picture each."""
    candidate = Candidate(looking((0, 0, 0), ahead))
    right, up, back = candidate.camera.rotation.T
    solids = []
    for middle, (side, swing, tilt) in zip((-1.003, 1.003), turns, strict=True):
        across, upwards = side * 2 * (right + swing * back), 6 * (up + tilt * back)
        solids.append(panel(f"{middle}", tuple(middle * right - 2.5 * back), tuple(across), tuple(upwards)))
    [verdict] = judged(snapshot(solids), candidate, structural=[1, 2])
    assert verdict.metrics["one_surface"] < 0.6


def test_near_occluder() -> None:
    """A pillar near the camera takes over a third of the picture and none of the subject."""
    candidate = view(SUBJECT, fill=0.35)
    near, far = (snapshot([CUBE, FLOOR, screen_panel(candidate, away, -1.2, -0.25)]) for away in (1.0, 3.5))
    assert reason(near, candidate, [2]) == "near occluder"
    assert reason(near, candidate, [2], near_occluder=0.45) == ""
    assert reason(far, candidate, [2]) == ""  # just as large in the picture, but more than half way to the subject


def test_too_little_in_frame() -> None:
    pole = snapshot([box("Pole", (0, 0, 1), (0.05, 0.05, 2)), FLOOR, box("Chest", (-2, -1, 0.5), (1, 1, 1))])
    assert reason(pole, view(subject_of(pole, 1), fill=0.7), [2]) == "too little in frame"


def test_too_much_in_frame() -> None:
    assert (
        reason(snapshot([CUBE, FLOOR]), view(SUBJECT, direction_from_angles(45, 30), fill=1.0), [2])
        == "too much in frame"
    )


def test_instances_of_one_shape_are_told_apart() -> None:
    """Two instances of one chair: what is seen of the front one does not count for the one behind it."""
    front, behind = (box("Chair", (x, 0, 0.5), (0.8, 0.8, 1), instance_of=f"Row {x}") for x in (1.3, 0))
    scene = snapshot([behind, front, FLOOR])
    low = direction_from_angles(0, 3)
    first, second = subject_of(scene, 1), subject_of(scene, 2)
    assert reason(scene, view(first, low, 0.5), [3]) == "blocked"
    assert reason(scene, view(second, low, 0.5), [3]) == ""
    assert (
        reason(scene, view(subject_of(scene, 1, 2), direction_from_angles(90, 10)), [3]) == ""
    )  # as one subject they are one


# ---- views of the scene ----------------------------------------------------------------------------------------------

PROPS = [box(f"Box {k}", (1.5 * k - 3, 1.2, 0.5), (0.7, 0.6, 1 + 0.2 * k), turn_deg=20 * k) for k in range(5)]
ROOM = snapshot([*room_shell(8, 6, 3), *PROPS])
SHELL = [1, 2, 3, 4, 5, 6]
ACROSS = Candidate(looking((0, -2.5, 1.4), (0, 2, 0.7)))


def test_a_furnished_room_passes_as_a_view_of_the_scene() -> None:
    assert reason(ROOM, ACROSS, SHELL) == ""


def test_a_room_seen_away_from_its_furniture_is_bare() -> None:
    assert reason(ROOM, Candidate(looking((0, 0, 1.4), (2, -3, 1.2))), SHELL) == "bare"


def test_mostly_sky_is_bare() -> None:
    scene = snapshot([panel("Field", (0, 0, 0), (20, 0, 0), (0, 20, 0)), *PROPS])
    assert reason(scene, Candidate(looking((0, -4, 1), (0, 3, 4.3), lens=35)), [1]) == "bare"


def test_two_things_on_a_floor_are_bare() -> None:
    scene = snapshot([FLOOR, *PROPS[:1]])
    assert reason(scene, Candidate(looking((0, -4, 2.5), (-2, 1, 0.3))), [1]) == "bare"


def test_too_close() -> None:
    """A board half a metre from the lens: beyond clearance, and in the way."""
    candidate = Candidate(looking((0, -2.5, 1.4), (0, 2, 0.7)))
    board = screen_panel(candidate, 0.05 * ROOM.diagonal, -1, -0.4)
    assert reason(snapshot([*room_shell(8, 6, 3), *PROPS, board]), candidate, SHELL) == "too close"


def test_a_scene_view_inside_a_cupboard_is_inside_a_solid() -> None:
    scene = snapshot([*room_shell(8, 6, 3), *PROPS, box("Cupboard", (0, -2, 1.4), (1, 1, 1))])
    assert reason(scene, Candidate(looking((0, -2, 1.4), (0, 2, 0.7))), SHELL) == "inside solid"


def test_the_sky_is_no_object() -> None:
    scene = snapshot([panel("Field", (0, 0, 0), (20, 0, 0), (0, 20, 0)), *PROPS[:3]])
    [verdict] = judged(scene, Candidate(looking((-1.5, -4, 1.5), (-1.5, 1, 0.9))), structural=[1])
    assert verdict.metrics["empty"] > 0.1
    assert verdict.metrics["objects"] == 4


# ---- thresholds, order, alternatives ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "figure", "worse", "code"),
    [
        ("visible_fraction", "visible_fraction", 1, "hidden"),
        ("truncation", "truncated", -1, "truncated"),
        ("back_faces", "inside solid", -1, "inside solid"),
        ("one_surface", "one_surface", -1, "one surface"),
        ("subject_share_min", "subject_share", 1, "too little in frame"),
        ("subject_share_max", "subject_share", -1, "too much in frame"),
        ("near_occluder", "near_occluder", -1, "near occluder"),
    ],
)
def test_a_figure_at_its_threshold_passes_and_the_least_beyond_fails(
    setting: str, figure: str, worse: int, code: str
) -> None:
    """A view with a bit of everything wrong, judged with each threshold exactly at, and just short of, its figure."""
    base = view(SUBJECT, fill=0.8)
    camera = looking(base.camera.position, beside(base, 0.5, 0, 5), lens=50)
    solids = [
        CUBE,
        FLOOR,
        screen_panel(base, 1.0, -0.8, -0.45),
        panel("Leaf", beside(base, 0, 0.4, -0.5), (2, 0, 0), (0, 2, 0)),
    ]
    lax = {"truncation": 1.0, "visible_fraction": 0.0, "near_occluder": 1.0, "back_faces": 1.0, "one_surface": 1.0}
    lax |= {"subject_share_min": 0.0, "subject_share_max": 1.0}
    candidate = Candidate(camera, SUBJECT)
    [verdict] = judged(snapshot(solids), candidate, structural=[2], **lax)
    value = verdict.metrics[figure]
    assert verdict.accepted and 0 < value < 1
    assert reason(snapshot(solids), candidate, [2], **lax | {setting: value}) == ""
    assert reason(snapshot(solids), candidate, [2], **lax | {setting: value + worse * 1e-6}) == code


def doll_house(roof: bool) -> Snapshot:
    """A room without its front wall, two things in it, and a lamp post before it."""
    shell = [each for each in room_shell(6, 5, 2.8) if each.name != "Plane.003" and (roof or each.name != "Plane.001")]
    chest, crate = box("Chest", (-1, -1, 0.4), (0.8, 0.8, 0.8)), box("Crate", (1.5, 1.5, 0.4), (0.6, 0.6, 0.8))
    return snapshot([chest, crate, ball("Post", (2, -6, 1), 0.4), *shell])


def accepted_from(scene: Snapshot, subject: Subject, *azimuths: float) -> list[float]:
    """Which of these azimuths are accepted, in a scene whose first three things are furniture."""
    ground = GateContext.from_scene(
        scene, BruteForce(scene), frozenset(range(4, len(scene.objects) + 1)), GateSettings()
    )
    verdicts = [Verdict(view(subject, direction_from_angles(azimuth, 15), 0.4)) for azimuth in azimuths]
    run_gates(ground, verdicts)
    assert all(verdict.accepted for verdict in verdicts), [verdict.reason for verdict in verdicts]
    reject_unlikely_viewpoints(ground, verdicts)
    assert {verdict.reason for verdict in verdicts} <= {"", "outdoors"}
    return [azimuth for azimuth, verdict in zip(azimuths, verdicts, strict=True) if verdict.accepted]


def test_views_from_outside_go_where_there_are_some_from_inside() -> None:
    """In at the missing wall one could see the chest too; but who is indoors is photographed indoors."""
    scene = doll_house(roof=True)
    assert accepted_from(scene, subject_of(scene, 1), -90, 0, 90) == [0, 90]
    assert accepted_from(scene, subject_of(scene, 1), -90, -75) == [-90, -75]  # better than none
    assert accepted_from(scene, subject_of(scene, 3), 0, -90) == [0, -90]  # outside is where the post stands


def test_nobody_stands_between_a_thing_and_its_wall() -> None:
    """A frame hangs a hand's breadth off the wall: its back fits into a picture, but nobody could take it."""
    frame = box("Frame", (0, 2.15, 1.4), (0.5, 0.08, 0.5))
    lamp = ball("Lamp", (0, -1, 1.4), 0.25)
    scene = snapshot([frame, lamp, box("Chest", (-2, -1, 0.4), (0.8, 0.8, 0.8)), *room_shell(6, 5, 2.8)])
    ground = GateContext.from_scene(scene, BruteForce(scene), frozenset(range(4, 10)), GateSettings())
    for number, azimuths, kept in ((1, (-90, 0, 45, 120), [-90, 0]), (1, (90,), [90]), (2, (-90, 0, 90), [-90, 0, 90])):
        subject = subject_of(scene, number)
        verdicts = [Verdict(view(subject, direction_from_angles(each, 5)), metrics={"sky": 0.0}) for each in azimuths]
        reject_unlikely_viewpoints(ground, verdicts)
        assert [each for each, verdict in zip(azimuths, verdicts, strict=True) if verdict.accepted] == kept
        assert {verdict.reason for verdict in verdicts} <= {"", "wall side"}


def test_without_a_roof_there_is_no_outside() -> None:
    scene = doll_house(roof=False)
    assert accepted_from(scene, subject_of(scene, 1), -90, 0, 90) == [-90, 0, 90]


def test_a_candidate_stops_at_the_first_gate_that_rejects_it() -> None:
    close = box("Behind", beside(VIEW, 0, 0, -0.1), (0.1, 0.1, 0.1))
    [verdict] = judged(snapshot([CUBE, FLOOR, close, screen_panel(VIEW, 1.8, -1, 1)]), VIEW, structural=[2])
    assert verdict.reason == "clearance" and set(verdict.metrics) == {"clearance"}


def test_candidates_are_judged_each_by_itself() -> None:
    scene = snapshot([CUBE, FLOOR, screen_panel(VIEW, 1.8, -1, 1)])
    views = [view(SUBJECT, direction_from_angles(az, 20)) for az in (210, 30, 120)]
    together = [verdict.reason for verdict in judged(scene, *views, structural=[2])]
    assert together == [reason(scene, each, [2]) for each in views] == ["", "blocked", ""]


def screened(scene: Snapshot, *proposals: list[Candidate]) -> list[Verdict]:
    ground = GateContext.from_scene(
        scene, BruteForce(scene), frozenset(range(2, len(scene.objects) + 1)), GateSettings()
    )
    return screen_proposals(ground, [iter(each) for each in proposals])


def lenses(*focal_lengths: float) -> list[Candidate]:
    return [
        Candidate(frame_subject(SUBJECT, direction_from_angles(0, 15), 0.55, lens, SQUARE), SUBJECT)
        for lens in focal_lengths
    ]


def test_where_a_wall_stands_in_the_way_a_shorter_lens_takes_the_picture() -> None:
    scene = snapshot([CUBE, FLOOR, panel("Wall", (2.1, 0, 1), (0, 4, 0), (0, 0, 4))])
    [verdict] = screened(scene, lenses(50, 35, 24))
    assert verdict.accepted and verdict.candidate.camera.focal_length_mm == 24
    [verdict] = screened(scene, lenses(50, 35))
    assert verdict.reason == "blocked" and verdict.candidate.camera.focal_length_mm == 35


def test_a_longer_lens_is_kept_where_there_is_room_and_a_shorter_one_is_no_cure_for_the_rest() -> None:
    scene = snapshot([CUBE, FLOOR])
    small = [replace(each, camera=looking(each.camera.position * 5, (0, 0, 0.5), 50)) for each in lenses(50, 24)]
    free, far = screened(scene, lenses(50, 24), small)
    assert free.accepted and free.candidate.camera.focal_length_mm == 50
    assert far.reason == "too little in frame" and far.candidate is small[0]


def test_nothing_to_see_is_no_view() -> None:
    scene = snapshot([])
    [verdict] = judged(scene, Candidate(looking((0, -3, 1), (0, 0, 1))))
    assert not verdict.accepted


@pytest.mark.parametrize("scale", [0.01, 1000.0])
def test_verdicts_do_not_depend_on_the_scale_of_the_file(scale: float) -> None:
    """The same room modelled as a dollhouse and at a thousand times its size: the same cameras fail for the same
    reasons."""

    def reasons(scene: Snapshot) -> list[str]:
        planned = plan(scene, BruteForce(scene), config(cameras={"candidates": 6}))
        return [verdict.reason for verdict in planned.verdicts]

    metres = reasons(furnished_room())
    assert len(set(metres)) > 3
    assert reasons(furnished_room(scale, metres_per_unit=1 / scale)) == metres

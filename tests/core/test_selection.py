# SPDX-License-Identifier: Apache-2.0
"""Which views are kept: far enough apart, within every budget, subjects in turn, and whatever previews say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blendset.cameras import Camera, angles_from_direction, direction_from_angles, make_facing_rotation, make_pose
from blendset.config import CameraSettings
from blendset.placement.candidates import Candidate
from blendset.placement.gates import Verdict
from blendset.placement.planner import PlanningResult, plan
from blendset.placement.scene import Snapshot
from blendset.placement.selection import FAILED_DEG, Unit, ViewSelector
from blendset.placement.subjects import Subject
from tests.core.analytic import BruteForce, ball, box, config, panel, room_shell, snapshot, subject_of

THINGS = snapshot([box(f"Thing {k}", (3 * k, 0, 0.5), (1, 1, 1)) for k in range(24)])
SUBJECTS = [subject_of(THINGS, k + 1) for k in range(24)]
ALL = np.ones(64, dtype=bool)


def seen_from(
    subject: Subject | None,
    azimuth: float,
    elevation: float = 0.0,
    score: float = 0.5,
    seen: NDArray[np.bool_] | None = None,
) -> Verdict:
    """An accepted view that somebody has already scored."""
    towards = direction_from_angles(azimuth, elevation)
    position = 4 * towards + (0 if subject is None else subject.centre)
    candidate = Candidate(Camera(make_pose(make_facing_rotation(towards), position), 64, 64, 50.0), subject)
    marks = np.zeros(0, dtype=bool) if subject is None else ALL if seen is None else seen
    return Verdict(candidate, visible_points=marks, score=score)


def ring(subject: Subject | None, count: int, score: float = 0.5) -> list[Unit]:
    """Single views all around, one every 360/count degrees."""
    return [(seen_from(subject, 360 * k / count, score=score),) for k in range(count)]


@dataclass
class Outcome:
    """What an audition dealt, in order, and what of it was accepted."""

    dealt: list[Unit] = field(default_factory=list)
    accepted: list[Unit] = field(default_factory=list)

    def by_subject(self) -> Counter[str]:
        return Counter(name_of(unit) for unit in self.accepted)


def name_of(unit: Unit) -> str:
    subject = unit[0].candidate.subject
    return subject.id if subject else "scene"


def run(
    subjects: Sequence[list[Unit]],
    scenery: Iterable[Unit] = (),
    good: Callable[[Unit], bool] = lambda _: True,
    per_view: float = 4.0,
    **options: float,
) -> Outcome:
    """Audition to the end, previewing with `good`; more looks than there are units would be a loop."""
    selection = ViewSelector(subjects, list(scenery), CameraSettings(**options), per_view)  # type: ignore[arg-type]
    outcome = Outcome()
    for _ in range(sum(map(len, subjects)) + len(list(scenery)) + 1):
        unit = selection.next()
        if unit is None:
            assert selection.accepted == outcome.accepted
            assert selection.accepted_views == sum(map(len, outcome.accepted))
            return outcome
        outcome.dealt.append(unit)
        verdict = good(unit)
        selection.report(verdict)
        if verdict:
            outcome.accepted.append(unit)
    raise AssertionError("the audition does not end")


def apart(one: Verdict, other: Verdict) -> float:
    """Degrees between two cameras as seen from the subject's centre."""
    a, b = one.candidate.view_direction, other.candidate.view_direction
    return float(np.degrees(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1))))


# ---- what never happens ----------------------------------------------------------------------------------------------


@given(
    seed=st.integers(0, 10**6),
    pools=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    views=st.integers(1, 30),
    per_subject=st.integers(1, 8),
    separation=st.sampled_from([0.0, 10.0, 20.0, 45.0]),
    per_view=st.sampled_from([1.0, 2.5, 4.0]),
    scene_views=st.sampled_from([0.0, 0.15, 0.5]),
    luck=st.sampled_from([0.0, 0.3, 0.8, 1.0]),
)
@settings(max_examples=60, deadline=None)
def test_no_limit_is_ever_broken(
    seed: int,
    pools: list[int],
    views: int,
    per_subject: int,
    separation: float,
    per_view: float,
    scene_views: float,
    luck: float,
) -> None:
    """Whatever is proposed and whatever previews say of it."""
    rng = np.random.default_rng(seed)

    def units(subject: Subject | None, count: int) -> list[Unit]:
        return [
            (seen_from(subject, rng.uniform(0, 360), rng.uniform(0, 60), rng.random(), rng.random(64) < 0.7),)
            for _ in range(count)
        ]

    subjects = [units(SUBJECTS[k], count) for k, count in enumerate(pools)]
    scenery = units(None, 20)
    outcome = run(
        subjects,
        scenery,
        lambda _: rng.random() < luck,
        per_view,
        views=views,
        per_subject=per_subject,
        separation_deg=separation,
        scene_views=scene_views,
    )
    kept = outcome.by_subject()
    assert len(outcome.accepted) <= views
    assert len(outcome.dealt) <= round(views * per_view)
    assert len({id(unit) for unit in outcome.dealt}) == len(outcome.dealt)
    assert kept.pop("scene", 0) <= round(views * scene_views)
    assert max(kept.values(), default=0) <= per_subject
    for one, other in combinations((unit[0] for unit in outcome.accepted if name_of(unit) != "scene"), 2):
        if one.candidate.subject is other.candidate.subject:
            assert apart(one, other) >= separation - 1e-6


def test_separation_is_measured_from_the_subjects_centre() -> None:
    """Two cameras that look in one direction but stand 40 degrees apart are two views."""
    one, other = (seen_from(SUBJECTS[0], azimuth) for azimuth in (0, 40))
    turned = Candidate(
        Camera(make_pose(one.candidate.camera.rotation, other.candidate.camera.position), 64, 64, 50.0), SUBJECTS[0]
    )
    outcome = run([[(one,), (Verdict(turned, visible_points=ALL, score=0.4),)]], separation_deg=35)
    assert len(outcome.accepted) == 2


def test_everything_is_used_when_there_is_less_than_the_budget() -> None:
    assert len(run([ring(SUBJECTS[0], 6), ring(SUBJECTS[1], 6)], separation_deg=59, views=48).accepted) == 12


def test_no_candidates_no_views() -> None:
    assert run([], []).accepted == []
    assert run([[], []], []).accepted == []


# ---- order -----------------------------------------------------------------------------------------------------------


def test_subjects_come_first_by_breadth() -> None:
    """With ten subjects and ten views, eight at the least get one before any gets its second."""
    outcome = run([ring(SUBJECTS[k], 12) for k in range(10)], views=10)
    first = [name_of(unit) for unit in outcome.accepted[:8]]
    assert len(set(first)) == 8
    assert first == [each.id for each in SUBJECTS[:8]]  # in their order of promise


def test_every_subject_gets_a_view_where_there_are_views_enough() -> None:
    """48 views, 12 subjects that all have good ones: nobody is left out for others' sixth."""
    outcome = run([ring(SUBJECTS[k], 12) for k in range(12)], views=48, per_subject=6, separation_deg=20)
    assert len(outcome.by_subject()) == 12


def test_no_subject_gets_a_second_view_before_every_other_had_a_chance() -> None:
    """Of ten subjects three have views that fail now and then; none is passed over for another's second view."""
    hard = {SUBJECTS[k].id for k in range(3)}
    tried: Counter[str] = Counter()

    def is_good(unit: Unit) -> bool:
        tried[name_of(unit)] += 1
        return name_of(unit) not in hard or tried[name_of(unit)] > 4

    outcome = run([ring(subject, 12) for subject in SUBJECTS[:10]], good=is_good, views=12, separation_deg=0)
    assert set(outcome.by_subject()) == {subject.id for subject in SUBJECTS[:10]}
    assert len({name_of(unit) for unit in outcome.accepted[:10]}) == 10


def test_the_best_view_comes_first_and_the_next_from_another_side() -> None:
    units = ring(SUBJECTS[0], 12)
    best = (seen_from(SUBJECTS[0], 47, score=0.9),)
    outcome = run([[*units, best]], views=2)
    assert outcome.accepted[0] is best
    assert apart(outcome.accepted[0][0], outcome.accepted[1][0]) >= 80


def test_among_equals_the_view_that_shows_something_new_wins() -> None:
    half = np.arange(64) < 32
    first = (seen_from(SUBJECTS[0], 0, score=0.6, seen=half),)
    same, fresh = ((seen_from(SUBJECTS[0], azimuth, seen=marks),) for azimuth, marks in ((120, half), (240, ~half)))
    assert run([[first, same, fresh]], views=2).accepted == [first, fresh]


# ---- previews --------------------------------------------------------------------------------------------------------


def test_a_rejected_preview_leads_to_another_view_of_the_subject() -> None:
    units = ring(SUBJECTS[0], 12)
    outcome = run([units], good=lambda unit: unit is not units[0], views=1)
    assert outcome.dealt[0] is units[0]
    assert len(outcome.accepted) == 1
    assert apart(outcome.dealt[0][0], outcome.dealt[1][0]) >= FAILED_DEG  # what failed here fails next door too


def test_a_subject_that_keeps_failing_makes_room_for_others() -> None:
    """The most promising subject is pitch black: the others must get all views, and most of the previews."""
    subjects = [ring(SUBJECTS[0], 60, score=0.9), *(ring(SUBJECTS[k], 12) for k in range(1, 5))]
    outcome = run(subjects, good=lambda unit: name_of(unit) != "subject-1", views=20, separation_deg=20)
    assert len(outcome.accepted) == 20
    wasted = [name_of(unit) for unit in outcome.dealt].count("subject-1")
    assert 3 <= wasted <= 9


def test_a_subject_with_one_good_side_is_found_late_rather_than_never() -> None:
    lucky = ring(SUBJECTS[0], 30)
    outcome = run([lucky, ring(SUBJECTS[1], 12)], good=lambda unit: unit is lucky[17] or name_of(unit) == "subject-2")
    assert lucky[17] in outcome.accepted


def test_when_no_preview_holds_up_the_budget_of_previews_ends_it() -> None:
    outcome = run([ring(SUBJECTS[k], 60) for k in range(6)], good=lambda _: False, views=10, per_view=4)
    assert outcome.accepted == [] and len(outcome.dealt) <= 40


# ---- view sets -------------------------------------------------------------------------------------------------------


def orbit(subject: Subject, start: float, elevation: float, count: int = 4) -> Unit:
    return tuple(seen_from(subject, start + 360 * k / count, elevation) for k in range(count))


def test_sets_are_dealt_and_counted_whole() -> None:
    subjects = [[orbit(SUBJECTS[k], 50 * j, 10 + 25 * j) for j in range(2)] for k in range(6)]
    outcome = run(subjects, good=lambda unit: name_of(unit) != "subject-2", views=16)
    assert {len(unit) for unit in outcome.dealt} == {4}
    assert sum(map(len, outcome.accepted)) == 16
    assert "subject-2" not in outcome.by_subject()
    assert all(any(unit is own for units in subjects for own in units) for unit in outcome.accepted)


@pytest.mark.parametrize(("views", "expected"), [(6, 8), (3, 4), (8, 8)])
def test_the_last_set_is_not_cut(views: int, expected: int) -> None:
    outcome = run([[orbit(SUBJECTS[k], 0, 20)] for k in range(6)], views=views)
    assert sum(map(len, outcome.accepted)) == expected


def test_two_sets_of_one_subject_are_as_far_apart_as_two_views_must_be() -> None:
    """Starting 95 degrees on, a second orbit at the same elevation stands five degrees beside the first."""
    sets = [orbit(SUBJECTS[0], 0, 20), orbit(SUBJECTS[0], 95, 20)]
    assert len(run([sets], separation_deg=20).accepted) == 1
    sets = [orbit(SUBJECTS[0], 0, 20), orbit(SUBJECTS[0], 45, 20)]
    assert len(run([sets], separation_deg=20).accepted) == 2


def test_a_subjects_limit_counts_views_and_not_sets() -> None:
    sets = [orbit(SUBJECTS[0], 0, elevation) for elevation in (0, 25, 50)]
    assert sum(map(len, run([sets], per_subject=6, views=40).accepted)) <= 8


# ---- views of the scene ----------------------------------------------------------------------------------------------


def test_scene_views_take_their_share_along_the_way() -> None:
    outcome = run([ring(SUBJECTS[k], 12) for k in range(20)], ring(None, 14), views=40, scene_views=0.25)
    places = [k for k, unit in enumerate(outcome.accepted) if name_of(unit) == "scene"]
    assert len(outcome.accepted) == 40 and len(places) == 10
    assert np.diff(places).max() <= 6


def test_without_subjects_the_scene_views_still_come() -> None:
    """A landscape without a thing in it: the share is for scenes that have subjects too."""
    assert len(run([], ring(None, 14), views=20, scene_views=0.5).accepted) == 14


def test_scene_views_take_their_whole_share_when_the_subjects_run_out() -> None:
    outcome = run([ring(SUBJECTS[0], 12)], ring(None, 14), views=40, scene_views=0.25)
    assert outcome.by_subject() == {"subject-1": 6, "scene": 10}


def test_scene_views_that_fail_do_not_hold_up_the_rest() -> None:
    outcome = run(
        [ring(SUBJECTS[k], 12) for k in range(6)], ring(None, 40), lambda unit: name_of(unit) != "scene", views=20
    )
    assert len(outcome.accepted) == 20


# ---- what is published is rendered as published ----------------------------------------------------------------------


def sampled(scene: Snapshot, preset: str, views: int, seed: int = 0) -> tuple[PlanningResult, list[Verdict]]:
    """A plan and what of it is to be rendered."""
    settings = config(preset, cameras={"views": views}, top={"seed": seed})
    planned = plan(scene, BruteForce(scene), settings)
    return planned, planned.sample_views(settings)


def cluttered() -> Snapshot:
    """A room in which about half of all cameras stand badly."""
    props = [
        box(f"Box {k}", (1.4 * (k % 4) - 2.1, 1.5 * (k // 4) - 1.5, 0.5), (0.6, 0.5, 1.0), turn_deg=25 * k)
        for k in range(12)
    ]
    return snapshot([*room_shell(7, 5, 2.6), *props, ball("Ball", (0, 0, 2), 0.3)])


def test_all_eight_published_cameras_of_every_subject_are_kept_however_bad() -> None:
    """Some stand in walls, some are blocked, some pass: they stopped at different gates."""
    planned, views = sampled(cluttered(), "blendfusion", 500)
    assert len({verdict.reason for verdict in planned.verdicts}) >= 3
    assert Counter(name_of((view,)) for view in views) == {each.id: 8 for each in planned.search.subjects}


def test_the_published_cameras_of_a_flat_thing_are_kept_too() -> None:
    """For a thing without height the formula puts all eight cameras into its centre."""
    rug = panel("Rug", (0, 0, 0.001), (1.8, 0, 0), (0, 1.2, 0), textured=True)
    shelves = [box(f"Box {k}", (k - 3, 2, 0.4), (0.5, 0.3 + 0.1 * k, 0.8)) for k in range(6)]
    _, views = sampled(snapshot([*room_shell(7, 5, 2.6), rug, *shelves]), "blendfusion", 500)
    assert Counter(name_of((view,)) for view in views)["rug"] == 8


@pytest.mark.parametrize("preset", ["random", "random-grid", "anchor-sweep", "anchor-sweep-grid"])
def test_a_published_baseline_gives_as_many_views_as_were_asked_for(preset: str) -> None:
    _, views = sampled(cluttered(), preset, 24)
    assert len({id(view) for view in views}) == 24
    if preset == "anchor-sweep":
        turns = Counter(round(angles_from_direction(-view.candidate.camera.rotation[:, 2])[0]) for view in views)
        assert turns == {45 * k: 3 for k in range(8)}


@pytest.mark.parametrize("preset", ["random-grid", "anchor-sweep-grid", "blendfusion"])
def test_a_budget_does_not_pick_the_best_of_a_published_baseline(preset: str) -> None:
    """Where more is proposed than asked for, what is kept must pass the gates about as often as the whole: a baseline
    that only shows its best side is not the published one."""
    scene = cluttered()
    planned, views = sampled(scene, preset, 32)
    share = np.mean([verdict.accepted for verdict in planned.verdicts])
    assert len(views) == 32 < len(planned.verdicts)
    assert 0.02 < share < 0.6
    assert np.mean([verdict.accepted for verdict in views]) == pytest.approx(share, abs=0.25)


def test_which_part_of_a_baseline_is_rendered_follows_the_seed() -> None:
    one, again, other = (
        [view.candidate.camera.position.tolist() for view in sampled(cluttered(), "blendfusion", 20, seed)[1]]
        for seed in (1, 1, 2)
    )
    assert one == again != other


def test_the_artists_own_cameras_are_all_kept_however_alike() -> None:
    scene, turned = cluttered(), [make_facing_rotation(direction_from_angles(270 + 5 * k, 10)) for k in range(5)]
    own = [(f"Camera {k}", Camera(make_pose(turned[k], np.array([0.2 * k, -2, 1.5])), 64, 48, 35.0)) for k in range(5)]
    settings = config("scene-cameras")
    views = plan(scene, BruteForce(scene), settings, tuple(own)).sample_views(settings)
    assert [view.candidate.name for view in views] == [name for name, _ in own]

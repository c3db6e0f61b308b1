# SPDX-License-Identifier: Apache-2.0
"""What a person is told where a scene gives no view, or fewer than were asked for; and what rendering will cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from blendset.config import CameraSettings, Config, SubjectSettings
from blendset.jobs.estimates import describe_costs, warn_of_full_disk
from blendset.jobs.messages import ScenePlanned
from blendset.placement.obstacles import CURES, GATES, explain_limits, explain_losses, explain_no_views
from blendset.placement.planner import plan
from blendset.placement.reasons import Reason
from tests.core.analytic import BruteForce, ball, box, snapshot


def test_every_reason_belongs_to_a_gate_and_has_a_cure_unless_it_is_a_preference() -> None:
    gated = {reason for _, reasons in GATES for reason in reasons}
    assert set(Reason) - gated == {Reason.OUTDOORS, Reason.WALL_SIDE}
    assert gated - set(CURES) == {Reason.BARE, Reason.TOO_CLOSE}


@pytest.mark.parametrize(
    ("funnel", "expected"),
    [
        (
            {"candidates": 546, "clearance": 386, "hidden": 33, "dark": 20, "flat": 12},
            "the last 32 of 546 cameras failed at the preview (20 dark, 12 flat); add a lamp, or use --lighting sky",
        ),
        (
            {"candidates": 256, "clearance": 200, "blocked": 50, "hidden": 6},
            "the last 56 of 256 cameras failed at visibility (50 blocked, 6 hidden); lower gates.visible_fraction",
        ),
        ({"candidates": 9, "clearance": 9}, "all 9 cameras failed at clearance (9 clearance); lower gates.clearance"),
        ({"candidates": 0}, "nothing in it can be photographed (no camera was proposed)"),
    ],
)
def test_the_reason_is_that_of_the_last_gate_that_anything_came_to(funnel: dict[str, int], expected: str) -> None:
    assert expected in explain_no_views(funnel)


def test_where_nothing_is_a_subject_it_is_said_why_with_the_files() -> None:
    subjects = {"found": 0, "seen": 0, "texture missing": 6, "too small": 1, "chosen": 0}
    reason = explain_no_views({"candidates": 240, "bare": 240}, subjects, ["//lost/skin.png"])
    assert reason.startswith("nothing in it can be a subject (6 texture missing: //lost/skin.png, 1 too small); put")
    assert "--missing neutral" in reason


def test_losses_name_failed_previews_and_what_to_do() -> None:
    losses = explain_losses({"candidates": 90, "blocked": 40, "flat": 9, "dark": 2}, 1, 8)
    assert losses.startswith("1 of 8 views: 11 previews failed (9 flat, 2 dark); give things materials")


def test_the_limit_that_binds_is_named() -> None:
    scene = snapshot([ball("Globe", (0, 0, 1), 0.5), box("Ground", (0, 0, -0.05), (8, 8, 0.1))])
    alone = SubjectSettings(include=("globe*",))
    for cameras, expected in (
        (CameraSettings(views=48, per_subject=2, candidates=64), "cameras.per_subject = 2 allows no more"),
        (CameraSettings(views=48, per_subject=48, separation_deg=90, candidates=64), "cameras.separation_deg = 90"),
        (CameraSettings(views=48, preset="random", candidates=2), "--preset random proposes no more cameras"),
    ):
        config = Config(cameras=cameras, subjects=alone)
        result = plan(scene, BruteForce(scene), config)
        chosen = result.choose_views(config)
        views = Counter(each.candidate.subject.id for each in chosen if each.candidate.subject)
        sentence = explain_limits(result, config, views, len(chosen))
        assert sentence.startswith(f"{len(chosen)} of 48 views: ") and expected in sentence


def test_costs_follow_pixels_samples_and_workers() -> None:
    planned = ScenePlanned(
        run="", scene="", views=("a", "b"), done=(), funnel={}, subjects={}, notes=(), previews=10, previews_s=1.0,
        bytes=4_000_000,
    )  # fmt: skip
    config = Config()  # a view has 40.96 times the pixels of its preview, and 8 times the samples
    assert describe_costs(planned, config, 2, 10**10) == "about 66 s and 4.0 MB (10.0 GB free)"
    shared = replace(config, jobs=replace(config.jobs, workers=2))
    assert describe_costs(planned, shared, 1, 10**10) == "about 16 s and 2.0 MB (10.0 GB free)"
    assert describe_costs(replace(planned, bytes=0), config, 2, 10**10) == ""
    assert warn_of_full_disk(planned, 2, 4_000_000) == []
    assert "3.9 MB are free" in warn_of_full_disk(planned, 2, 3_900_000)[0]

# SPDX-License-Identifier: Apache-2.0
"""Limits at the very images that lie on them, exposure on pictures that need it, and framing against what is known."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from blendset.cameras import Camera, compute_pixel_centres, direction_from_angles, make_facing_rotation, make_pose
from blendset.config import GateSettings
from blendset.exposure import Exposure, ViewTransform, choose_shared_exposure, list_exposures, try_exposures
from blendset.placement.candidates import frame_subject
from blendset.placement.framing import Framing, measure_framing
from blendset.placement.gates import GateContext
from blendset.placement.reasons import Reason
from blendset.placement.scene import Snapshot
from blendset.placement.subjects import Subject
from blendset.quality import (
    FINISHED,
    LUMA,
    PREVIEW,
    Limits,
    collect_metrics,
    compute_statistics,
    find_framing_faults,
    find_light_faults,
    strip_png_text,
)
from tests.core.analytic import BruteForce, Solid, box, panel, snapshot, subject_of

# ---- the limits ------------------------------------------------------------------------------------------------------


def faults(picture: NDArray[Any], subject: NDArray[np.bool_] | None = None, limits: Limits = FINISHED) -> list[Reason]:
    """What is wrong with an 8-bit picture, grey (H, W) or in colour (H, W, 3)."""
    values = picture.astype(float)
    return find_light_faults(compute_statistics(values @ LUMA if values.ndim == 3 else values, subject), limits)


def halves(low: float, high: float, share: float = 0.5, side: int = 20) -> NDArray[np.float64]:
    """A grey picture whose first rows, `share` of all, are `low` and the rest `high`."""
    picture = np.full((side, side), float(high))
    picture[: round(share * side)] = low
    return picture


def test_a_mean_of_thirty_passes_and_a_hair_less_does_not() -> None:
    assert faults(halves(6, 54)) == []
    darker = halves(6, 54)
    darker[0, 0] = 5.9
    assert faults(darker) == ["dark"]


def test_a_variance_of_three_hundred_passes_and_a_hair_less_does_not() -> None:
    """A quarter each way by the root of 600, the other half in the middle."""
    step = 600**0.5
    picture = np.repeat([100 - step, 100.0, 100.0, 100 + step], 100).reshape(20, 20)
    assert compute_statistics(picture, None).variance == pytest.approx(300)
    assert faults(picture + (picture > 100) * 1e-6) == []
    assert faults(picture * 0.9999) == ["flat"]


@pytest.mark.parametrize("shape", [(10, 10), (20, 50), (250, 400)])
@pytest.mark.parametrize("colour", [False, True])
def test_a_picture_on_every_limit_at_once_passes(shape: tuple[int, int], colour: bool) -> None:
    """30 % of the pixels at 5, 20 % at 30 and 50 % at 45: mean 30, variance 300, whatever the order of summing."""
    tenths = np.array([5, 5, 5, 30, 30, 45, 45, 45, 45, 45], dtype=np.uint8)
    picture = np.resize(tenths, shape)
    assert faults(np.repeat(picture[..., None], 3, axis=2) if colour else picture) == []


def test_thirty_percent_of_pixels_at_five_pass_and_one_more_does_not() -> None:
    picture = halves(5, 90, share=0.3)
    assert faults(picture) == []
    picture[-1, -1] = 5
    assert faults(picture) == ["dark"]
    picture[-1, -1] = 5.01
    assert faults(picture) == []


@pytest.mark.parametrize("grey", range(0, 256, 5))
def test_a_grey_pixel_has_its_own_grey_value(grey: int) -> None:
    """Weights that miss one by an ulp must not move a pixel of value 5, or of 250, across its limit."""
    picture = np.full((4, 4, 3), grey, dtype=np.uint8)
    statistics = compute_statistics(picture.astype(float) @ LUMA, None)
    assert statistics.mean == pytest.approx(grey)
    assert statistics.dark_fraction == (1.0 if grey <= 5 else 0.0)
    assert statistics.clipped_fraction == (1.0 if grey >= 250 else 0.0)


def test_colours_count_as_bright_as_they_look() -> None:
    primaries = 255.0 * np.eye(3).reshape(1, 3, 3)
    assert (primaries @ LUMA).ravel().tolist() == pytest.approx([76.245, 149.685, 29.07])


def test_black_and_white_pictures_fail_as_what_they_are() -> None:
    black, white = np.zeros((8, 8)), np.full((8, 8), 255.0)
    assert faults(black) == ["dark", "flat"]
    assert faults(white) == ["flat"]
    assert faults(white, limits=PREVIEW) == ["blown out", "flat"]


def test_a_dark_subject_before_a_bright_wall_is_seen_through() -> None:
    """The frame's mean and variance are perfect; the thing that it is about is a silhouette."""
    picture, mask = np.full((20, 20), 180.0), np.zeros((20, 20), dtype=bool)
    mask[6:14, 6:14] = True
    picture[mask] = 12
    assert faults(picture, mask) == ["dark subject"]
    assert faults(picture) == []
    statistics = compute_statistics(picture, mask)
    assert (statistics.subject_mean, statistics.subject_contrast) == (12, 168)


def test_a_subject_without_shading_is_flat_in_the_preview() -> None:
    picture, mask = halves(20, 200), np.zeros((20, 20), dtype=bool)
    mask[12:, 5:] = True
    assert faults(picture, mask, PREVIEW) == ["flat subject"]


@pytest.mark.parametrize("fills", [False, True])
def test_a_subject_out_of_sight_or_all_over_the_picture_has_no_contrast(fills: bool) -> None:
    statistics = compute_statistics(halves(20, 90), np.full((20, 20), fills))
    assert statistics.subject_contrast is None
    assert (statistics.subject_mean is None) is not fills
    assert "subject_contrast" not in collect_metrics(statistics)


def test_the_preview_is_stricter_than_the_judgement_in_everything() -> None:
    for name in ("mean", "variance", "subject_mean", "subject_deviation", "visible_fraction"):
        assert getattr(PREVIEW, name) > getattr(FINISHED, name), name
    for name in ("dark_fraction", "clipped_fraction", "truncation"):
        assert getattr(PREVIEW, name) < getattr(FINISHED, name), name
    assert PREVIEW.share[0] > FINISHED.share[0] and PREVIEW.share[1] < FINISHED.share[1]


@pytest.mark.parametrize(
    ("framing", "codes"),
    [
        (Framing(0.04, 0.5, 0.15), []),
        (Framing(0.70, 1.0, 0.0), []),
        (Framing(0.039, 1.0, 0.0), ["too little in picture"]),
        (Framing(0.701, 1.0, 0.0), ["too much in picture"]),
        (Framing(0.3, 0.499, 0.0), ["hidden in picture"]),
        (Framing(0.3, 1.0, 0.151), ["truncated in picture"]),
    ],
)
def test_framing_on_the_limit_passes(framing: Framing, codes: list[str]) -> None:
    assert find_framing_faults(framing, FINISHED) == codes


def test_a_view_of_the_scene_has_no_framing_to_fault() -> None:
    assert find_framing_faults(None, PREVIEW) == []


# ---- files -----------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def test_a_png_loses_what_differs_from_run_to_run_and_nothing_else() -> None:
    head, colour = chunk(b"IHDR", bytes(13)), chunk(b"sRGB", b"\0")
    pixels = [chunk(b"IDAT", b"some pixels"), chunk(b"IDAT", b"tEXt is only a word here")]
    noise = [chunk(b"tEXt", b"RenderTime\x0000:00.12"), chunk(b"tIME", bytes(7)), chunk(b"iTXt", b"")]
    magic, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    clean = b"".join([magic, head, colour, *pixels, end])
    assert strip_png_text(b"".join([magic, head, noise[0], colour, noise[1], *pixels, noise[2], end])) == clean
    assert strip_png_text(clean) == clean


# ---- noise -----------------------------------------------------------------------------------------------------------


def gamma(low: float = -12.0, high: float = 7.0, steps: int = 77) -> ViewTransform:
    """A plain sRGB-like display: linear ** (1 / 2.2), clipped at white."""
    axis = np.minimum(2.0 ** np.linspace(low, high, steps), 1) ** (1 / 2.2)
    return ViewTransform(np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).astype(np.float32), low, high)


DISPLAY = gamma()


def choose_exposure(
    images: list[NDArray[np.float64]], subject: NDArray[np.bool_] | None, transform: ViewTransform, exposures: Any
) -> Exposure:
    """The best exposure of one view."""
    [best] = choose_shared_exposure([try_exposures(images, subject, transform, exposures)])
    return best


def test_noise_is_not_taken_for_contrast() -> None:
    """A flat grey wall under a handful of samples: each half looks lively, the two together tell that it is flat."""
    rng = np.random.default_rng(0)
    first, second = (np.abs(0.2 + 0.08 * rng.normal(size=(96, 96, 1))) * np.ones(3) for _ in range(2))
    lively = choose_exposure([first], None, DISPLAY, [0.0])
    honest = choose_exposure([first, second], None, DISPLAY, [0.0])
    assert lively.statistics.variance > 400
    assert honest.statistics.variance < 40 and "flat" in honest.faults


def test_contrast_under_noise_is_measured_right() -> None:
    """Half 0.1, half 0.4: the corrected variance of two noisy halves is the variance of the clean picture."""
    rng = np.random.default_rng(1)
    clean = np.where(np.arange(128)[:, None] < 64, 0.1, 0.4)[..., None] * np.ones((128, 128, 3))
    noisy = [clean * (1 + 0.1 * rng.normal(size=(128, 128, 1))) for _ in range(2)]
    truth = choose_exposure([clean], None, DISPLAY, [0.0]).statistics
    found = choose_exposure(noisy, None, DISPLAY, [0.0]).statistics
    assert found.variance == pytest.approx(truth.variance, rel=0.03)
    assert found.mean == pytest.approx(truth.mean, rel=0.02)


# ---- exposure --------------------------------------------------------------------------------------------------------

SUBJECT = np.zeros((64, 64), dtype=bool)
SUBJECT[20:44, 20:44] = True
EVERY = list_exposures(4.0)


def lit(subject: float, around: float, texture: float = 0.8) -> NDArray[np.float64]:
    """A linear picture (64, 64, 3): a textured subject in textured surroundings of these mean values."""
    wave = 1 + texture * np.sin(np.arange(64) / 2.1)[:, None] * np.sin(np.arange(64) / 3.3)
    return np.where(SUBJECT, subject, around)[..., None] * wave[..., None] * np.ones(3)


def test_a_picture_that_is_right_is_left_alone() -> None:
    choice = choose_exposure([lit(0.25, 0.12)], SUBJECT, DISPLAY, EVERY)
    assert abs(choice.ev) <= 0.5 and choice.faults == ()


@pytest.mark.parametrize("wrong_by", [-4, -2, 2, 4])
def test_a_picture_that_is_too_dark_or_too_bright_is_put_right(wrong_by: int) -> None:
    right = choose_exposure([lit(0.25, 0.12)], SUBJECT, DISPLAY, list_exposures(6.0)).ev
    choice = choose_exposure([lit(0.25, 0.12) * 2.0**wrong_by], SUBJECT, DISPLAY, list_exposures(6.0))
    assert choice.ev == pytest.approx(right - wrong_by, abs=1.0)
    assert choice.faults == ()


def test_a_picture_beyond_the_allowed_stops_is_dark() -> None:
    choice = choose_exposure([lit(0.25, 0.12) / 2**9], SUBJECT, DISPLAY, EVERY)
    assert choice.ev == 4 and "dark" in choice.faults


def test_no_exposure_makes_a_flat_picture_lively() -> None:
    choice = choose_exposure([np.full((64, 64, 3), 0.2)], None, DISPLAY, EVERY)
    assert "flat" in choice.faults


def test_no_exposure_saves_a_picture_of_nothing_but_a_lamp() -> None:
    """Half of the frame is a thousand times brighter than the rest: whatever shows the rest blows out half."""
    picture = np.where(np.arange(64)[:, None] < 32, 400.0, 0.0004)[..., None] * np.ones((64, 64, 3))
    assert choose_exposure([picture], None, DISPLAY, EVERY).faults


def test_the_views_of_a_set_share_the_exposure_that_is_best_for_all() -> None:
    dim, fair, bright = (try_exposures([lit(0.25, 0.12) * 2.0**by], SUBJECT, DISPLAY, EVERY) for by in (-1, 0, 1))
    alone = [choose_shared_exposure([trials])[0].ev for trials in (dim, fair, bright)]
    assert alone[0] > alone[1] > alone[2]
    together = choose_shared_exposure([dim, fair, bright])
    assert [each.ev for each in together] == [pytest.approx(alone[1], abs=0.5)] * 3
    assert [each.faults for each in together] == [()] * 3
    assert together[0].statistics.mean < together[1].statistics.mean < together[2].statistics.mean


def test_what_one_exposure_cannot_show_together_has_a_fault() -> None:
    """A lamp's inside and a cellar: each can be exposed, but not both alike."""
    views = [try_exposures([lit(0.25, 0.12) * 2.0**by], SUBJECT, DISPLAY, EVERY) for by in (-4, 4)]
    assert all(choose_shared_exposure([trials])[0].faults == () for trials in views)
    assert any(each.faults for each in choose_shared_exposure(views))


@pytest.mark.parametrize("ev", [0.0, 4.0, 7.0, 10.0, 16.0])
def test_black_stays_black_at_any_exposure(ev: float) -> None:
    """`render.exposure_ev` may be as high as 16."""
    black = np.array([0.0, 0.0, 0.0])
    assert DISPLAY(black, ev).max() <= DISPLAY(black).max() + 1e-9


@given(
    subject=st.floats(-8, 3),
    around=st.floats(-8, 3),
    texture=st.floats(0, 0.9),
    share=st.integers(4, 30),
    seed=st.integers(0, 99),
)
@example(subject=0.0, around=0.0, texture=0.375, share=4, seed=0)
@settings(max_examples=50, deadline=None)
def test_if_any_exposure_is_without_fault_the_chosen_one_is(
    subject: float, around: float, texture: float, share: int, seed: int
) -> None:
    """A view must not be thrown away that an exposure within the limits would have saved."""
    mask = np.zeros((32, 32), dtype=bool)
    mask[:share, :16] = True
    waves = 1 + texture * np.random.default_rng(seed).uniform(-1, 1, (32, 32))
    picture = (np.where(mask, 2.0**subject, 2.0**around) * waves)[..., None] * np.ones(3)
    saved = [ev for ev in EVERY if not choose_exposure([picture], mask, DISPLAY, [ev]).faults]
    choice = choose_exposure([picture], mask, DISPLAY, EVERY)
    assert not saved or choice.faults == ()


def test_a_small_bright_thing_in_a_dark_room_is_exposed_for_both() -> None:
    """At its own exposure nothing is wrong, though the thing is bright; darkening it makes the room too dark."""
    picture, mask = np.full((64, 64), 0.0085), np.zeros((64, 64), dtype=bool)
    mask[10:26, 10:26] = True
    picture[mask] = np.linspace(0.7, 0.99, mask.sum())
    choice = choose_exposure([picture[..., None] * np.ones(3)], mask, DISPLAY, EVERY)
    assert choose_exposure([picture[..., None] * np.ones(3)], mask, DISPLAY, [0.0]).faults == ()
    assert choice.faults == ()


def test_exposures_to_try_are_symmetric_and_hold_the_scenes_own() -> None:
    assert list_exposures(1.0).tolist() == [-1, -0.5, 0, 0.5, 1]
    assert list_exposures(0.0).tolist() == [0]
    assert 0 in list_exposures(0.7) and np.abs(list_exposures(0.7)).max() <= 0.7


# ---- the view transform ----------------------------------------------------------------------------------------------


@given(st.floats(-10, 3), st.floats(-3, 3))
def test_a_table_gives_its_function_back_at_every_exposure(stop: float, ev: float) -> None:
    assume(stop + ev >= DISPLAY.low)
    value = 2.0**stop
    shown = DISPLAY(np.full((1, 3), value), ev)
    assert shown == pytest.approx(255 * min(value * 2.0**ev, 1) ** (1 / 2.2), abs=0.8)


def test_a_table_keeps_colours_apart() -> None:
    """Each output channel may depend on all inputs: a swap of red and blue, and a mean."""
    axis = np.linspace(0, 1, 9, dtype=np.float32)
    r, g, b = np.meshgrid(axis, axis, axis, indexing="ij")
    swapped = ViewTransform(np.stack([b, g, (r + g + b) / 3], axis=-1), -4.0, 4.0)
    stop = np.array([[-2.0, 0.0, 3.0], [1.3, -3.1, 0.2]])
    share = (stop + 4) / 8
    expected = 255 * np.stack([share[:, 2], share[:, 1], share.mean(axis=1)], axis=-1)
    assert swapped(2.0**stop) == pytest.approx(expected, abs=1e-3)


def test_values_beyond_the_table_take_its_ends() -> None:
    shown = DISPLAY(np.array([[0.0, -1.0, 1e-9], [1e9, np.inf, 128.0]]))
    assert shown[0] == pytest.approx(DISPLAY(np.full(3, 2.0**-12)))
    assert shown[1] == pytest.approx(255)


def test_a_picture_keeps_its_shape() -> None:
    assert DISPLAY(np.ones((4, 6, 3))).shape == (4, 6, 3)


# ---- framing ---------------------------------------------------------------------------------------------------------

CUBE = box("Cube", (0, 0, 0.5), (1, 1, 1))


def seen(scene: Snapshot, subject: Subject, camera: Camera) -> Framing:
    """Framing as the index pass of this very camera would have it."""
    geometry = BruteForce(scene)
    rays = camera.make_rays(compute_pixel_centres(camera.width, camera.height))
    _, hit = geometry.cast(np.broadcast_to(camera.position, rays.shape), rays)
    ids = (
        GateContext.from_scene(scene, geometry, frozenset(), GateSettings())
        .find_owners(hit)
        .reshape(camera.height, camera.width)
    )
    return measure_framing(camera, subject, geometry.restrict_to(subject.objects), ids)


def before(camera: Camera, forward: float, left: float, right: float) -> Solid:
    """A screen square to the view from `left` to `right`, in units of the half frame."""
    half = forward * float(camera.half_tangents[0])
    middle = camera.position + camera.rotation @ [(left + right) / 2 * half, 0, -forward]
    across, up = camera.rotation[:, 0] * (right - left) * half, camera.rotation[:, 1] * 6 * half
    return panel("Screen", tuple(middle), tuple(across), tuple(up))


@pytest.mark.parametrize("side", [64, 96, 250])
def test_a_free_thing_in_the_frame_is_whole(side: int) -> None:
    scene = snapshot([CUBE])
    framing = seen(
        scene,
        subject_of(scene, 1),
        frame_subject(subject_of(scene, 1), direction_from_angles(0, 0), 0.5, 50.0, (side, side)),
    )
    assert framing.visible_fraction == 1 and framing.truncation == 0
    assert framing.subject_share == pytest.approx(0.25, abs=0.02)


@pytest.mark.parametrize("covered", [0.25, 0.5, 0.75])
def test_the_part_behind_a_screen_is_the_part_not_in_sight(covered: float) -> None:
    subject = subject_of(snapshot([CUBE]), 1)
    camera = frame_subject(subject, direction_from_angles(0, 0), 0.6, 50.0, (128, 128))
    scene = snapshot([CUBE, before(camera, 0.5, -2, -0.6 + 1.2 * covered)])
    framing = seen(scene, subject, camera)
    assert framing.visible_fraction == pytest.approx(1 - covered, abs=0.03)
    assert framing.truncation == 0
    assert framing.subject_share == pytest.approx(0.36 * (1 - covered), abs=0.02)


@pytest.mark.parametrize(("aside", "outside"), [(0.5, 0.0), (1.0, 0.5), (1.25, 0.75)])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_part_beyond_the_edge_is_truncated(aside: float, outside: float, axis: int) -> None:
    """A picture on a wall spans half of the frame; moved aside by one half frame, half of it is outside."""
    scene = snapshot([panel("Picture", (0, 0, 0.5), (0, 1, 0), (0, 0, 1))])
    subject = subject_of(scene, 1)
    camera = frame_subject(subject, direction_from_angles(0, 0), 0.5, 50.0, (128, 128))
    distance = camera.position[0]
    shifted = np.array(camera.world_from_camera)
    shifted[:3, 3] += camera.rotation[:, axis] * aside * distance * float(camera.half_tangents[axis])
    framing = seen(scene, subject, replace(camera, world_from_camera=shifted))
    assert framing.truncation == pytest.approx(outside, abs=0.03)
    assert framing.visible_fraction == pytest.approx(1, abs=0.02)  # what is outside is not hidden


def test_a_thing_out_of_the_frame_or_wholly_hidden_is_not_in_sight() -> None:
    subject = subject_of(snapshot([CUBE]), 1)
    camera = frame_subject(subject, direction_from_angles(0, 0), 0.5, 50.0, (64, 64))
    hidden = seen(snapshot([CUBE, before(camera, 0.5, -2, 2)]), subject, camera)
    assert (hidden.visible_fraction, hidden.subject_share, hidden.truncation) == (0, 0, 0)
    away = Camera(make_pose(make_facing_rotation(-direction_from_angles(0, 0)), camera.position), 64, 64, 50.0)
    turned = seen(snapshot([CUBE]), subject, away)
    assert (turned.visible_fraction, turned.subject_share, turned.truncation) == (0, 0, 1)


def test_other_instances_of_the_shape_do_not_count() -> None:
    twin = box("Cube.001", (1.2, 0, 0.5), (1, 1, 1))
    scene = snapshot([CUBE, twin])
    subject = subject_of(scene, 1)
    framing = seen(scene, subject, frame_subject(subject, direction_from_angles(0, 0), 0.5, 50.0, (96, 96)))
    assert framing.visible_fraction == 0


@pytest.mark.parametrize("shape", [(160, 90), (90, 160)])
def test_framing_holds_in_wide_and_tall_pictures(shape: tuple[int, int]) -> None:
    scene = snapshot([CUBE])
    subject = subject_of(scene, 1)
    framing = seen(scene, subject, frame_subject(subject, direction_from_angles(0, 0), 0.5, 50.0, shape))
    assert framing.subject_share == pytest.approx(0.25 * 90 / 160, abs=0.02)
    assert (framing.visible_fraction, framing.truncation) == (1, 0)


def test_a_thing_that_runs_past_the_camera_is_truncated() -> None:
    """A long beam from far ahead to far behind: what lies behind is outside of the frame as well."""
    scene = snapshot([box("Beam", (0, 0, 0), (40, 1, 0.2))])
    camera = Camera(make_pose(make_facing_rotation(np.array([-1.0, 0, 0.35])), np.array([0, 0, 1.0])), 96, 96, 24.0)
    assert seen(scene, subject_of(scene, 1), camera).truncation > FINISHED.truncation

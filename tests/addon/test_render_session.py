# SPDX-License-Identifier: Apache-2.0
"""The render session leaves no trace, predicts Blender's own pictures, and does without a denoiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

from blendset.cameras import Camera, make_facing_rotation, make_pose
from blendset.config import Config
from blendset.errors import BlendsetError
from tests.addon import scenes
from tests.addon.runs import SMALL, import_addon, open_run, read_scene_state, with_options

FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {"color_mode": "RGBA", "color_depth": "16", "compression": 77},
    "JPEG": {"color_mode": "BW", "quality": 33},
    "OPEN_EXR": {"color_mode": "RGBA", "color_depth": "16", "exr_codec": "DWAA"},
    "OPEN_EXR_MULTILAYER": {"color_depth": "16", "exr_codec": "PIZ"},
    "TIFF": {"color_mode": "RGBA", "color_depth": "16", "tiff_codec": "LZW"},
    "WEBP": {"color_mode": "RGBA", "quality": 50},
    "BMP": {"color_mode": "BW"},
    "HDR": {},
    "DPX": {"color_depth": "12"},
    "FFMPEG": {"color_mode": "BW"},
}
MEDIA = {"OPEN_EXR_MULTILAYER": "MULTI_LAYER_IMAGE", "FFMPEG": "VIDEO"}


def make_front_camera(size: int = 64) -> Camera:
    """A camera before the stage."""
    position = np.array([3.0, -6.0, 3.0])
    return Camera(make_pose(make_facing_rotation(position - np.array([0.0, 0.5, 0.5])), position), size, size, 50.0)


@contextmanager
def start_session(path: Path, build: Any = scenes.tidy, config: Config = SMALL) -> Iterator[tuple[Any, Any]]:
    """The run and the session of a scene made on the spot."""
    build(path)
    with open_run(path, path.parent / "dataset", config) as (run, _):
        yield run, run.session.start()


def find_differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What two states of a scene differ in: the value before and after, by name."""
    return {key: (before.get(key), after.get(key)) for key in before | after if before.get(key) != after.get(key)}


# ---- no trace --------------------------------------------------------------------------------------------------------


def test_everything_is_restored_when_something_fails_inside(tmp_path: Path) -> None:
    scenes.render_traps(tmp_path / "traps.blend", tmp_path / "elsewhere")
    import_addon("worker").open_file(tmp_path / "traps.blend")
    before = read_scene_state(bpy.context.scene)
    with pytest.raises(ZeroDivisionError), open_run(tmp_path / "traps.blend", tmp_path / "dataset") as (run, _):
        session = run.session.start()
        session.add_light("interior")
        session.render(make_front_camera(), 1, 1, False)
        session.encode_png(2.0)
        assert find_differences(before, read_scene_state(bpy.context.scene))
        raise ZeroDivisionError
    assert find_differences(before, read_scene_state(bpy.context.scene)) == {}


def test_a_session_that_cannot_begin_leaves_no_trace_either(tmp_path: Path) -> None:
    scenes.tidy(tmp_path / "tidy.blend")
    import_addon("worker").open_file(tmp_path / "tidy.blend")
    before = read_scene_state(bpy.context.scene)
    kinds = {each.kind.lower() for each in import_addon("scene.devices").list_devices()}
    lacking = next(kind for kind in ("metal", "oneapi", "hip", "cuda") if kind not in kinds)
    config = with_options(SMALL, "render", device=lacking)
    with open_run(tmp_path / "tidy.blend", tmp_path / "dataset", config) as (run, _), pytest.raises(BlendsetError):
        run.session.start()
    assert find_differences(before, read_scene_state(bpy.context.scene)) == {}


def test_added_light_goes_with_the_session(tmp_path: Path) -> None:
    for kind in ("sky", "interior", "studio"):
        with start_session(tmp_path / f"{kind}.blend", scenes.no_light) as (_, session):
            black = session.render(make_front_camera(), 2, 1, False).colour
            session.add_light(kind)
            lit = session.render(make_front_camera(), 2, 1, False).colour
        assert not black.any() and lit.mean() > 0.01
        assert not len(bpy.data.lights) and bpy.context.scene.world is None


@pytest.mark.parametrize("kind", FORMATS)
def test_the_artists_image_format_is_restored(kind: str) -> None:
    image = bpy.context.scene.render.image_settings
    _choose_format(image, kind)
    before = _read_format(image)
    assert before["file_format"] == kind
    formats = import_addon("render.formats")
    for ours in (formats.PNG, formats.EXR):
        with formats.use_image_format(bpy.context.scene, ours):
            assert image.file_format == ours["file_format"] and image.color_depth == ours["color_depth"]
        assert find_differences(before, _read_format(image)) == {}


def _choose_format(image: Any, kind: str) -> None:
    if hasattr(image, "media_type"):
        image.media_type = MEDIA.get(kind, "IMAGE")
    image.file_format = kind
    for name, value in FORMATS[kind].items():
        setattr(image, name, value)
    if hasattr(image, "color_management"):
        image.color_management = "OVERRIDE"


def _read_format(image: Any) -> dict[str, Any]:
    """What an artist sees of a format: only the settings that it has."""
    names = ("file_format", "media_type", "color_mode", "color_depth", "color_management", "use_preview")
    own = {"PNG": ("compression",), "JPEG": ("quality",), "WEBP": ("quality",), "TIFF": ("tiff_codec",)}
    exr = ("exr_codec",) if image.file_format.startswith("OPEN_EXR") else ()
    return {each: getattr(image, each, None) for each in (*names, *own.get(image.file_format, ()), *exr)}


# ---- Blender's own picture -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exposure", [-1.5, 0.0, 1.0])
@pytest.mark.parametrize("transform", ["Standard", "Filmic", "AgX"])
def test_the_view_transforms_table_is_blenders_own_picture(tmp_path: Path, transform: str, exposure: float) -> None:
    """Exposure is chosen by the table; the picture that is kept is Blender's."""
    path = tmp_path / "tidy.blend"
    scenes.tidy(path)
    view = bpy.context.scene.view_settings
    view.view_transform, view.exposure, view.gamma = transform, 0.5, 1.1
    bpy.ops.wm.save_mainfile()
    with open_run(path, tmp_path / "dataset") as (run, _):
        session = run.session.start()
        pixels = session.render(make_front_camera(), 16, 1, False)
        _, values = session.encode_png(exposure)
        table = session.transform(pixels.colour, exposure)
        assert bpy.context.scene.view_settings.exposure == 0.5
    apart = np.abs(table - values).max(axis=2)
    assert values.std() > 10
    assert np.percentile(apart, 99) <= 1.5 and apart.max() <= 3.0  # half a step of it is the PNG's own rounding


def test_exposure_is_in_stops(tmp_path: Path) -> None:
    with start_session(tmp_path / "tidy.blend") as (_, session):
        bpy.context.scene.view_settings.view_transform = "Standard"
        session.render(make_front_camera(), 8, 1, False)
        darker, own, brighter = (session.encode_png(ev)[1].mean() for ev in (-1.0, 0.0, 1.0))
    assert darker < own - 10 and brighter > own + 10


def test_pictures_are_the_same_whatever_was_rendered_before(tmp_path: Path) -> None:
    with start_session(tmp_path / "tidy.blend") as (_, session):
        first = session.render(make_front_camera(), 4, 1, True)
        other = session.render(make_front_camera(32), 4, 2, False)
        again = session.render(make_front_camera(), 4, 1, True)
    assert other.ids.shape == (32, 32)
    for name in ("colour", "depth", "normal", "ids"):
        assert np.array_equal(getattr(first, name), getattr(again, name))


# ---- previews without a denoiser -------------------------------------------------------------------------------------


def preview_best_views(path: Path, build: Any, denoise: bool, samples: int = 4) -> Any:
    """What previews say of the best view of each subject, with or without a denoiser."""
    with start_session(path, build, with_options(SMALL, "preview", samples=samples)) as (run, session):
        session.can_denoise = denoise and session.can_denoise
        previewer = run.planner.start_previewer()
        planned = run.planner.plan_cameras()
        best = [max(units, key=lambda unit: unit[0].score)[0] for units in planned.subject_units]
        return {verdict.candidate.subject.id: previewer.preview_candidate(verdict) for verdict in best}


def test_without_a_denoiser_good_views_are_accepted_at_the_same_exposure(tmp_path: Path) -> None:
    with_it = preview_best_views(tmp_path / "with.blend", scenes.tidy, True)
    without = preview_best_views(tmp_path / "without.blend", scenes.tidy, False)
    assert with_it.keys() == without.keys() and len(without) == 3
    for subject, answer in without.items():
        assert answer.faults == () and abs(answer.exposure_ev - with_it[subject].exposure_ev) <= 0.5


def test_without_a_denoiser_black_views_are_rejected_as_dark(tmp_path: Path) -> None:
    without = preview_best_views(tmp_path / "dark.blend", scenes.no_light, False)
    assert without and all("dark" in answer.faults for answer in without.values())


def test_noise_is_not_taken_for_contrast(tmp_path: Path) -> None:
    """Grey things in poor light, at one sample, whose noise would pass for texture: the figures are the smooth ones."""

    def build_dull_scene(path: Path) -> None:
        scenes.tidy(path)
        for each in bpy.data.materials:
            inputs = each.node_tree.nodes["Principled BSDF"].inputs
            inputs["Base Color"].default_value, inputs["Roughness"].default_value = (0.2, 0.2, 0.2, 1.0), 1.0
        bpy.data.worlds["World"].node_tree.nodes["Background"].inputs["Color"].default_value = (0.2, 0.2, 0.2, 1.0)
        bpy.data.lights["Sun"].energy = 0.0
        bpy.ops.wm.save_mainfile()

    with_it = preview_best_views(tmp_path / "with.blend", build_dull_scene, True, samples=64)
    without = preview_best_views(tmp_path / "without.blend", build_dull_scene, False, samples=1)
    assert with_it
    for subject, answer in without.items():
        assert answer.metrics["variance"] == pytest.approx(with_it[subject].metrics["variance"], rel=0.6)


# ---- exposure --------------------------------------------------------------------------------------------------------


def test_the_views_of_a_set_have_one_exposure(tmp_path: Path) -> None:
    """A low sun: from its side things are bright, from behind them dark."""
    path = tmp_path / "evening.blend"
    scenes.tidy(path)
    bpy.data.objects["Sun"].rotation_euler = (1.3, 0.0, 0.0)
    bpy.data.worlds["World"].node_tree.nodes["Background"].inputs["Strength"].default_value = 0.08
    bpy.ops.wm.save_mainfile()
    config = with_options(SMALL, "cameras", preset="orbit-4", views=8, focal_length_mm=(28.0,), fill=(0.3, 0.5))
    with open_run(path, tmp_path / "auditioned", config) as (run, _):
        auditioned = run.plan(previews=True).views
        previewer = run.planner.start_previewer()
        alone = {
            view.view_id: previewer.preview(view.view_id, view.camera, run.reading.subjects[view.subject]).exposure_ev
            for view in auditioned
        }
    with open_run(path, tmp_path / "adopted", config) as (run, _):
        adopted = run.adopt(run.plan(previews=False)).views
    for views in (auditioned, adopted):
        sets: dict[str, set[float]] = {}
        for view in views:
            sets.setdefault(view.view_set, set()).add(view.exposure_ev)
        assert len(views) > len(sets) > 0
        assert [len(exposures) for exposures in sets.values()] == [1] * len(sets)
    assert len(set(alone.values())) > 1

# SPDX-License-Identifier: Apache-2.0
"""Consistency: the view whose colours, place or sharpness differ from its set's is the one that the figures name."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ray_traced import BALL
from skimage.color import deltaE_cie76, rgb2lab
from transformers import AutoConfig, AutoImageProcessor, DepthAnythingForDepthEstimation

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.scoring.consistency import Consistency
from blendset_trainer.scoring.depth_agreement import align_depth, find_depth_scorer
from blendset_trainer.scoring.feature_consistency import find_feature_scorer
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.stage import Stage
from tests.trainer import tiny_models
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.traced_sets import TURN, Picture, add_set, painted, view_at

TURNS = (0.0, TURN, 2 * TURN)
ODD = 1
"""The view of a set that is spoiled."""


def pictures() -> list[Picture]:
    return [painted(view_at(turn)) for turn in TURNS]


def recoloured(picture: Picture) -> Picture:
    """The ball alone in other colours."""
    return np.where((view_at(TURNS[ODD]).passes.id == BALL)[..., None], picture[..., ::-1], picture)


def moved(picture: Picture) -> Picture:
    return np.roll(picture, 8, axis=1)


def blurred(picture: Picture) -> Picture:
    padded = np.pad(picture.astype(float), ((4, 4), (4, 4), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(0, 1))
    return np.asarray(windows.mean(axis=(3, 4)), dtype=np.uint8)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A set that agrees, and three of which the second view does not; and a view without passes."""
    made = make_dataset(tmp_path_factory.mktemp("sets") / "data")
    add_scene(made, "attic")
    spoiling: dict[str, Callable[[Picture], Picture]] = {
        "sound": np.copy, "recoloured": recoloured, "moved": moved, "blurred": blurred,
    }  # fmt: skip
    for name, spoil in spoiling.items():
        shown = pictures()
        shown[ODD] = spoil(shown[ODD])
        add_set(made, name, shown)
    add_picture(made, "attic", "photo", 0, pictures()[0], source="photo")
    made.rebuild_index()
    return made


def rows_of(dataset: Dataset, stage: Stage) -> dict[str, dict[str, Any]]:
    travelled: Stage = pickle.loads(pickle.dumps(stage))
    assert not run_stage(dataset, travelled, LocalExecutor()).unreadable
    found = StageFolder.from_stage(dataset.root, stage).read_rows()
    assert found is not None
    return {row["view_id"]: row for row in found.to_pylist()}


@pytest.fixture(scope="module")
def figures(dataset: Dataset) -> dict[str, list[dict[str, Any]]]:
    rows = rows_of(dataset, Consistency())
    return {
        name: [rows[f"{name}-{number:04d}"] for number in range(3)]
        for name in ("sound", "recoloured", "moved", "blurred")
    }


def test_a_set_that_agrees_has_hardly_a_residual(figures: dict[str, list[dict[str, Any]]]) -> None:
    for row in figures["sound"]:
        assert row["delta_e"] < 2
        assert row["subject_delta_e"] < 2
        assert row["ssim"] > 0.97
        assert row["silhouette"] > 0.9
        assert 0.5 < row["compared"] < 1


@pytest.mark.parametrize("kind", ["recoloured", "moved", "blurred"])
def test_the_odd_view_is_told_from_its_siblings(figures: dict[str, list[dict[str, Any]]], kind: str) -> None:
    rows, sound = figures[kind], figures["sound"]
    others = [rows[number] for number in range(3) if number != ODD]
    assert rows[ODD]["delta_e"] > 1.3 * max(row["delta_e"] for row in others)
    assert rows[ODD]["ssim"] < min(row["ssim"] for row in others)
    for row, before in zip(rows, sound, strict=True):
        assert row["delta_e"] > 2 * before["delta_e"]
        assert row["compared"] == before["compared"]


def test_the_object_that_differs_is_named(figures: dict[str, list[dict[str, Any]]]) -> None:
    row = figures["recoloured"][ODD]
    assert row["worst_object"] == BALL
    assert row["worst_delta_e"] == pytest.approx(row["subject_delta_e"])
    assert row["subject_delta_e"] > 3 * row["delta_e"]


def test_a_moved_subject_leaves_its_outline(figures: dict[str, list[dict[str, Any]]]) -> None:
    assert figures["moved"][ODD]["silhouette"] < 0.7
    assert figures["moved"][0]["silhouette"] == figures["sound"][0]["silhouette"]


def test_a_colour_that_is_off_by_so_much_is_off_by_so_much(tmp_path: Path) -> None:
    """Flat colours leave nothing to interpolate: the residual is their distance in Lab."""
    made = make_dataset(tmp_path)
    add_scene(made, "attic")
    colours = np.array([[200, 60, 40], [190, 70, 50]], np.uint8)
    add_set(made, "flat", [np.broadcast_to(colour, (96, 96, 3)) for colour in colours])
    made.rebuild_index()
    rows = rows_of(made, Consistency())
    expected = float(deltaE_cie76(*rgb2lab(colours[None])[0]))
    assert [row["delta_e"] for row in rows.values()] == pytest.approx([expected] * 2, rel=1e-5)
    assert [row["silhouette"] for row in rows.values()] == [0, 0]  # nothing to be seen of the ball


def test_what_has_no_sibling_or_no_passes_has_no_residual(dataset: Dataset, tmp_path: Path) -> None:
    photo = rows_of(dataset, Consistency())["photo-0000"]
    assert {photo[name] for name in Consistency.columns} == {None}
    alone = make_dataset(tmp_path)
    add_scene(alone, "attic")
    add_set(alone, "alone", pictures()[:1])
    alone.rebuild_index()
    (row,) = rows_of(alone, Consistency()).values()
    assert row["silhouette"] > 0.9
    assert {row[name] for name in Consistency.columns if name != "silhouette"} == {None}


def test_a_picture_of_another_size_than_its_passes_is_one_sentence(tmp_path: Path) -> None:
    made = make_dataset(tmp_path)
    add_scene(made, "attic")
    add_set(made, "sound", pictures()[:2])
    passes = view_at(2 * TURN, 48).passes
    misfit = add_picture(made, "attic", "sound", 2, pictures()[2], passes, view_set="sound", view_index=2)
    made.rebuild_index()
    report = run_stage(made, Consistency(), LocalExecutor())
    assert list(report.unreadable) == [misfit]
    assert "a picture of 96 x 96 pixels and passes of 48 x 48" in report.unreadable[misfit]
    assert report.made == 2


def test_features_tell_the_odd_view_too(dataset: Dataset, tmp_path: Path) -> None:
    """By a tiny model with random weights, which sees at least where colours are."""
    rows = rows_of(dataset, find_feature_scorer(str(tiny_models.dino_model(tmp_path / "dino", side=112))))
    cosines = {name: [rows[f"{name}-{number:04d}"]["cosine"] for number in range(3)] for name in ("sound", "moved")}
    assert min(cosines["sound"]) > max(cosines["moved"])
    assert min(cosines["moved"]) == cosines["moved"][ODD]
    subject = [rows[f"recoloured-{number:04d}"] for number in range(3)]
    assert min(each["subject_cosine"] for each in subject) == subject[ODD]["subject_cosine"]
    assert rows["photo-0000"]["cosine"] is None


def test_depth_is_compared_after_scale_and_shift() -> None:
    true = np.linspace(2, 9, 50)
    inverse = (30 / true - 4).astype(np.float32)
    np.testing.assert_allclose(align_depth(inverse, true, metric=False), true, rtol=1e-4)
    np.testing.assert_allclose(align_depth((0.1 * true + 7).astype(np.float32), true, metric=True), true, rtol=1e-4)
    reversed_ = align_depth(-inverse, true, metric=False)
    assert np.ptp(reversed_) < 1e-6  # near for far is worth no more than saying nothing


def test_a_depth_model_tells_the_picture_that_is_not_as_deep(dataset: Dataset, tmp_path: Path) -> None:
    """A tiny model that has learned from other views of the scene."""
    folder = tiny_models.depth_model(tmp_path / "depth")
    learn_depth(folder)
    rows = rows_of(dataset, find_depth_scorer(str(folder)))
    sound, moved = ([rows[f"{name}-{number:04d}"] for number in range(3)] for name in ("sound", "moved"))
    assert min(row["agreement"] for row in sound) > moved[ODD]["agreement"]
    assert max(row["relative_error"] for row in sound) < moved[ODD]["relative_error"]
    assert moved[0] | {"view_id": "", "key": ""} == sound[0] | {"view_id": "", "key": ""}
    assert rows["photo-0000"]["agreement"] is None


def learn_depth(folder: Path) -> None:
    """Sixty steps on pictures and their inverse depths, as they are and moved."""
    torch.manual_seed(0)
    model = DepthAnythingForDepthEstimation(AutoConfig.from_pretrained(folder))
    views = [view_at(turn) for turn in (-30.0, -10.0, 10.0, 30.0, 50.0)]
    shifts = (0, 8, -8, 4, 0)
    shown = [np.roll(painted(view), shift, axis=1) for view, shift in zip(views, shifts, strict=True)]
    deep = np.array([np.roll(10 / view.passes.depth, shift, axis=1) for view, shift in zip(views, shifts, strict=True)])
    inputs = AutoImageProcessor.from_pretrained(folder)(images=[*map(Image.fromarray, shown)], return_tensors="pt")
    wanted = torch.nn.functional.interpolate(torch.from_numpy(deep)[:, None], (56, 56))[:, 0]
    steps = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        (model(**inputs).predicted_depth - wanted).abs().mean().backward()
        steps.step()
        steps.zero_grad()
    model.save_pretrained(folder)


def test_a_metric_depth_model_runs(dataset: Dataset, tmp_path: Path) -> None:
    rows = rows_of(dataset, find_depth_scorer(str(tiny_models.depth_model(tmp_path / "depth", metric=True))))
    found = [row for name, row in rows.items() if name != "photo-0000"]
    assert all(0 <= row["agreement"] <= 1 and 0 < row["relative_error"] < 1 for row in found)


def test_a_model_without_depth_is_one_sentence(tmp_path: Path) -> None:
    stage = find_depth_scorer(str(tiny_models.dino_model(tmp_path / "dino")))
    with pytest.raises(BlendsetError, match="cannot be loaded as a depth model"):
        stage.setup()

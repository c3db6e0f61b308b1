# SPDX-License-Identifier: Apache-2.0
"""Subjects from new sides: cut out exactly, drawn as sheets by a pipeline with code of its own, cut and recorded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.stages.tables import read_captions, read_index
from blendset_trainer.synthesis.novel_views import Sheet, cut_out_subject, cut_sheet
from blendset_trainer.synthetic_views import has_camera, read_synthesis
from tests.trainer import sheet_pipeline
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_pipelines import stable_diffusion, zero123plus

CHAIR = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return zero123plus(tmp_path_factory.mktemp("models") / "zero123plus-v1.2")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_code(tmp_path_factory.mktemp("code"))


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps copies of the code out of the user's cache."""
    monkeypatch.setattr("diffusers.utils.dynamic_modules_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """A chair in two views, and one of the whole scene."""
    made = make_dataset(tmp_path / "dataset")
    add_scene(made, "attic")
    for number in range(2):
        ids = np.zeros((64, 64), np.uint32)
        ids[10:40, 20 + number : 36] = CHAIR
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), np.uint8)
        add_picture(made, "attic", "chair", number, pixels, ids, subject_objects=(CHAIR,), azimuth_deg=100.0 * number)
    add_picture(made, "attic", "", 2, pixels, ids)
    made.rebuild_index()
    return made


def with_code(folder: Path) -> Path:
    shutil.copy(sheet_pipeline.__file__, folder / "pipeline.py")
    return folder


def synthesized(dataset: Dataset, model: Path, *words: str) -> int:
    return main(["synthesize", "novel-views", str(dataset.root), "--model", str(model), "--steps", "2", *words])


def synthetic(dataset: Dataset) -> list[Any]:
    return [view for view in dataset.views() if view.source == "synthetic"]


def pictures(dataset: Dataset) -> dict[str, bytes]:
    return {view.view_id: dataset.rgb_path(view).read_bytes() for view in synthetic(dataset)}


def test_a_sheet_becomes_views_with_their_angles(
    model: Path, code: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesized(dataset, model, "--remote-code", str(code)) == 0
    assert "1 of 3 views are left out: no subject is shown (scene-0002)." in capsys.readouterr().err
    assert verify_dataset(dataset).problems == ()
    views = synthetic(dataset)
    assert len(views) == 12
    second = [view for view in views if read_synthesis(dataset.rgb_path(view).parent).parents == ("chair-0001",)]
    assert len({view.view_set for view in second}) == 1
    angles = [(view.azimuth_deg, view.elevation_deg) for view in sorted(second, key=lambda view: view.view_index)]
    assert angles == [(130, 20), (190, -10), (250, 20), (310, -10), (10, 20), (70, -10)]
    view, made = second[0], read_synthesis(dataset.rgb_path(second[0]).parent)
    assert (view.camera.width, view.camera.height, has_camera(view.camera)) == (16, 16, False)
    assert (made.pipeline, made.settings["layout"], made.settings["background"]) == (
        "Zero123PlusPipeline",
        "3x2",
        "grey",
    )
    assert made.settings["remote_code"] == str(code) and len(made.settings["remote_code_revision"]) == 64
    assert {read_synthesis(dataset.rgb_path(view).parent).seed for view in second} == {made.seed}


def test_what_was_asked_for_by_a_picture_has_no_caption(model: Path, code: Path, dataset: Dataset) -> None:
    assert synthesized(dataset, model, "--remote-code", str(code)) == 0
    assert main(["caption", str(dataset.root), "--with", "metadata"]) == 0
    index = read_index(dataset)
    dense = read_captions(dataset, index, ("dense",))["dense"].to_pylist()
    said = {text for text, source in zip(dense, index["source"].to_pylist(), strict=True) if source == "synthetic"}
    assert said == {None}


def test_what_a_sheet_is_drawn_of_and_with_decides_it(
    model: Path, code: Path, dataset: Dataset, tmp_path: Path
) -> None:
    again = Dataset(shutil.copytree(dataset.root, tmp_path / "again"))
    for number, each in enumerate((dataset, again)):
        torch.manual_seed(number)  # stands for whatever was drawn before
        assert synthesized(each, model, "--remote-code", str(code)) == 0
    assert pictures(dataset) == pictures(again)
    assert len(set(pictures(dataset).values())) == 12
    assert synthesized(again, model, "--remote-code", str(code), "--background", "white", "--variants", "2") == 0
    assert len(pictures(again)) == 12 + 24


def test_code_runs_only_where_it_is_named(
    model: Path, code: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesized(dataset, model) == 1
    assert "is a Zero123PlusPipeline, which is none of diffusers' own; read the code" in capsys.readouterr().err
    own = with_code(Path(shutil.copytree(model, tmp_path / "own")))
    index = json.loads((own / "model_index.json").read_text())
    (own / "model_index.json").write_text(json.dumps(index | {"_class_name": ["pipeline", "Zero123PlusPipeline"]}))
    assert synthesized(dataset, own, "--layout", "3x2") == 1
    assert f"name what holds it: --remote-code {own}." in capsys.readouterr().err
    assert synthesized(dataset, own, "--layout", "3x2", "--remote-code", str(code)) == 1
    assert "brings code of its own and runs no other" in capsys.readouterr().err
    assert synthesized(dataset, own, "--layout", "3x2", "--remote-code", str(own)) == 0
    assert {(view.azimuth_deg, view.elevation_deg) for view in synthetic(dataset)} == {(None, None)}


def test_layouts_that_do_not_fit_are_one_sentence(
    model: Path, code: Path, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert synthesized(dataset, model, "--remote-code", str(code), "--layout", "3x3") == 1
    said = "1 pictures of 32 x 48 pixels cannot be cut into rows and columns of 3x3; give the --layout"
    assert said in capsys.readouterr().err
    assert synthesized(dataset, model, "--remote-code", str(code), "--layout", "0x3") == 2
    diffusion = stable_diffusion(tmp_path / "model")
    assert synthesized(dataset, diffusion) == 1
    assert "Nobody said how many views" in capsys.readouterr().err
    assert synthesized(dataset, diffusion, "--layout", "2x2") == 1
    assert "is a StableDiffusionPipeline, which takes no picture; give a model that" in capsys.readouterr().err
    assert synthetic(dataset) == []


def test_a_mask_of_nothing_stops_its_own_view_alone(
    model: Path, code: Path, dataset: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = np.zeros((64, 64), np.uint32)
    add_picture(dataset, "attic", "lamp", 9, np.zeros((64, 64, 3), np.uint8), nothing, subject_objects=(5,))
    assert synthesized(dataset, model, "--remote-code", str(code)) == 0
    assert (
        "The subject of lamp-0009 cannot be cut out: the mask covers nothing; choose other views."
        in capsys.readouterr().err
    )
    assert len(synthetic(dataset)) == 12


def test_the_subject_stands_alone_in_the_middle_of_a_square() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[4:16, 21:27] = True
    mask[4, 21] = False
    square = cut_out_subject(pixels, mask, 127)
    assert square.shape == (16, 16, 3)
    assert (square[2, 5] == 127).all()
    square[2, 5] = pixels[4, 21]
    assert (square[2:14, 5:11] == pixels[4:16, 21:27]).all()
    square[2:14, 5:11] = 127
    assert (square == 127).all()


def test_sheets_are_cut_row_by_row() -> None:
    views = np.random.default_rng(0).random((6, 4, 5, 3), np.float32)
    rows = [np.concatenate(views[first : first + 2], axis=1) for first in (0, 2, 4)]
    assert np.array_equal(cut_sheet(np.concatenate(rows)[None], Sheet(3, 2)), views)
    assert np.array_equal(cut_sheet(views, Sheet(1, 6)), views)
    with pytest.raises(BlendsetError, match="6 pictures of 5 x 4 pixels cannot be cut into rows and columns of 2x2"):
        cut_sheet(views, Sheet(2, 2))

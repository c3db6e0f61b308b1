# SPDX-License-Identifier: Apache-2.0
"""Embeddings of the subject alone: what stands behind it changes nothing, and what is no subject has none."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModel

from blendset.dataset import Dataset
from blendset_trainer.cli.main import main
from blendset_trainer.models.clip import ClipModel, find_clip
from blendset_trainer.scoring.dino import find_dino_scorer
from blendset_trainer.scoring.features.masked_features import cut_out, find_masked_clip_scorer, find_masked_dino_scorer
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.stage import Stage
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_models import Make, maker

Picture = npt.NDArray[np.uint8]
SUBJECT = 7
CORNER = np.pad(np.tri(20, dtype=bool), ((14, 14), (4, 40)))
"""A triangle (48, 64), of whose square the half is background."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("models"))


def draw(mask: npt.NDArray[np.bool_], pattern: int, around: int) -> Picture:
    """A picture (height, width, 3) of noise that the subject's mask cuts out of other noise."""
    noise = [np.random.default_rng(seed).integers(0, 255, (*mask.shape, 3), np.uint8) for seed in (pattern, around)]
    return np.where(mask[..., None], *noise)


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Two views of one subject before two backgrounds, another subject, and a view of no subject."""
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    ids = np.where(CORNER, SUBJECT, 0).astype(np.uint32)
    for number, (pattern, around) in enumerate([(0, 1), (0, 2), (3, 1)]):
        add_picture(made, "attic", "chair", number, draw(CORNER, pattern, around), ids, subject_objects=(SUBJECT,))
    add_picture(made, "attic", "", 9, draw(CORNER, 0, 1), ids)
    made.rebuild_index()
    return made


def rows_of(dataset: Dataset, stage: Stage) -> dict[str, dict[str, Any]]:
    """What the stage leaves on disk, by view; the stage travels as it would to a worker."""
    travelled: Stage = pickle.loads(pickle.dumps(stage))
    assert not run_stage(dataset, travelled, LocalExecutor()).unreadable
    table = StageFolder.from_stage(dataset.root, stage).read_rows()
    assert table is not None
    return {row["view_id"]: row for row in table.to_pylist()}


def compare(rows: dict[str, dict[str, Any]], *numbers: int) -> float:
    first, second = (np.array(rows[f"chair-{number:04d}"]["embedding"]) for number in numbers)
    return float(first @ second)


@pytest.mark.parametrize("kind", ["dino", "open_clip"])
def test_only_the_subject_counts(dataset: Dataset, model: Make, kind: str) -> None:
    find = find_masked_dino_scorer if kind == "dino" else find_masked_clip_scorer
    stage: Any = find(str(model(kind)))
    rows = rows_of(dataset, stage)
    assert compare(rows, 0, 1) == pytest.approx(1, abs=1e-5)
    assert compare(rows, 0, 2) < 0.999
    assert {row["mask"] for row in rows.values()} == {"passes", None}
    assert rows["scene-0009"]["embedding"] is None
    assert stage.name == f"masked-{'dino-dino' if kind == 'dino' else 'clip-open-clip'}"


def test_without_the_mask_the_background_counts(dataset: Dataset, model: Make) -> None:
    assert compare(rows_of(dataset, find_dino_scorer(str(model("dino")))), 0, 1) < 0.99


def paste(mean: npt.ArrayLike) -> Image.Image:
    """The subject's square as it must be, pixel by pixel."""
    square = np.full((20, 20, 3), np.rint(255 * np.array(mean)), np.uint8)
    rgb = draw(CORNER, 0, 1)
    for row in range(20):
        square[row, : row + 1] = rgb[14 + row, 4 : 5 + row]
    return Image.fromarray(square)


def test_dino_embeds_the_subjects_square(dataset: Dataset, model: Make) -> None:
    folder = model("dino")
    row = rows_of(dataset, find_masked_dino_scorer(str(folder)))["chair-0000"]
    processor, network = AutoImageProcessor.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.no_grad():
        pixels = processor(images=paste(processor.image_mean), return_tensors="pt")
        features = network(**pixels).pooler_output[0].numpy()
    np.testing.assert_allclose(row["embedding"], features / np.linalg.norm(features), atol=1e-5)


def test_clip_embeds_the_subjects_square(dataset: Dataset, model: Make) -> None:
    folder = str(model("open_clip"))
    row = rows_of(dataset, find_masked_clip_scorer(folder))["chair-0000"]
    clip = ClipModel(find_clip(folder))
    assert clip.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073))  # OpenAI's
    [features] = clip.encode_pictures([np.asarray(paste(clip.mean))]).numpy()
    np.testing.assert_allclose(row["embedding"], features, atol=1e-5)


def test_a_square_larger_than_the_picture_is_filled_with_the_mean() -> None:
    mask = np.zeros((10, 30), bool)
    mask[2:8, 1:29] = True
    cut = np.asarray(cut_out(np.full((10, 30, 3), 200, np.uint8), mask, (0, 0.5, 1)))
    expected = np.full((28, 28, 3), (0, 128, 255), np.uint8)
    expected[11:17] = 200
    np.testing.assert_array_equal(cut, expected)


def test_photographs_are_cut_out_where_something_tells_their_subject(model: Make, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = draw(CORNER, 0, 1)
    Image.fromarray(np.dstack([noise, np.uint8(255 * CORNER)])).save(folder / "clear.png")
    Image.fromarray(np.where(CORNER[..., None], draw(CORNER, 0, 1) // 2, np.uint8(250))).save(folder / "plain.png")
    Image.fromarray(noise).save(folder / "noise.png")
    assert main(["adopt", str(folder), "--out", str(tmp_path / "adopted")]) == 0
    rows = rows_of(Dataset(tmp_path / "adopted"), find_masked_dino_scorer(str(model("dino"))))
    masks = {name.rpartition("-")[0]: row["mask"] for name, row in rows.items()}
    assert masks == {"clear": "alpha", "plain": "background", "noise": None}
    assert {row["mask"] for row in rows.values() if row["embedding"] is None} == {None}

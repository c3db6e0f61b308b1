# SPDX-License-Identifier: Apache-2.0
"""Inception's features, FID and KID are torch-fidelity's own, with weights drawn at random."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.adoption.adopt import adopt
from blendset_trainer.evaluation.statistics.frechet import prepare_frechet
from blendset_trainer.evaluation.statistics.kernels import prepare_kid
from blendset_trainer.scoring.features.inception import find_inception_scorer
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import run_stage

PICTURES = 12


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the model's shape, drawn at random."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3 as Inception

    torch.manual_seed(0)
    with patch.object(torch, "load"), patch.object(Inception, "load_state_dict"):
        model = Inception("inception", ["2048"], feature_extractor_weights_path="none")
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    torch.save(model.state_dict(), path)
    return path


def draw(folder: Path, seed: int, level: int) -> Path:
    folder.mkdir()
    for number in range(PICTURES):
        rng = np.random.default_rng([seed, number])
        small = rng.integers(level, level + 100, (4, 4, 3), np.uint8)
        Image.fromarray(small).resize((40 + number % 2, 40)).save(folder / f"{number:02d}.png")
    return folder


def embed(folder: Path, weights: Path) -> np.ndarray[Any, Any]:
    """The features (N, 2048) that the stage leaves, in the order of the files."""
    out = folder.with_name(f"{folder.name}-dataset")
    adopt(folder, out=out)
    dataset, stage = Dataset(out), find_inception_scorer(str(weights))
    assert not run_stage(dataset, stage, LocalExecutor()).unreadable
    table = StageFolder.from_stage(out, stage).read_rows()
    assert table is not None
    return np.array(table.column("embedding").to_pylist(), np.float64)


def test_fid_and_kid_are_torch_fidelitys(weights: Path, tmp_path: Path) -> None:
    import torch_fidelity

    first, other = draw(tmp_path / "first", 0, 0), draw(tmp_path / "other", 1, 120)
    expected = torch_fidelity.calculate_metrics(
        input1=str(first), input2=str(other), cuda=False, batch_size=1, fid=True, kid=True, kid_subsets=1,
        kid_subset_size=PICTURES, feature_extractor_weights_path=str(weights), cache=False, verbose=False,
    )  # fmt: skip
    features, trusted = embed(first, weights), embed(other, weights)
    every = np.ones(PICTURES, bool)
    fid, kid = prepare_frechet(features, trusted)(every), prepare_kid(features, trusted)(every)
    assert fid == pytest.approx(expected["frechet_inception_distance"], rel=1e-4)
    assert kid == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-4)


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "inception.pth"
    path.write_bytes(content)
    with pytest.raises(BlendsetError, match=r"inception\.pth"):
        find_inception_scorer(str(path)).setup()

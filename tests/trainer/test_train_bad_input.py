# SPDX-License-Identifier: Apache-2.0
"""What can be wrong with a training run is one sentence of the command, and a picture that is lost stops nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from blendset.dataset import Dataset
from blendset_trainer.cli.main import main
from tests.trainer.tiny_datasets import choose, thirty_views
from tests.trainer.tiny_pipelines import flux, stable_diffusion

SILENT = {"short": 0.0, "dense": 0.0, "none": 1.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("model"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return thirty_views(tmp_path / "dataset")


@pytest.fixture
def trained(dataset: Dataset, model: Path, tmp_path: Path) -> Any:
    """Runs `blendset train` on a configuration with these sources."""

    def run(sources: list[dict[str, Any]], *words: str, **sections: Any) -> int:
        config = {
            "out": str(tmp_path / "run"),
            "model": {"path": str(model), "rank": 2},
            "train": {"samples": 8, "batch": 2, "resolution": 32},
            "source": [{"name": "render", "dataset": str(dataset.root), "captions": SILENT} | each for each in sources],
        }
        path = tmp_path / "run.toml"
        path.write_bytes(tomli_w.dumps(config | sections).encode())
        return main(["train", str(path), *words])

    return run


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What went wrong, on one line."""
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("blendset: ")]
    assert len(told) == 1
    assert told[0].endswith(".")
    return told[0]


def test_a_corrupted_picture_is_replaced_and_named(dataset: Dataset, trained: Any, capsys: Any) -> None:
    views = list(dataset.views())
    for view in views[:6]:
        dataset.rgb_path(view).write_bytes(b"no picture")
    assert trained([{}], "--set", "train.samples=60", "--set", "train.cache=false") == 0
    said = capsys.readouterr()
    assert "60 pictures seen" in said.out
    named = [view.view_id for view in views[:6] if view.view_id in said.err]
    assert named
    assert "left out: " in said.err


def test_an_empty_selection(dataset: Dataset, trained: Any, capsys: Any) -> None:
    choose(dataset, "few", [{"view_id": view.view_id, "split": "held-out"} for view in dataset.views()])
    assert trained([{"selection": "few"}]) == 1
    assert "Source 'render' has nothing to train on" in sentence(capsys)
    assert trained([{"selection": "fwe"}]) == 1
    assert "few" in sentence(capsys)


def test_a_source_without_a_band(trained: Any, capsys: Any) -> None:
    assert trained([{"bands": [{}]}, {"name": "photo"}]) == 1
    assert "Source 'photo' has no band; write [[source.bands]] below it" in sentence(capsys)


def test_a_band_without_a_source(trained: Any, capsys: Any) -> None:
    assert trained([{"bands": [{"lo": 0.5, "unit": "fraction"}]}]) == 1
    assert "no source trains" in sentence(capsys).lower()


def test_captions_longer_than_the_encoder(dataset: Dataset, trained: Any, capsys: Any) -> None:
    dataset.rebuild_index({view.view_id: "red " * 40 for view in dataset.views()})
    assert trained([{"captions": {"short": 0.0, "dense": 1.0, "none": 0.0}}]) == 0
    assert "1 of 1 captions are longer than the 16 tokens that Stable Diffusion reads" in capsys.readouterr().err


def test_a_lora_for_another_model(trained: Any, tmp_path: Path, capsys: Any) -> None:
    assert trained([{}]) == 0
    capsys.readouterr()
    lora, other = tmp_path / "run" / "lora", flux(tmp_path / "flux")
    assert main(["sample", str(other), "--lora", str(lora), "--prompt", "a chair", "--out", str(tmp_path / "out")]) == 1
    assert "is no LoRA for" in sentence(capsys)

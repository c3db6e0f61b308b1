# SPDX-License-Identifier: Apache-2.0
"""Five steps of every family, in full and as LoRA, lose what they have always lost: a refactoring changes no number.

`python -m tests.trainer.test_golden_losses` writes golden_losses.json anew, for a change that is meant.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from blendset.dataset import Dataset
from blendset_trainer.training_runs import read_log
from tests.trainer.tiny_datasets import thirty_views
from tests.trainer.tiny_pipelines import KINDS, PIXELS, Make, maker
from tests.trainer.tiny_runs import config_of, run_of

GOLDEN = Path(__file__).with_name("golden_losses.json")
METHODS = "full", "lora"
CLOSE = 2e-4
"""Relative: processors and versions of torch add in another order."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return thirty_views(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_as_they_were(pipeline: Make, dataset: Dataset, kind: str, method: str, tmp_path: Path) -> None:
    expected = json.loads(GOLDEN.read_text(encoding="utf-8"))[kind][method]
    assert losses(pipeline(kind), dataset, method, tmp_path) == pytest.approx(expected, rel=CLOSE)


def losses(model: Path, dataset: Dataset, method: str, out: Path) -> list[float]:
    """Of five steps: renders at every level beside the same as a second source at the noisier half."""
    captions = {"captions": {"short": 0.0, "dense": 0.0, "none": 1.0}}
    whole = {"name": "render", "bands": [{}]}
    coarse = {"name": "coarse", "bands": [{"lo": 0.5, "unit": "fraction", "weight": 3.0}]}
    config = config_of(
        model, dataset.root, out / "run",
        model={"method": method, "rank": 4},
        train={"samples": 20, "ema": 0.9, "resolution": PIXELS},
        optimizer={"learning_rate": 1e-3},
        plan={"loss_weighting": "min-snr"},
        source=[{"dataset": str(dataset.root), **captions, **each} for each in (whole, coarse)],
    )  # fmt: skip
    return [row["loss"] for row in read_log(run_of(config).state.folder / "log.jsonl") if "loss" in row]


def write() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make, dataset = maker(Path(folder) / "pipelines"), thirty_views(Path(folder) / "dataset")
        golden = {
            kind: {method: losses(make(kind), dataset, method, Path(folder) / kind / method) for method in METHODS}
            for kind in KINDS
        }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()

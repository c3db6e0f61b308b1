# SPDX-License-Identifier: Apache-2.0
"""A run learns, is the same run however it was interrupted and shared, and stops in one sentence over what is wrong."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.options import read_toml
from blendset_trainer import TrainSettings, plan_training, train
from blendset_trainer.api.stopping import catch_stop_signals
from blendset_trainer.cli.main import main
from blendset_trainer.training.checkpoints import find_newest_checkpoint
from blendset_trainer.training.log import StepReport
from blendset_trainer.training.loop import learning_rate_factor, run_training_loop
from blendset_trainer.training.settings import OptimizerSettings, change_train_config, explain_config, load_train_config
from blendset_trainer.training_runs import read_log
from tests.signals import in_background, in_foreground
from tests.trainer.tiny_datasets import choose, thirty_views
from tests.trainer.tiny_pipelines import stable_diffusion
from tests.trainer.tiny_runs import config_of, prepared, run_of, weights_of

CONFIGURATIONS = Path(__file__).parents[2] / "docs" / "training"
UNCAPTIONED = {"captions": {"short": 0.0, "dense": 0.0, "none": 1.0}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return thirty_views(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stable_diffusion(tmp_path_factory.mktemp("model"))


@pytest.fixture
def configured(dataset: Dataset, model: Path, tmp_path: Path) -> Any:
    def make(out: str = "run", **changes: Any) -> Any:
        changes = {"source": [{"name": "render", "dataset": str(dataset.root), **UNCAPTIONED}]} | changes
        return config_of(model, dataset.root, tmp_path / out, **changes)

    return make


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_run_learns_and_says_how(configured: Any) -> None:
    config = configured(train={"samples": 128}, optimizer={"learning_rate": 3e-3})
    run = run_of(config)
    rows = [row for row in read_log(run.state.folder / "log.jsonl") if "loss" in row]
    assert [row["samples"] for row in rows] == list(range(4, 132, 4))
    losses = [row["loss"] for row in rows]
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])
    assert set(rows[-1]["loss_by"]) <= {f"render/{band}" for band in run.data.plan.band_names}


def test_validation_looks_at_what_is_held_out_and_at_prompts(configured: Any, dataset: Dataset) -> None:
    splits = ["held-out" if number % 5 == 0 else "train" for number in range(30)]
    views = zip(dataset.views(), splits, strict=True)
    choose(dataset, "most", [{"view_id": view.view_id, "split": split} for view, split in views])
    source = {"name": "render", "dataset": str(dataset.root), "selection": "most", **UNCAPTIONED}
    run = run_of(configured(source=[source], validation={"prompts": ["a chair", "a lamp"], "every": 16, "steps": 2}))
    rows = [row for row in read_log(run.state.folder / "log.jsonl") if "held_out" in row]
    assert [row["samples"] for row in rows] == [16, 32]
    assert set(rows[0]["held_out"]) == {f"render/{band}" for band in run.data.plan.band_names}
    assert rows[0]["held_out"] != rows[1]["held_out"]
    pictures = sorted(path.name for path in (run.state.folder / "validation").iterdir())
    assert pictures == ["step-00000004.png", "step-00000008.png"]


@pytest.mark.parametrize("cache", [False, True])
def test_an_interrupted_run_is_the_same_run(configured: Any, cache: bool) -> None:
    whole = run_of(configured("whole", train={"cache": cache, "ema": 0.9, "checkpoint_every": 12}))
    run_of(configured("parts", train={"cache": cache, "ema": 0.9, "samples": 12}))
    again = run_of(configured("parts", train={"cache": cache, "ema": 0.9}))
    assert same(weights_of(whole), weights_of(again))
    found = (
        find_newest_checkpoint(whole.state.folder / "checkpoints"),
        find_newest_checkpoint(again.state.folder / "checkpoints"),
    )
    assert found[0] and found[1]
    assert same(found[0].load_tensors("averaged"), found[1].load_tensors("averaged"))
    logs = [[row.get("loss") for row in read_log(run.state.folder / "log.jsonl")] for run in (whole, again)]
    assert [each for each in logs[0] if each] == [each for each in logs[1] if each]


def test_stopped_politely_it_saves_and_goes_on(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_of(configured("whole"))
    run = prepared(configured("parts"))
    add = run.state.log.add

    def add_and_interrupt(report: StepReport) -> None:
        add(report)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(run.state.log, "add", add_and_interrupt)
    with in_foreground(), pytest.raises(KeyboardInterrupt):
        run_training_loop(*run)
    assert run.state.step == 1
    again = prepared(configured("parts"))
    assert again.state.step == 1
    run_training_loop(*again)
    assert same(weights_of(whole), weights_of(again))


def test_a_run_in_the_background_is_not_stopped_by_ctrl_c() -> None:
    with in_background(), catch_stop_signals() as stop_requested:
        os.kill(os.getpid(), signal.SIGINT)
        assert not stop_requested()
    with in_foreground(), catch_stop_signals() as stop_requested:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop_requested()


def test_a_loss_that_is_no_number_ends_it_before_the_weights_and_names_the_pictures(configured: Any) -> None:
    run = prepared(configured())
    before = weights_of(run)
    with torch.no_grad():
        run.state.parameters[0].fill_(torch.nan)
    before = weights_of(run)
    with pytest.raises(
        BlendsetError, match=r"Step 1: the losses are not finite \(look at .*\.png.*lower opt.*learning_rate"
    ):
        run_training_loop(*run)
    assert all(torch.equal(before[name].nan_to_num(), now.nan_to_num()) for name, now in weights_of(run).items())
    assert find_newest_checkpoint(run.state.folder / "checkpoints") is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"seed": 5}, r"seed was 0 and is 5"),
        ({"optimizer": {"learning_rate": 0.5}}, r"optimizer\.learning_rate was 0\.0001 and is 0\.5"),
    ],
)
def test_a_run_does_not_go_on_as_another(configured: Any, change: dict[str, Any], says: str) -> None:
    run_of(configured(train={"samples": 8}))
    with pytest.raises(BlendsetError, match=rf"began differently \({says}\); change it back, or give another out"):
        prepared(configured(**change))


def test_settings_that_cannot_be_meant(configured: Any) -> None:
    with pytest.raises(BlendsetError, match=r"names no source; give each dataset a \[\[source\]\] table"):
        configured(source=[])
    with pytest.raises(BlendsetError, match=r"batch is 4, no multiple of train\.micro_batch \(3\); change one"):
        configured(train={"micro_batch": 3})
    with pytest.raises(BlendsetError, match=r"section \[train\].*'sampels'.*samples"):
        configured(train={"sampels": 3})


def test_the_learning_rate_warms_up_in_optimizer_steps_and_falls() -> None:
    settings = OptimizerSettings(warmup_steps=4, schedule="cosine")
    factors = [learning_rate_factor(settings, step, 12) for step in range(12)]
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert all(one > other for one, other in itertools.pairwise(factors[4:])) and factors[-1] < 0.05
    assert learning_rate_factor(OptimizerSettings(), 7, 12) == 1.0


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_configurations_to_begin_with_are_read_as_written(path: Path) -> None:
    config = load_train_config(path, ["train.batch=16", "model.path=elsewhere"])
    assert config.train.batch == 16 and config.model.path == "elsewhere"
    told = {
        name: (value, origin)
        for name, value, origin in explain_config(config, read_toml(path), "file", ["train.batch=16"])
    }
    assert told["train.batch"] == ("16", "command line")
    assert told["source[1].bands[0].lo"] == ("200.0", "file")
    assert told["optimizer.clip"] == ("1.0", "default")


def test_the_command_trains_shows_and_goes_on(
    dataset: Dataset, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(
        f'out = "{(tmp_path / "run").as_posix()}"\n[model]\npath = "{model.as_posix()}"\nrank = 2\n'
        "[train]\nsamples = 8\nbatch = 2\nresolution = 32\n"
        f'[[source]]\nname = "render"\ndataset = "{dataset.root.as_posix()}"\ncaptions = {{short = 0, dense = 0}}\n'
    )
    assert main(["train", str(path), "--dry-run"]) == 0
    assert "render" in capsys.readouterr().out
    assert {each.name for each in (tmp_path / "run").iterdir()} == {"timestep_plan.json", "timestep_plan.png"}
    assert main(["train", str(path), "--explain"]) == 0
    assert re.search(r"train\.samples +8 +\S*run\.toml", capsys.readouterr().out)
    assert main(["train", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"folder": str(tmp_path / "run" / "lora"), "samples": 8, "steps": 4}
    assert "LoRA of rank 2" in (tmp_path / "run" / "lora" / "README.md").read_text(encoding="utf-8")
    assert main(["train", str(path), "--set", "train.samples=12"]) == 0
    assert "12 pictures seen" in capsys.readouterr().out
    assert main(["train", str(path), "--set", "train.batch=3"]) == 1
    assert "began differently (train.batch was 2 and is 3)" in capsys.readouterr().err
    assert main(["train", str(path), "--set", "trian.batch=3"]) == 2
    assert "did you mean 'train'?" in capsys.readouterr().err


def test_the_function_trains_prints_nothing_and_goes_on(
    configured: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = thirty_views(tmp_path / "dataset")  # nothing is in its cache
    source = {"name": "render", "dataset": str(fresh.root), **UNCAPTIONED}
    config = configured(train={"samples": 8, "cache": True}, source=[source])
    plan = plan_training(config)
    assert plan.record["sources"]["render"]["samples"] == 30
    assert plan.rows[0][0] == "render"
    assert plan.picture.is_file()
    steps: list[tuple[str, int, int]] = []
    sentences: list[str] = []
    report = train(
        config, set="train.samples=16", on_progress=lambda *step: steps.append(step), report=sentences.append
    )
    assert (report.samples, report.steps, report.failures, report.rank) == (16, 4, (), 0)
    assert report.folder == tmp_path / "run" / "model"
    assert dict.fromkeys(what for what, _, _ in steps) == {"features encoded": None, "pictures seen": None}
    assert steps[-1] == ("pictures seen", 16, 16)
    assert train(config, TrainSettings(set=("train.samples=20",))).steps == 5
    first = "Source 'render': 30 samples, each seen 0 to 1 times (0.533 planned), in 1 size (32x32: 30); "
    assert sentences[0] == first + "the crop keeps 100 % of a picture."
    assert [sentence.partition(":")[0] for sentence in sentences] == ["Source 'render'"] * len(sentences)
    assert capsys.readouterr().out == ""
    with pytest.raises(SettingsError, match=r"did you mean 'train'\?"):
        train(config, set=["trian.samples=16"])
    with pytest.raises(BlendsetError, match="began differently"):
        train(config, set=["train.batch=2"])


def test_changes_leave_the_rest_of_a_configuration_as_it_is(model: Path, tmp_path: Path) -> None:
    band = {"lo": 0.1, "hi": 0.5, "unit": "fraction"}
    source = [{"name": "render", "dataset": "data", "bands": [band]}, {"name": "photo", "folder": "photos"}]
    config = config_of(model, tmp_path, tmp_path / "run", source=source, optimizer={"clip": 2})
    assert change_train_config(config, ()) is config
    changed = change_train_config(config, ["seed=4"])
    assert changed == dataclasses.replace(config, seed=4)

# SPDX-License-Identifier: Apache-2.0
"""A run ends in a model that was trained, or in one sentence: numbers that are not finite, checkpoints that a disk has
changed, settings that train nothing, another run's folder, defaults that undo the training.
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from dataclasses import astuple
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from safetensors.torch import load_file, save_file

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import lock_folder
from blendset_trainer import sample, train
from blendset_trainer.diffusion.families import Family
from blendset_trainer.training.checkpoints import find_newest_checkpoint
from blendset_trainer.training.data.cache_upkeep import CollectReport, collect_unused
from blendset_trainer.training.data.cache_uses import read_last_keys
from blendset_trainer.training.data.feature_cache import FeatureCache
from blendset_trainer.training.finishing import finish
from blendset_trainer.training.loop import MAX_SKIPPED_STEPS, run_training_loop
from blendset_trainer.training.settings import make_train_config
from blendset_trainer.training.setup import prepare
from blendset_trainer.training.state import compute_ema_decay
from blendset_trainer.training.train import RUN_LOCK
from blendset_trainer.training.validation import validate
from tests.trainer.tiny_datasets import files, thirty_views
from tests.trainer.tiny_pipelines import Make, maker
from tests.trainer.tiny_runs import Run, config_of, prepared, run_of, weights_of

CONFIGURATIONS = Path(__file__).parents[2] / "docs" / "training"
MODELS = {"flux": "flux", "pixart": "pixart_sigma", "sd3": "stable_diffusion_3", "sdxl": "stable_diffusion_xl",
          "stable-diffusion": "stable_diffusion"}  # fmt: skip
UNCAPTIONED = {"captions": {"short": 0.0, "dense": 0.0, "none": 1.0}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return thirty_views(tmp_path_factory.mktemp("dataset"))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture
def configured(dataset: Dataset, pipeline: Make, tmp_path: Path) -> Any:
    """A LoRA of two steps; sections go over it."""

    def make(out: str = "run", kind: str = "stable_diffusion", **changes: Any) -> Any:
        source = {"name": "render", "dataset": str(dataset.root), **UNCAPTIONED} | changes.pop("source", {})
        sections: dict[str, Any] = {"model": {"method": "lora", "rank": 2}, "train": {"samples": 8}}
        for name, change in changes.items():
            sections[name] = sections.get(name, {}) | change if isinstance(change, dict) else change
        return config_of(pipeline(kind), dataset.root, tmp_path / out, source=[source], **sections)

    return make


def checkpoints_of(run: Run) -> Path:
    return run.state.folder / "checkpoints"


# --- the average of the weights ---------------------------------------------------------------------------------------


def share_kept(base: dict[str, torch.Tensor], trained: dict[str, torch.Tensor], kept: dict[str, torch.Tensor]) -> float:
    """How much of what the trained weights learned is in the kept ones: 1 is all."""
    learned = torch.cat([(trained[name] - base[name]).flatten() for name in base])
    in_kept = torch.cat([(kept[name] - base[name]).flatten() for name in base])
    return float(in_kept @ learned / (learned @ learned))


@pytest.mark.parametrize("path", sorted(CONFIGURATIONS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_documented_configurations_keep_what_they_learn(
    path: Path, pipeline: Make, dataset: Dataset, tmp_path: Path
) -> None:
    values = tomllib.loads(path.read_text(encoding="utf-8"))
    values["out"] = str(tmp_path / "run")
    values["model"]["path"] = str(pipeline(MODELS[path.stem]))
    values["train"] |= {"samples": 24, "batch": 1, "micro_batch": 1, "resolution": 32, "cache": False}
    values["optimizer"]["warmup_steps"] = 0
    del values["validation"]
    for source in values["source"]:
        source |= {"dataset": str(dataset.root), "kind": "render", "selection": ""} | UNCAPTIONED
    run = prepared(make_train_config(values, path.name))
    base = weights_of(run)
    run_training_loop(*run)
    trained = weights_of(run)
    with run.state.swap_weights(run.model):
        assert share_kept(base, trained, weights_of(run)) > 0.8


@pytest.mark.parametrize(("decay", "steps"), [(0.9999, 30), (0.9999, 3125), (0.999, 100_000), (0.5, 8)])
def test_the_average_forgets_the_base_model(decay: float, steps: int) -> None:
    """Where training moves evenly from 0 to 1."""
    average = 0.0
    for update in range(steps):
        average += (1 - compute_ema_decay(decay, update)) * ((update + 1) / steps - average)
    assert 0.899 < average < 1


def test_a_resumed_average_counts_on(configured: Any) -> None:
    average = {"ema": 0.9999, "checkpoint_every": 4}
    whole = run_of(configured("whole", train=average | {"samples": 32}))
    run_of(configured("parts", train=average | {"samples": 12}))
    parts = run_of(configured("parts", train=average | {"samples": 32}))
    with whole.state.swap_weights(whole.model), parts.state.swap_weights(parts.model):
        one, other = weights_of(whole), weights_of(parts)
    assert all(torch.equal(one[name], other[name]) for name in one)


# --- numbers that are not finite --------------------------------------------------------------------------------------


def set_gradients(run: Run, value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every backward pass end in gradients of this value."""
    backward = run.state.accelerator.backward

    def backward_and_set(loss: torch.Tensor) -> None:
        backward(loss)
        for parameter in run.state.parameters:
            parameter.grad = torch.full_like(parameter, value)

    monkeypatch.setattr(run.state.accelerator, "backward", backward_and_set)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_reaches_no_weight(
    configured: Any, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    run = prepared(configured(optimizer={"clip": 0}))
    set_gradients(run, value, monkeypatch)
    before = weights_of(run)
    with pytest.raises(BlendsetError, match=r"Step 1: the gradients are not finite; .*, or set optimizer\.clip to 1"):
        run_training_loop(*run)
    assert all(torch.equal(before[name], now) for name, now in weights_of(run).items())
    assert find_newest_checkpoint(checkpoints_of(run)) is None


def test_steps_that_half_precision_skips_are_no_error_until_there_are_too_many(
    configured: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = prepared(configured(train={"samples": 4 * (MAX_SKIPPED_STEPS + 9), "batch": 2, "micro_batch": 2}))
    monkeypatch.setattr(run.state.accelerator, "scaler", torch.amp.GradScaler(device="cpu"))
    monkeypatch.setattr(run.state.optimizer, "step", lambda: None)
    set_gradients(run, math.inf, monkeypatch)
    with pytest.raises(BlendsetError, match="the gradients are not finite"):
        run_training_loop(*run)
    assert run.state.step == MAX_SKIPPED_STEPS


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_learning_rate_that_explodes_saves_nothing_and_names_itself(configured: Any, method: str) -> None:
    run = prepared(
        configured(model={"method": method}, train={"samples": 64}, optimizer={"learning_rate": 1e38, "clip": 0})
    )
    says = r"Step \d+: .* not finite.*; lower optimizer\.learning_rate \(it is 1e\+38\).*and give another out"
    with pytest.raises(BlendsetError, match=says):
        run_training_loop(*run)
    assert not (run.state.folder / "lora").exists() and not (run.state.folder / "model").exists()
    assert find_newest_checkpoint(checkpoints_of(run)) is None


@pytest.mark.parametrize("part", ["weights", "optimizer", "averaged"])
def test_a_checkpoint_of_numbers_that_are_not_finite_is_not_written(configured: Any, part: str) -> None:
    run = run_of(configured(train={"ema": 0.9}))
    with torch.no_grad():
        {
            "weights": run.state.parameters[0],
            "optimizer": next(iter(run.state.optimizer.optimizer.state.values()))["exp_avg"],
            "averaged": run.state._ema[0],
        }[part].fill_(math.nan)
    run.state.step += 1
    with pytest.raises(BlendsetError, match=rf"Step 3: numbers of the checkpoint \({part}: .*are not finite"):
        run.state.save()
    assert [path.name for path in checkpoints_of(run).iterdir()] == ["step-00000002"]


def test_held_out_losses_that_are_not_finite_end_the_run(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(configured())
    where = "blendset_trainer.training.validation.compute_held_out_losses"
    monkeypatch.setattr(where, lambda model, data: {"render/all": math.nan})
    with pytest.raises(BlendsetError, match=r"Step 2: the held-out losses \(render/all\) are not finite"):
        run_training_loop(*run)


# --- checkpoints ------------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(configured: Any) -> Run:
    """Four steps, with a checkpoint of each; the newest two stay."""
    return run_of(configured(train={"samples": 16, "checkpoint_every": 4}))


def resumed(configured: Any, **changes: Any) -> tuple[Run, list[str]]:
    """The same run prepared again, and what was reported."""
    told: list[str] = []

    def add(sentence: str) -> None:
        told.extend([sentence] * (not sentence.startswith("Source ")))

    config = configured(train={"samples": 16, "checkpoint_every": 4} | changes.pop("train", {}), **changes)
    return Run(*prepare(config, Accelerator(cpu=True), add, lambda what, done, total: None)), told


def zero_the_tail(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))


def fill_with_nan(path: Path) -> None:
    save_file({name: torch.full_like(value, math.nan) for name, value in load_file(path).items()}, path)


def change_a_fact(path: Path) -> None:
    manifest = path.with_name("manifest.json")
    manifest.write_text(manifest.read_text(encoding="utf-8").replace('"lr": 0.0001', '"lr": 0.0002'), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (zero_the_tail, r"its weights\.safetensors has changed since it was written"),
        (change_a_fact, r"its manifest\.json cannot be read"),
        (lambda path: path.write_bytes(b""), r"its weights\.safetensors has 0 bytes and had \d+"),
    ],
)
def test_a_changed_checkpoint_is_passed_over_and_told(trained: Run, configured: Any, damage: Any, why: str) -> None:
    newest = checkpoints_of(trained) / "step-00000004"
    damage(newest / "weights.safetensors")
    again, told = resumed(configured)
    assert again.state.step == 3
    assert len(told) == 1
    assert re.search(rf"step-00000004 is passed over, because {why}\.", told[0])
    run_training_loop(*again)
    assert all(torch.equal(value, weights_of(trained)[name]) for name, value in weights_of(again).items())


def forget_hashes(folder: Path) -> None:
    """Make a checkpoint one of version 0.1."""
    manifest = folder / "manifest.json"
    values = json.loads(manifest.read_text(encoding="utf-8"))
    del values["sha256"], values["facts_sha256"], values["facts"]["model"], values["facts"]["ema_updates"]
    del values["facts"]["config"]["train"]["cache_folder"]
    values["facts"]["config"]["validation"] |= {"steps": 30, "cfg_scale": 5.0}
    values["bytes"] = {path.name: path.stat().st_size for path in folder.glob("*.safetensors")}
    manifest.write_text(json.dumps(values), encoding="utf-8")


def test_checkpoints_without_hashes_are_taken_unless_they_hold_nan(trained: Run, configured: Any) -> None:
    for folder in checkpoints_of(trained).iterdir():
        forget_hashes(folder)
    again, told = resumed(configured)
    assert again.state.step == 4 and len(told) == 1 and "validation.steps was 30 and is not set" in told[0]
    fill_with_nan(checkpoints_of(trained) / "step-00000004" / "weights.safetensors")
    again, told = resumed(configured)
    assert again.state.step == 3 and "holds numbers that are not finite" in told[0]


def test_a_damaged_one_that_is_newer_takes_the_place_of_no_sound_one(trained: Run, configured: Any) -> None:
    zero_the_tail(checkpoints_of(trained) / "step-00000004" / "weights.safetensors")
    again, _ = resumed(configured, train={"keep": 1})
    again.state.save()
    assert find_newest_checkpoint(checkpoints_of(trained)) is not None


# --- what a run is ----------------------------------------------------------------------------------------------------


def test_a_cosine_run_is_not_made_longer_and_a_constant_one_is(configured: Any) -> None:
    run_of(configured("falling", optimizer={"schedule": "cosine"}))
    says = r"optimizer\.schedule is cosine, which falls until the end, and train\.samples was 8 and is 16"
    with pytest.raises(BlendsetError, match=rf"began differently \({says}\); change it back, or give another out"):
        prepared(configured("falling", optimizer={"schedule": "cosine"}, train={"samples": 16}))
    prepared(configured("falling", optimizer={"schedule": "cosine"}, train={"samples": 7}))  # as many steps
    run_of(configured("constant"))
    assert run_of(configured("constant", train={"samples": 16})).state.step == 4
    with pytest.raises(BlendsetError, match=r"holds a run of 16 pictures, and train\.samples is 8; give at least"):
        prepared(configured("constant"))


def test_a_base_model_that_changed_under_its_path_is_refused(pipeline: Make, configured: Any, tmp_path: Path) -> None:
    model, moved = tmp_path / "model", tmp_path / "moved"
    copytree(pipeline("stable_diffusion"), model)
    run_of(configured(model={"path": str(model)}))
    copytree(model, moved)
    assert prepared(configured(model={"path": str(moved)})).state.step == 2
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({name: value + 0.01 for name, value in load_file(weights).items()}, weights, {"format": "pt"})
    with pytest.raises(BlendsetError, match=rf"began differently \(the base model {model} was \w+ and is \w+\)"):
        prepared(configured(model={"path": str(model)}))


def test_other_validation_pictures_are_said_and_refuse_nothing(configured: Any, trained: Run) -> None:
    again, told = resumed(configured, validation={"prompts": ["a lamp"]})
    assert again.state.step == 4
    assert told == [
        f"The run in {trained.state.folder} goes on, from here with other validation pictures "
        "(validation.prompts.0 was not set and is a lamp)."
    ]


def test_a_second_start_in_a_folder_is_one_sentence(configured: Any, tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path / "run" / RUN_LOCK),
        pytest.raises(BlendsetError, match=r"Training is already running in .*run; let it end or choose"),
    ):
        train(configured())
    assert train(configured()).steps == 2


# --- settings that cannot be meant ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": {"alpha": 0}}, r"model\.alpha is 0, so the LoRA changes nothing"),
        ({"train": {"ema": 1}}, r"train\.ema is 1, so the averaged weights stay"),
        ({"optimizer": {"learning_rate": 0}}, r"optimizer\.learning_rate is 0, so nothing is learned"),
        ({"optimizer": {"betas": [1, 0.9]}}, r"optimizer\.betas holds a 1"),
        ({"optimizer": {"learning_rate": math.nan}}, r"optimizer\.learning_rate is nan; it must be a number"),
        ({"optimizer": {"epsilon": math.inf}}, r"optimizer\.epsilon is inf; it must be a number"),
        ({"references": {"count": 1, "drop_images": 1.0}}, "leave out every reference"),
        ({"references": {"count": 1, "drop_text": 0.9, "drop_both": 0.5}}, "add up to 1.45"),
        ({"train": {"cache": True}, "source": {"crop": "random"}}, r"which train\.cache cannot keep"),
    ],
)  # fmt: skip
def test_settings_that_train_nothing_are_refused(configured: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(BlendsetError, match=rf"run\.toml: .*{says}"):
        configured(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"train": {"resolution": 34}}, r"train\.resolution is 34, and Stable Diffusion takes multiples of 4 pixels; "
                                        "set it to 32 or 36"),
        ({"kind": "flux", "train": {"resolution": 30}}, r"FLUX takes multiples of 4 pixels; set it to 28 or 32"),
        ({"validation": {"embedded_guidance": 3.5}}, r"\[validation\] do not fit: .* has no guidance embedded"),
        ({"optimizer": {"name": "adamw-8bit"}}, r"needs a package: pip install bitsandbytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_refused_before_anything_is_encoded(
    configured: Any, changes: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blendset_trainer.training.setup.load_data", lambda *arguments: pytest.fail("it was encoded"))
    with pytest.raises(BlendsetError, match=says):
        prepared(configured(**changes))


def test_a_model_that_was_trained_is_finished(configured: Any) -> None:
    run = run_of(configured(train={"ema": 0.9999}))
    weights = load_file(finish(*run) / "pytorch_lora_weights.safetensors")
    assert max(float(value.abs().max()) for name, value in weights.items() if "lora_B" in name) > 0


def test_a_run_without_any_gradient_says_so(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = prepared(configured())
    set_gradients(run, 0.0, monkeypatch)
    with pytest.raises(BlendsetError, match="Nothing is learned: the gradients of the first 2 steps are 0"):
        run_training_loop(*run)
    assert find_newest_checkpoint(checkpoints_of(run)) is None


def test_a_warm_up_that_is_longer_than_the_run_is_said(configured: Any) -> None:
    _, told = resumed(configured, optimizer={"warmup_steps": 9})
    assert told == [
        "optimizer.warmup_steps is 9 and the run has 4 steps, so it ends before the learning rate is reached; give "
        "fewer, or more train.samples."
    ]


# --- where caches lie -------------------------------------------------------------------------------------------------


@pytest.fixture
def read_only(tmp_path: Path) -> Path:
    """Photos in a folder whose cache cannot be written, by whomever: a file is in its way."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.new("RGB", (32, 32), (80 * number, 20, 20)).save(photos / f"{number}.png")
        (photos / f"{number}.txt").write_text("a red chair", encoding="utf-8")
    (photos / "cache").write_text("")
    return photos


def test_caches_of_a_folder_that_cannot_be_written_go_elsewhere(
    configured: Any, read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = {"folder": str(read_only), "dataset": ""}
    before = files(read_only)
    with monkeypatch.context() as patched:
        patched.setattr(Family, "encode_images", lambda *arguments: pytest.fail("it was encoded"))
        says = r"photos/cache/features cannot be written \(.*\); set train\.cache_folder to .* or train\.cache to false"
        with pytest.raises(BlendsetError, match=says):
            prepared(configured(source=photos, train={"cache": True}))
    elsewhere: dict[str, Any] = {"cache": True, "cache_folder": str(tmp_path / "elsewhere")}
    run_of(configured(source=photos, train=elsewhere))
    assert files(read_only) == before
    (place,) = (tmp_path / "elsewhere").iterdir()
    assert (
        re.fullmatch(r"photos-[0-9a-f]{8}", place.name) and len(FeatureCache(place)) == 4
    )  # 3 pictures, 1 empty caption
    assert read_last_keys(FeatureCache(place).root, 1) == FeatureCache(place).list_keys()
    (read_only / "2.png").unlink()
    assert collect_unused(read_only, elsewhere=elsewhere["cache_folder"]) == CollectReport(4, 1, (), removed=False)
    with monkeypatch.context() as patched:
        patched.setattr(Family, "encode_images", lambda *arguments: pytest.fail("it was encoded again"))
        run_of(configured("again", source=photos, train=elsewhere))


def test_features_that_are_not_finite_are_not_kept(
    configured: Any, read_only: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Family, "encode_images", lambda model, pixels: torch.full((len(pixels), 8, 16, 16), math.inf))
    train = {"cache": True, "cache_folder": str(tmp_path / "elsewhere")}
    with pytest.raises(BlendsetError, match=r"\(VAE\) makes numbers that are not finite of .*\.png; set model"):
        prepared(configured(source={"folder": str(read_only), "dataset": ""}, train=train))


# --- how pictures are drawn -------------------------------------------------------------------------------------------


def count_passes(family: Family, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The embedded guidance of each call of the denoiser from here on."""
    calls: list[Any] = []
    forward = family.module.forward

    def forward_and_count(*arguments: Any, **options: Any) -> Any:
        guidance = options.get("guidance")
        calls.append(None if guidance is None else float(guidance[0]))
        return forward(*arguments, **options)

    monkeypatch.setattr(family.module, "forward", forward_and_count)
    return calls


@pytest.mark.parametrize(
    ("kind", "guidance", "defaults"),
    [
        ("flux", 3.5, (28, 1.0, 3.5)),
        ("flux_schnell", None, (4, 1.0, None)),
        ("stable_diffusion_3", None, (28, 7.0, None)),
        ("pixart_alpha", None, (20, 4.5, None)),
        ("stable_diffusion", None, (50, 7.5, None)),
        ("stable_diffusion_xl", None, (50, 5.0, None)),
    ],
)
def test_validation_and_sample_draw_alike_by_the_defaults_of_the_family(
    configured: Any,
    pipeline: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    guidance: Any,
    defaults: Any,
) -> None:
    validation = {"prompts": ["a red chair"], "steps": 4}
    run = prepared(configured(kind=kind, model={"alpha": 2}, validation=validation))
    assert astuple(run.model.sampling_defaults) == defaults
    calls = count_passes(run.model, monkeypatch)
    validate(*run)
    assert calls == [guidance] * 4
    monkeypatch.undo()
    report = sample(pipeline(kind), prompt="a red chair", steps=4, width=32, height=32, out=tmp_path / "samples")
    assert (report.steps, report.cfg_scale, report.embedded_guidance) == (4, *defaults[1:])
    validated = run.state.folder / "validation" / "step-00000000.png"
    assert Image.open(validated).tobytes() == Image.open(tmp_path / "samples" / "0000.png").tobytes()

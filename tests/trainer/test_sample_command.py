# SPDX-License-Identifier: Apache-2.0
"""`blendset sample` makes the same pictures for the same seed, and says what they were made with."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

import blendset_trainer
from blendset.errors import SettingsError
from blendset_trainer.cli.main import main
from blendset_trainer.diffusion.export import save_lora
from blendset_trainer.diffusion.families import load_family
from blendset_trainer.diffusion.lora import add_lora
from blendset_trainer.diffusion.sample_files import SampledPicture
from tests.trainer import tiny_pipelines
from tests.trainer.tiny_datasets import files

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.stable_diffusion(tmp_path_factory.mktemp("models") / "model")


def sample(model: Path, out: Path, *words: str) -> int:
    return main(["sample", str(model), "--out", str(out), "--steps", "2", "--seed", "4", *words])


def test_the_same_seed_makes_the_same_files(model: Path, tmp_path: Path, capsys: Capture) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("the blue lamp\n\n  a room\n", encoding="utf-8")
    words = "--prompt", "a red chair", "--prompts", str(prompts), "--json"
    for name in ("first", "second"):
        assert sample(model, tmp_path / name, *words) == 0
    assert files(tmp_path / "first") == files(tmp_path / "second")
    record = json.loads((tmp_path / "first" / "samples.json").read_text())
    assert json.JSONDecoder().raw_decode(capsys.readouterr().out)[0] == record
    assert [(each["prompt"], each["seed"]) for each in record["pictures"]] == [
        ("a red chair", 4), ("the blue lamp", 5), ("a room", 6),
    ]  # fmt: skip
    pictures = [Image.open(tmp_path / "first" / each["file"]) for each in record["pictures"]]
    sheet = Image.open(tmp_path / "first" / "grid.png")
    assert sheet.size == (2 * pictures[0].width, 2 * pictures[0].height)
    corner = sheet.crop((0, pictures[0].height, pictures[0].width, 2 * pictures[0].height))
    assert corner.tobytes() == pictures[2].tobytes()


def test_the_function_makes_the_files_of_the_command(model: Path, tmp_path: Path, capsys: Capture) -> None:
    steps: list[tuple[str, int, int]] = []
    report = blendset_trainer.sample(
        model, prompt="a lamp", out=tmp_path / "called", steps=2, seed=4, on_progress=lambda *step: steps.append(step)
    )
    assert capsys.readouterr() == ("", "")
    assert steps == [("pictures", 0, 1), ("pictures", 1, 1)]
    assert report.pictures == (SampledPicture("0000.png", "a lamp", 4),)
    assert sample(model, tmp_path / "typed", "--prompt", "a lamp") == 0
    assert files(tmp_path / "called") == files(tmp_path / "typed")
    with pytest.raises(SettingsError, match="There is nothing to make pictures of"):
        blendset_trainer.sample(model, out=tmp_path / "nothing")


def test_a_picture_does_not_depend_on_the_others(model: Path, tmp_path: Path) -> None:
    assert sample(model, tmp_path / "both", "--prompt", "a red chair", "--prompt", "a lamp") == 0
    assert sample(model, tmp_path / "alone", "--prompt", "a lamp", "--seed", "5") == 0
    assert (tmp_path / "both" / "0001.png").read_bytes() == (tmp_path / "alone" / "0000.png").read_bytes()


def test_a_lora_changes_the_pictures(model: Path, tmp_path: Path) -> None:
    family = load_family(str(model), dtype=torch.float32)
    add_lora(family, rank=2, alpha=8)
    for name, parameter in family.module.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    save_lora(family, tmp_path / "lora")
    assert sample(model, tmp_path / "with", "--prompt", "a lamp", "--lora", str(tmp_path / "lora")) == 0
    assert sample(model, tmp_path / "without", "--prompt", "a lamp") == 0
    assert (tmp_path / "with" / "0000.png").read_bytes() != (tmp_path / "without" / "0000.png").read_bytes()


def test_prompts_that_are_cut_are_said_and_where(model: Path, tmp_path: Path, capsys: Capture) -> None:
    long = "a red chair in a green room " * 3
    words = "--prompt", "a lamp", "--prompt", long + "with a table", "--prompt", long + "with a lamp"
    assert sample(model, tmp_path / "out", *words) == 0
    error = capsys.readouterr().err
    assert "2 of 3 prompts are longer than the 16 tokens that Stable Diffusion reads (the longest has 26)" in error
    assert "are ignored: 'a red chair in a green room a red chair ' ends at 'red chair a green room'" in error
    pictures = [(tmp_path / "out" / f"000{number}.png").read_bytes() for number in range(3)]
    assert len(set(pictures)) == 3  # of seeds of their own


def test_a_decoder_that_does_not_fit_its_weights_is_named(model: Path, tmp_path: Path, capsys: Capture) -> None:
    damaged = shutil.copytree(model, tmp_path / "model")
    config = json.loads((damaged / "vae" / "config.json").read_text())
    (damaged / "vae" / "config.json").write_text(json.dumps(config | {"up_block_types": {}}))
    assert sample(damaged, tmp_path / "out", "--prompt", "a lamp") == 1
    assert f"{damaged} was loaded and cannot be used (" in capsys.readouterr().err


def test_a_folder_of_other_samples_is_left_alone(model: Path, tmp_path: Path, capsys: Capture) -> None:
    out, both = tmp_path / "out", ("--prompt", "a red chair", "--prompt", "a lamp")
    assert sample(model, out, *both) == 0
    before = files(out)
    assert sample(model, out, *both) == 0
    capsys.readouterr()
    for words in (("--prompt", "a red chair"), (*both, "--prompt", "a room"), (*both, "--cfg-scale", "2")):
        assert sample(model, out, *words) == 1
        assert (
            f"{out} holds other samples (samples.json); give another --out, or remove them" in capsys.readouterr().err
        )
    assert files(out) == before
    (out / "samples.json").unlink()
    assert sample(model, out, *both) == 1
    assert "holds other samples (grid.png)" in capsys.readouterr().err


def test_an_interrupted_call_goes_on(model: Path, tmp_path: Path) -> None:
    both = "--prompt", "a red chair", "--prompt", "a lamp"

    def interrupt(what: str, done: int, total: int) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        blendset_trainer.sample(model, prompt=both[1::2], out=tmp_path / "out", steps=2, seed=4, on_progress=interrupt)
    assert sample(model, tmp_path / "out", *both) == 0
    assert sample(model, tmp_path / "whole", *both) == 0
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_lora_of_numbers_that_are_not_finite_draws_nothing(model: Path, tmp_path: Path, capsys: Capture) -> None:
    family = load_family(str(model), dtype=torch.float32)
    add_lora(family, rank=2, alpha=2)
    with torch.no_grad():
        for name, parameter in family.module.named_parameters():
            if "lora_B" in name:
                parameter.fill_(torch.nan)
    save_lora(family, tmp_path / "lora")
    assert sample(model, tmp_path / "out", "--prompt", "a lamp", "--lora", str(tmp_path / "lora")) == 1
    assert "The picture of 'a lamp' is of numbers that are not finite" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ([], "give --prompt TEXT or --prompts FILE", 2),
        (["--prompts", "nowhere.txt"], "nowhere.txt cannot be read", 2),
        (["--prompt", "a", "--width", "66"], "Stable Diffusion makes no pictures of width 66; give a multiple of 4", 1),
        (["--prompt", "a", "--lora", "./nowhere"], "./nowhere does not exist", 1),
        (["--prompt", "a", "--steps", "0"], "0 is not above 0", 2),
        (["--prompt", "a", "--embedded-guidance", "3"], "has no guidance embedded; use --cfg-scale", 1),
    ],
)
def test_mistakes_are_one_sentence(
    model: Path, tmp_path: Path, capsys: Capture, words: list[str], said: str, code: int
) -> None:
    assert main(["sample", str(model), "--out", str(tmp_path / "out"), *words]) == code
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()

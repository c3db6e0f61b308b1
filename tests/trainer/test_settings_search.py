# SPDX-License-Identifier: Apache-2.0
"""Settings searched on a sample: every setting draws the same prompts from the same noise, and the figures decide."""

from __future__ import annotations

import json
import shutil
from itertools import product
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.files import sha256_bytes
from blendset.randomness import derive_image_seed
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.models.clip import ClipModel, find_clip
from blendset_trainer.synthesis.search.grid import SEARCHABLE, parse_grid
from blendset_trainer.synthesis.search.settings_search import (
    choose_sample,
    compare_settings,
    compute_interval,
    find_figure,
)
from blendset_trainer.synthesis.settings import TextToImageSettings
from blendset_trainer.synthesis.synthesize import synthesize
from blendset_trainer.synthetic_views import read_synthesis
from tests.trainer.tiny_models import open_clip_model
from tests.trainer.tiny_pipelines import PIXELS, Make, maker

TEXTS = ["a red chair", "a blue lamp", "a table in a room", "a green tree", "a lamp on a table"]
SIZE: dict[str, Any] = {"width": PIXELS, "height": PIXELS}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_clip_model(tmp_path_factory.mktemp("models") / "clip")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(TEXTS), encoding="utf-8")
    return file


def draw_by_hand(model: Path, prompt: str, seed: int, **options: Any) -> np.ndarray[Any, Any]:
    """A picture as diffusers itself makes it, in 8 bits."""
    pipeline = diffusers.DiffusionPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(seed)
    image = pipeline(prompt, generator=generator, output_type="np", **SIZE, **options).images[0]
    drawn: np.ndarray[Any, Any] = np.rint(image * 255).astype(np.uint8)
    return drawn


def test_every_setting_draws_the_same_prompts_from_the_same_noise(
    pipeline: Make, clip: Path, texts: Path, tmp_path: Path
) -> None:
    model, out = pipeline("stable_diffusion"), tmp_path / "pictures"
    search = ["cfg-scale=1.5,6", "steps=1,3"]
    report = synthesize(
        job="text-to-image", out=out, prompts=texts, model=str(model), search=search, by=f"clip:{clip}", on=3, **SIZE
    )
    [kept] = (out / "searches").glob("*.json")
    content = json.loads(kept.read_text())
    assert (report.search is not None) and report.search.prompts == len(content["prompts"]) == 3
    judge = ClipModel(find_clip(str(clip)))
    for setting, figures in zip(product((1.5, 6.0), (1, 3)), content["figures"], strict=True):
        for prompt, figure in zip(content["prompts"], figures, strict=True):
            seed = derive_image_seed(sha256_bytes(f"0 {prompt}".encode()), 0)
            drawn = draw_by_hand(model, prompt, seed, guidance_scale=setting[0], num_inference_steps=setting[1])
            cosine = float(judge.encode_pictures([drawn])[0] @ judge.encode_texts([prompt])[0])
            assert figure == pytest.approx(cosine, abs=2e-3), (setting, prompt)
    views = list(Dataset(out).views())
    assert len(views) == len(TEXTS), "trial pictures are no views"
    made = [read_synthesis(Dataset(out).rgb_path(view).parent) for view in views]
    assert {(each.guidance["cfg_scale"], each.steps) for each in made} == {
        (report.search.chosen["cfg_scale"], report.search.chosen["steps"])
    }
    assert verify_dataset(Dataset(out)).problems == ()


def test_a_search_is_kept_and_made_again_alike(
    pipeline: Make, clip: Path, texts: Path, tmp_path: Path, capsys: Any
) -> None:
    out = tmp_path / "pictures"
    words = ["synthesize", "text-to-image", "--model", str(pipeline("stable_diffusion")), "--prompts", str(texts),
             "--out", str(out), "--width", "32", "--height", "32", "--search", "steps=1,2", "cfg-scale=2,4",
             "--by", f"clip:{clip}.similarity", "--on", "4"]  # fmt: skip
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "clip-clip.similarity" in said and "(4 prompts)" in said
    [kept] = (out / "searches").glob("*.json")
    first = kept.read_bytes()
    shutil.rmtree(out / "cache")
    assert main(words) == 0, "what is kept needs no trial"
    assert capsys.readouterr().out.splitlines()[:-1] == said.splitlines()[:-1]
    assert not (out / "cache" / "searches").exists()
    kept.unlink()
    assert main(words) == 0
    assert kept.read_bytes() == first


def settings(**options: Any) -> TextToImageSettings:
    return TextToImageSettings(model="m", search=("steps=10,20,30",), by="phash", **options)


def test_the_best_is_taken_only_where_it_differs() -> None:
    grid = parse_grid(["steps=10,20,30"], list(SEARCHABLE))
    noise = np.random.default_rng(0).normal(0, 0.1, 200)
    clear = compare_settings(grid, np.stack([noise, noise + 0.2, noise + 0.1]), "x.y", settings())
    assert clear.chosen == {"steps": 20}
    assert clear.reason == "steps=20 is the best of 3 settings and is used."
    shaken = np.random.default_rng(1).normal(0, 0.1, 200)
    alike = compare_settings(grid, np.stack([noise - 1, noise, noise + shaken / 10]), "x.y", settings())
    assert alike.chosen == {"steps": 20}
    assert "does not differ from" in alike.reason and alike.reason.endswith("is used: steps=20.")


def test_intervals_are_those_of_students_t() -> None:
    values = np.random.default_rng(0).normal(3, 2, 30)
    mean, interval = compute_interval(values)
    assert interval == pytest.approx(stats.ttest_1samp(values, 0).confidence_interval(0.95))
    assert mean == pytest.approx(values.mean())


def test_prompts_without_a_figure_do_not_count_and_are_told() -> None:
    grid = parse_grid(["steps=10,20"], list(SEARCHABLE))
    figures = np.array([[1.0, 1.1, 0.9, np.nan], [2.0, 2.1, 1.9, 50.0]])
    found = compare_settings(grid, figures, "x.y", settings(), ["it is black"])
    assert found.prompts == 3
    assert found.settings[1].mean == pytest.approx(2.0)
    assert found.left_out == ("1 of 4 prompts have no figure under some setting, and do not count.", "it is black")
    with pytest.raises(BlendsetError, match=r"x\.y has a figure under every setting for 1 prompts, and needs two"):
        compare_settings(grid, figures[:, 2:], "x.y", settings())


@given(st.lists(st.text(max_size=5), max_size=40), st.integers(2, 20), st.integers(0, 3))
def test_a_sample_is_of_the_prompts_and_grows(prompts: list[str], most: int, seed: int) -> None:
    sample = choose_sample(prompts, most, seed)
    assert len(sample) == min(most, len(set(prompts)))
    assert sample == [text for text in dict.fromkeys(prompts) if text in sample]
    assert set(sample) <= set(choose_sample(prompts[::-1], most + 1, seed))


@pytest.mark.parametrize(
    ("search", "says"),
    [
        ("cfg-scal=3,5", "There is no option 'cfg-scal' to search; did you mean cfg-scale?"),
        ("seed=1,2", "'seed' cannot be searched; --search takes model, steps, cfg-scale"),
        ("steps=30", "--search steps=30 has one value; give several, or write --steps 30 without a search."),
        ("steps", "--search is 'steps'; write it as NAME=VALUE,VALUE, such as steps=30,60."),
        ("steps=3,3", "names a value twice; give each once."),
        ("steps=3,x", "--search is 'steps=3,x', whose values must be whole numbers."),
        ("steps=0,3", "steps is 0; it must be at least 1."),
        ("precision=fp32,fp8", "precision is 'fp8'"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused_at_once(search: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        TextToImageSettings(model="m", search=(search,), by="clip:m")
    assert says in str(raised.value)


def test_a_search_names_one_figure(clip: Path, pipeline: Make, texts: Path, tmp_path: Path) -> None:
    assert find_figure(f"clip:{clip}")[1] == "similarity"
    assert find_figure(f"clip:{clip}.tokens")[1] == "tokens"
    assert find_figure("image-stats.sharpness")[1] == "sharpness"
    for by, says in {
        "image-stats": "has several figures; write --by image-stats.COLUMN with one of mean,",
        "phash": "--by phash has no figure",
        "image-stats.sharp": "image-stats has no figure 'sharp' but mean,",
        "clip": "'clip' is no stage; write clip:MODEL",
    }.items():
        with pytest.raises(SettingsError, match=says.replace("?", r"\?")):
            find_figure(by)
    for search, lone in ((("steps=1,2",), ""), ((), "phash")):
        with pytest.raises(SettingsError, match="is given alone; add --"):
            TextToImageSettings(model="m", search=search, by=lone)
    model = str(pipeline("stable_diffusion"))
    single = tmp_path / "single.txt"
    single.write_text("a red chair", encoding="utf-8")
    with pytest.raises(SettingsError, match="compares settings over several prompts, and there is one; leave --search"):
        synthesize(job="text-to-image", out=tmp_path / "out", prompts=single, model=model, search="steps=1,2",
                   by="image-stats.sharpness", **SIZE)  # fmt: skip
    with pytest.raises(
        BlendsetError, match=r"--by consistency\.\w+ has no figure of any picture of a prompt: choose a"
    ):
        synthesize(job="text-to-image", out=tmp_path / "out", prompts=texts, model=model, search="steps=1,2",
                   by="consistency.ssim", on=2, **SIZE)  # fmt: skip

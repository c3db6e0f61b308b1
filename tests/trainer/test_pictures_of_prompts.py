# SPDX-License-Identifier: Apache-2.0
"""Pictures of prompts of any origin: a dataset of its own, or views beside those that are there."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from blendset.dataset import Dataset
from blendset.errors import SettingsError
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.synthesis.prompts.prompt_files import TEXT_TO_IMAGE, VIEW, Prompt, write_prompts
from blendset_trainer.synthesis.synthesize import synthesize
from blendset_trainer.synthetic_views import PROMPTS_SCENE, has_camera, read_synthesis
from tests.trainer.test_deformable import TEXTS, prompts
from tests.trainer.tiny_datasets import add_scene, add_view, make_dataset
from tests.trainer.tiny_pipelines import PIXELS, Make, maker

SIZE = "--width", str(PIXELS), "--height", str(PIXELS), "--steps", "2"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Three prompts, one of them twice."""
    file = tmp_path / "prompts.txt"
    file.write_text("a red chair\na blue lamp on a table\n\na red chair\na table\n", encoding="utf-8")
    return file


def drawn(model: Path, prompts: Path, *words: str) -> int:
    return main(["synthesize", "text-to-image", "--model", str(model), "--prompts", str(prompts), *SIZE, *words])


def pictures(dataset: Dataset) -> dict[str, bytes]:
    return {view.view_id: dataset.rgb_path(view).read_bytes() for view in dataset.views()}


def test_prompts_make_a_dataset_of_their_own(pipeline: Make, texts: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "pictures"
    assert drawn(pipeline("stable_diffusion"), texts, "--out", str(out), "--variants", "2") == 0
    assert f"{out}: 6 pictures made now, 0 before, 0 failed" in capsys.readouterr().out
    made = Dataset(out)
    assert verify_dataset(made).problems == ()
    assert (made.record.name, made.record.sources, made.record.render_settings) == ("pictures", ("prompts.txt",), {})
    views = list(made.views())
    assert sorted(Counter(view.view_set for view in views).values()) == [2, 2, 2]
    assert {view.subject for view in views} == {view.view_id.rpartition("-")[0].rpartition("-")[0] + "-" +
            view.subject.rpartition("-")[2] for view in views}  # fmt: skip
    assert {(view.scene, view.source, view.subject_label, has_camera(view.camera)) for view in views} == {
        (PROMPTS_SCENE, "synthetic", "", False)
    }
    asked = {view.subject: read_synthesis(made.rgb_path(view).parent) for view in views}
    assert {each.prompt for each in asked.values()} == {"a red chair", "a blue lamp on a table", "a table"}
    assert {each.parents for each in asked.values()} == {()}
    first = pictures(made)
    shutil.rmtree(made.rgb_path(views[0]).parent)
    assert drawn(pipeline("stable_diffusion"), texts, "--out", str(out), "--variants", "2") == 0
    assert pictures(made) == first
    assert drawn(pipeline("pixart_sigma"), texts, "--out", str(out)) == 0
    assert len({view.subject for view in made.views()}) == 3, "what a prompt describes, whatever draws it"


def test_a_call_makes_what_the_command_makes(pipeline: Make, texts: Path, tmp_path: Path) -> None:
    size: dict[str, Any] = {"width": PIXELS, "height": PIXELS}
    model = str(pipeline("stable_diffusion"))
    report = synthesize(job="text-to-image", out=tmp_path / "called", prompts=texts, model=model, steps=2, **size)
    assert (report.made, report.left_out) == (3, ())
    assert drawn(pipeline("stable_diffusion"), texts, "--out", str(tmp_path / "other")) == 0
    assert pictures(Dataset(tmp_path / "called")) == pictures(Dataset(tmp_path / "other"))


def test_pictures_join_the_renders_and_keep_the_parents_that_are_there(
    pipeline: Make, tmp_path: Path, capsys: Any
) -> None:
    renders = make_dataset(tmp_path / "renders")
    add_scene(renders, "attic")
    add_view(renders, "attic", "chair", 0)
    file = tmp_path / "prompts.jsonl"
    named = {"a red chair": "chair-0000", "a lamp": "chair-0009", "a table": ""}
    write_prompts(
        file, [Prompt(text, "", TEXT_TO_IMAGE, {VIEW: view} if view else {}, "test", 0) for text, view in named.items()]
    )
    assert drawn(pipeline("stable_diffusion"), file, str(renders.root)) == 0
    said = capsys.readouterr().err
    assert f"1 of 3 prompts of {file} were written for views that {renders.root} does not have, such as" in said
    made = [view for view in renders.views() if view.source == "synthetic"]
    parents = {read_synthesis(renders.rgb_path(view).parent).prompt: (view.scene, view.subject) for view in made}
    assert parents["a red chair"] == ("attic", "chair")
    assert {parents[text][0] for text in ("a lamp", "a table")} == {PROMPTS_SCENE}
    assert verify_dataset(renders).problems == ()


def test_sets_of_animals_need_no_dataset(pipeline: Make, tmp_path: Path) -> None:
    words = ["synthesize", "deformable", "--model", str(pipeline("flux")), "--prompts",
             str(prompts(tmp_path, TEXTS)), *SIZE]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "animals")]) == 0
    assert main([*words, str(make_dataset(tmp_path / "other").root)]) == 0
    assert pictures(Dataset(tmp_path / "animals")) == pictures(Dataset(tmp_path / "other"))
    assert len(pictures(Dataset(tmp_path / "animals"))) == 3


def test_what_cannot_be_drawn_is_one_sentence(pipeline: Make, texts: Path, tmp_path: Path, capsys: Any) -> None:
    model, out, empty = pipeline("stable_diffusion"), tmp_path / "pictures", tmp_path / "empty.txt"
    empty.write_text("\n  \n", encoding="utf-8")
    tried = [
        (2, texts, [], "There is no dataset for 'text-to-image'; name its folder, or give --out, the folder of a new"),
        (2, texts, [str(model), "--out", str(out)], f"Pictures join one dataset; give either {model} or --out {out}."),
        (1, texts, ["--out", str(model)], f"{model} holds something else than a Blendset dataset (it has no"),
        (1, empty, ["--out", str(out)], f"{empty} "),
        (1, tmp_path / "none.txt", ["--out", str(out)], "none.txt cannot be read"),
    ]
    for code, file, words, says in tried:
        assert drawn(model, file, *words) == code
        assert says in capsys.readouterr().err
        assert not out.exists(), "nothing begins that cannot end"
    with pytest.raises(SettingsError, match=r"There is nothing to draw in .*; give --prompts FILE"):
        synthesize(job="text-to-image", model=str(model), out=out)
    with pytest.raises(SettingsError, match=r"There is no dataset for 'restyle'; name its folder\."):
        synthesize(job="restyle", model=str(model), prompt="a chair")


def test_a_prompt_longer_than_the_encoder_leaves_the_others(pipeline: Make, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("a chair\n" + "red " * 30 + "\n", encoding="utf-8")
    assert drawn(pipeline("stable_diffusion"), file, "--out", str(tmp_path / "out"), "--json") == 0
    failed = json.loads(capsys.readouterr().out)["failed"]
    assert [text.endswith("has 32 tokens and StableDiffusionPipeline reads 16; shorten it.") for text in
            failed.values()] == [True]  # fmt: skip

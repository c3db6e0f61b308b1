# SPDX-License-Identifier: Apache-2.0
"""What generators make joins the dataset with its provenance, once, whole, and the same however interrupted."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from blendset.dataset import Dataset
from blendset.errors import SettingsError
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.diffusion.pipeline_settings import find_pipeline
from blendset_trainer.models.memory import is_out_of_memory
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.tables import read_captions, read_index
from blendset_trainer.synthesis.engine import generate_views
from blendset_trainer.synthesis.prompts.prompt_files import read_prompts
from blendset_trainer.synthesis.settings import TextToImageSettings
from blendset_trainer.synthesis.synthesize import synthesize
from blendset_trainer.synthesis.text_to_image import TextToImage, request_images
from blendset_trainer.synthetic_views import SYNTHESIS, has_camera, read_synthesis
from tests.trainer.tiny_datasets import thirty_views
from tests.trainer.tiny_pipelines import KINDS, PIXELS, Make, maker


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Three views with captions."""
    made = thirty_views(tmp_path / "dataset")
    for folder in sorted((made.root / "views").glob("*/*"))[3:]:
        shutil.rmtree(folder)
    made.rebuild_index({view.view_id: f"a red chair {number}" for number, view in enumerate(made.views())})
    return made


def synthesized(dataset: Dataset, model: Path, *words: str) -> int:
    return main(["synthesize", "text-to-image", str(dataset.root), "--model", str(model), "--steps", "2",
                 "--width", str(PIXELS), "--height", str(PIXELS), *words])  # fmt: skip


def made_in(dataset: Dataset) -> dict[str, dict[str, bytes]]:
    """The files of synthesized views."""
    views = [view for view in dataset.views() if view.source == "synthetic"]
    folders = {view.view_id: dataset.view_folder(view.scene, view.view_id) for view in views}
    return {name: {path.name: path.read_bytes() for path in folder.iterdir()} for name, folder in folders.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_each_family_makes_pictures_of_captions(pipeline: Make, dataset: Dataset, kind: str) -> None:
    assert synthesized(dataset, pipeline(kind), "--variants", "2") == 0
    views = [view for view in dataset.views() if view.source == "synthetic"]
    assert len(views) == 6
    assert len({view.view_set for view in views}) == 3
    assert verify_dataset(dataset).problems == ()
    made = read_synthesis(dataset.view_folder(views[0].scene, views[0].view_id))
    assert made.prompt.startswith("a red chair")
    assert made.parents[0] in {view.view_id for view in dataset.views()}
    assert (made.job, made.steps, len(made.revision)) == ("text-to-image", 2, 64)
    assert made.scheduler["class"].endswith("Scheduler")
    assert not has_camera(views[0].camera)


def test_a_pipeline_is_asked_to_read_no_further_than_its_tokenizer_does(pipeline: Make) -> None:
    generator = find_pipeline(str(pipeline("flux")), 2)
    flux = generator.load()
    assert "max_sequence_length" not in generator.make_call_options(flux)
    flux.pipeline.tokenizer_2.model_max_length = 20
    assert generator.make_call_options(flux)["max_sequence_length"] == 20
    without_t5 = find_pipeline(str(pipeline("stable_diffusion_3_without_t5")), 2)
    assert "max_sequence_length" not in without_t5.make_call_options(
        without_t5.load()
    )  # zeros stand there, as many as it likes


def test_what_is_there_is_not_made_again(pipeline: Make, dataset: Dataset, capsys: pytest.CaptureFixture[str]) -> None:
    model = pipeline("pixart_sigma")
    assert synthesized(dataset, model, "--cfg-scale", "3", "--json") == 0
    first = made_in(dataset)
    assert json.loads(capsys.readouterr().out)["made"] == 3
    shutil.rmtree(next((dataset.root / "views").glob(f"*/{sorted(first)[1]}")))
    assert synthesized(dataset, model, "--cfg-scale", "3", "--json") == 0
    assert (json.loads(capsys.readouterr().out)["kept"], made_in(dataset)) == (2, first)
    assert synthesized(dataset, model, "--cfg-scale", "4", "--json") == 0
    assert len(made_in(dataset)) == 6


def test_prompts_that_were_written_are_drawn_for_their_views(pipeline: Make, dataset: Dataset, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    assert main(["caption", str(dataset.root), "--with", "metadata"]) == 0
    assert main(["prompts", str(dataset.root), "--kind", "text-to-image", "--count", "2", "--out", str(prompts)]) == 0
    assert synthesized(dataset, pipeline("pixart_sigma"), "--prompts", str(prompts)) == 0
    asked = {each.parts["view"]: each.prompt for each in read_prompts(prompts)}
    views = [view for view in dataset.views() if view.source == "synthetic"]
    made = [read_synthesis(dataset.view_folder(view.scene, view.view_id)) for view in views]
    assert {each.parents[0]: each.prompt for each in made} == asked
    assert len(asked) == 2


def test_processes_make_the_same_bytes(pipeline: Make, dataset: Dataset, tmp_path: Path) -> None:
    other = Dataset(shutil.copytree(dataset.root, tmp_path / "other"))
    assert synthesized(dataset, pipeline("stable_diffusion"), "--batch", "1") == 0
    assert (
        synthesized(other, pipeline("stable_diffusion"), "--batch", "1", "--executor", "processes", "--workers", "2")
        == 0
    )
    assert made_in(dataset) == made_in(other)


class Short(TextToImage):
    """A device on which two pictures at once are one too many."""

    def generate(self, dataset: Dataset, batch: Any) -> Any:
        if len(batch) > 1:
            torch.empty(1 << 60)  # for which no device has room
        return super().generate(dataset, batch)


def test_a_batch_that_is_too_large_is_halved(pipeline: Make, dataset: Dataset) -> None:
    generator = find_pipeline(str(pipeline("stable_diffusion")), 2)
    wanted = list(
        request_images(Short(generator, PIXELS, PIXELS), [(view, "a chair") for view in dataset.views()], 1, 0)
    )
    report = generate_views(dataset, Short(generator, PIXELS, PIXELS), wanted, LocalExecutor(), 4)
    assert (report.made, report.failed) == (3, {})
    assert any("going on with half as many" in note for note in report.notes)


@pytest.mark.parametrize(
    ("error", "is_that"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"), True),
        (RuntimeError("[enforce fail] data. DefaultCPUAllocator: not enough memory: you tried to allocate 9"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (MemoryError(), True),
        (RuntimeError("The size of tensor a (4) must match the size of tensor b (3)"), False),
        (RuntimeError(), False),
    ],
)
def test_too_little_memory_is_told_from_other_errors(error: Exception, is_that: bool) -> None:
    """As each device says it, CPUs on Windows among them."""
    assert is_out_of_memory(error) == is_that


class Broken(TextToImage):
    """The first picture is not finite, the second black."""

    def generate(self, dataset: Dataset, batch: Any) -> Any:
        pictures = np.array(super().generate(dataset, batch))
        pictures[0], pictures[1] = np.nan, 0
        return list(pictures)


def test_what_is_no_picture_is_said_and_the_others_go_on(pipeline: Make, dataset: Dataset) -> None:
    broken = Broken(find_pipeline(str(pipeline("stable_diffusion")), 2), PIXELS, PIXELS)
    captioned = [(view, "a chair") for view in dataset.views()]
    report = generate_views(dataset, broken, list(request_images(broken, captioned, 1, 0)), LocalExecutor(), 4)
    assert report.made == 1
    first, second = report.failed.values()
    assert "is not finite; use --precision" in first
    assert "is of one colour" in second


def test_variants_are_drawn_one_by_one_where_there_is_no_room_for_more(pipeline: Make, dataset: Dataset) -> None:
    short = Short(find_pipeline(str(pipeline("stable_diffusion")), 2), PIXELS, PIXELS)
    captioned = [(view, "a chair") for view in dataset.views()]
    report = generate_views(dataset, short, list(request_images(short, captioned, 3, 0)), LocalExecutor(), 1)
    assert (report.made, report.failed, report.notes) == (9, {}, ())


def test_the_old_spelling_does_the_same_and_says_the_new_one(pipeline: Make, dataset: Dataset, capsys: Any) -> None:
    words = ["--model", str(pipeline("stable_diffusion")), "--steps", "2", "--width", "32", "--height", "32"]
    for option in (["--job", "text-to-image"], ["--job=text-to-image"]):
        assert main(["synthesize", str(dataset.root), *option, *words, "--json"]) == 0
        said = capsys.readouterr()
        assert said.err.splitlines()[0] == (
            "blendset: write 'blendset synthesize text-to-image DATASET ...'; --job is taken for one more release."
        )
        made = made_in(dataset)
        assert main(["synthesize", "text-to-image", str(dataset.root), *words, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["kept"] == len(made) == 3
        assert made_in(dataset) == made


def test_a_call_does_what_the_command_does(pipeline: Make, dataset: Dataset, capsys: Any) -> None:
    size: dict[str, Any] = {"width": PIXELS, "height": PIXELS}
    steps: list[tuple[str, int, int]] = []
    settings = TextToImageSettings(model=str(pipeline("stable_diffusion")), steps=2, **size)
    report = synthesize(dataset, settings, variants=2, on_progress=lambda *step: steps.append(step))
    assert (report.made, report.kept, report.failed, report.left_out) == (6, 0, {}, ())
    assert (steps[0], steps[-1]) == (("pictures", 0, 6), ("pictures", 6, 6))
    made = made_in(dataset)
    again = synthesize(str(dataset.root), job="text-to-image", model=settings.model, steps=2, variants=2, **size)
    assert (again.made, again.kept, made_in(dataset)) == (0, 6, made)
    assert synthesized(dataset, Path(settings.model), "--variants", "2", "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(asdict(again)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "There is no job; give settings such as RestyleSettings, or job='restyle'."),
        ({"job": "restile"}, "There is no job 'restile'; did you mean 'restyle'?"),
        ({"job": "restyle", "model": "m", "width": 32}, "RestyleSettings has no option 'width'"),
        ({"job": "restyle", "prompt": "a red chair"}, "RestyleSettings lacks the option 'model'"),
        ({"job": "restyle", "settings": TextToImageSettings(model="m")}, "are for the job 'text-to-image', not 'rest"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(dataset: Dataset, options: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        synthesize(dataset, **options)


def test_what_is_not_read_is_refused(pipeline: Make, dataset: Dataset, capsys: Any) -> None:
    assert synthesized(dataset, pipeline("stable_diffusion"), "--prompt", "a green ball") == 2
    assert (
        "--prompt is not for 'blendset synthesize text-to-image' but for restyle; leave it out"
        in capsys.readouterr().err
    )
    assert synthesized(dataset, pipeline("flux_depth")) == 1
    assert "is a FluxControlPipeline, which draws from pictures" in capsys.readouterr().err


def test_a_view_whose_prompt_is_lost_leaves_the_others_captioned(pipeline: Make, dataset: Dataset) -> None:
    assert synthesized(dataset, pipeline("stable_diffusion")) == 0
    lost = next(view for view in dataset.views() if view.source == "synthetic")
    (dataset.view_folder(lost.scene, lost.view_id) / SYNTHESIS).unlink()
    assert main(["caption", str(dataset.root), "--with", "metadata"]) == 0
    said = read_captions(dataset, read_index(dataset), ("dense",))["dense"]
    assert len(said) - said.null_count == 2


def test_a_prompt_longer_than_the_encoder_is_one_sentence(pipeline: Make, dataset: Dataset, capsys: Any) -> None:
    words = {view.view_id: "red " * (30 if number == 1 else 3) for number, view in enumerate(dataset.views())}
    dataset.rebuild_index(words)
    assert synthesized(dataset, pipeline("stable_diffusion")) == 0
    assert "has 32 tokens and StableDiffusionPipeline reads 16; shorten it." in capsys.readouterr().err
    assert len(made_in(dataset)) == 2


@pytest.mark.parametrize(
    ("kind", "words", "says"),
    [
        ("flux", ["--embedded-guidance", "3.5", "--cfg-scale", "2"], ""),
        ("flux_schnell", ["--embedded-guidance", "3.5"], "has no guidance embedded; use --cfg-scale"),
        ("stable_diffusion", ["--embedded-guidance", "3.5"], "has no guidance embedded; use --cfg-scale"),
        ("stable_diffusion_3", ["--width", "34"], "A side of 34 pixels is no multiple of 4"),
    ],
)
def test_guidance_and_sizes_are_what_the_model_has(
    pipeline: Make, dataset: Dataset, kind: str, words: list[str], says: str, capsys: Any
) -> None:
    assert synthesized(dataset, pipeline(kind), *words) == (1 if says else 0)
    assert says in capsys.readouterr().err


def test_the_caption_of_a_synthesized_view_is_its_prompt(pipeline: Make, dataset: Dataset) -> None:
    assert synthesized(dataset, pipeline("stable_diffusion")) == 0
    assert main(["caption", str(dataset.root), "--with", "metadata"]) == 0
    index = read_index(dataset)
    dense = read_captions(dataset, index, ("dense",))["dense"].to_pylist()
    said = dict(zip(index["view_id"].to_pylist(), dense, strict=True))
    for view in dataset.views():
        if view.source == "synthetic":
            assert said[view.view_id] == read_synthesis(dataset.view_folder(view.scene, view.view_id)).prompt

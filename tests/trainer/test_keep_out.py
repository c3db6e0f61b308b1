# SPDX-License-Identifier: Apache-2.0
"""`keep_out` in a training configuration: pictures of captions that evaluate are not trained, and that is said."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from blendset.errors import BlendsetError
from blendset_trainer.language.decontamination import Decontaminator
from blendset_trainer.readers.findings import report_findings
from blendset_trainer.training.data.sources import CaptionWeights, Source, SourceSettings, load_source
from blendset_trainer.training.resuming import RunIdentity
from blendset_trainer.training.settings import TrainConfig, make_train_config
from blendset_trainer.training.setup import load_sources
from tests.trainer.tiny_pipelines import stable_diffusion
from tests.trainer.tiny_runs import config_of, prepared, run_of

CAPTIONS = {
    "barn.png": "At noon a grey heron stands in a canoe near the barn",
    "plums.png": "Two plums",
    "cup.png": "a cup of tea on a shelf",
    "dog.png": "Small photo: A dog wearing a hat.",
    "held-out/heron.png": "a grey heron stands in a canoe",
}
LIST = "Prompt\tCategory\nA grey heron, stands in a canoe\tAnimals\na dog wearing a hat\tAnimals\ncup\tBasic\n"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos with captions, of which one is held out, and a list of prompts beside their folder."""
    folder = tmp_path / "photos"
    (folder / "held-out").mkdir(parents=True)
    for number, (name, caption) in enumerate(CAPTIONS.items()):
        Image.new("RGB", (32, 32), (40 * number, 90, 9)).save(folder / name)
        (folder / name).with_suffix(".txt").write_text(caption, encoding="utf-8")
    (tmp_path / "list.tsv").write_text(LIST, encoding="utf-8")
    return folder


def make_config(photos: Path, model: Path = Path(), **changes: Any) -> TrainConfig:
    """A run of two steps on the photos."""
    changes = {"source": [{"name": "photo", "kind": "photo", "folder": str(photos)}], **changes}
    changes["train"] = {"samples": 4, "batch": 2, "checkpoint_every": 2, "cache": False, **changes.get("train", {})}
    return config_of(model, photos, photos.parent / "run", **changes)


def list_trained(source: Source) -> list[str]:
    """The samples of a source by their first caption."""
    return sorted(next(iter(sample.captions.values())) for sample in source)


def test_pictures_of_prompts_that_evaluate_are_left_out_and_counted(photos: Path) -> None:
    sources = load_sources(make_config(photos, keep_out=[str(photos.parent / "list.tsv")]))
    assert list_trained(sources.training[0]) == ["Two plums", "a cup of tea on a shelf"]
    assert list_trained(sources.held_out[0]) == [CAPTIONS["held-out/heron.png"]]  # they are what a run is measured on
    said: list[str] = []
    report_findings(sources.list_findings(), said.append, strict=True)  # it was asked for, so it does not matter
    assert said == [
        "Source 'photo': left out, held out: 1 (held-out/heron.png).",
        "Source 'photo': left out, captions that share words with a prompt of keep_out: 2 (barn.png, dog.png).",
    ]


def test_several_lists_add_up(photos: Path) -> None:
    (photos.parent / "more.txt").write_text("two plums\n", encoding="utf-8")
    lists = [str(photos.parent / name) for name in ("list.tsv", "more.txt")]
    assert list_trained(load_sources(make_config(photos, keep_out=lists)).training[0]) == ["a cup of tea on a shelf"]


def test_captions_that_are_never_used_leave_nothing_out(photos: Path) -> None:
    settings = SourceSettings("photo", folder=str(photos), captions=CaptionWeights(short=0, dense=0, none=1))
    assert len(load_source(settings, keep_out=Decontaminator(CAPTIONS.values()))) == 4


def test_a_source_of_nothing_else_is_refused(photos: Path) -> None:
    (photos.parent / "all.txt").write_text("\n".join(CAPTIONS.values()), encoding="utf-8")
    says = r"nothing to train on in .*photos \(captions that share words with a prompt of keep_out: 4\)"
    with pytest.raises(BlendsetError, match=says):
        load_sources(make_config(photos, keep_out=[str(photos.parent / "all.txt")]))


def test_a_list_that_is_none_is_refused(photos: Path) -> None:
    with pytest.raises(BlendsetError, match=r"none\.tsv cannot be read"):
        load_sources(make_config(photos, keep_out=[str(photos / "none.tsv")]))
    with pytest.raises(BlendsetError, match="keep_out"):
        make_config(photos, keep_out="list.tsv")


def test_a_run_goes_on_with_lists_that_leave_nothing_out_and_with_no_others(photos: Path, tmp_path: Path) -> None:
    model = stable_diffusion(tmp_path / "model")
    run = run_of(make_config(photos, model))
    (tmp_path / "other.txt").write_text("an iron bridge over a wide river\n", encoding="utf-8")
    longer = {"train": {"samples": 8}}
    again = prepared(make_config(photos, model, keep_out=[str(tmp_path / "other.txt")], **longer))
    assert again.state.step == run.state.step == 2
    with pytest.raises(BlendsetError, match="the sources hold other pictures or captions"):
        prepared(make_config(photos, model, keep_out=[str(tmp_path / "list.tsv")], **longer))


def test_a_checkpoint_from_before_there_were_lists_is_of_none(photos: Path) -> None:
    facts = RunIdentity(make_config(photos), "model", "samples").facts["config"]
    del facts["keep_out"]
    assert make_train_config(facts, "checkpoint") == make_config(photos)


def test_a_hundred_thousand_captions_take_seconds() -> None:
    """A million takes ten times as long; here far less than this limit."""
    lists = [f"a {thing} number {number}" for thing in ("red fox", "tiny cup") for number in range(2000)]
    captions = [f"a photo of a {number} year old chair beside the tiny cup on a table" for number in range(100_000)]
    finder = Decontaminator(lists)
    started = time.process_time()
    assert not any(map(finder.find_run, captions))
    assert time.process_time() - started < 10
    assert finder.find_run("so a tiny cup number 7") == "a tiny cup number 7"

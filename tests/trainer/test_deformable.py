# SPDX-License-Identifier: Apache-2.0
"""Sets of pictures from prompts alone: the words of the subject say where it is, and only that is shared."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.verification import verify_dataset
from blendset_trainer.cli.main import main
from blendset_trainer.diffusion.randomness import seed_generators
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, write_prompts
from blendset_trainer.synthesis.subject_attention import (
    SubjectAttention,
    compute_word_attention,
    find_word_tokens,
    threshold_attention,
)
from blendset_trainer.synthetic_views import read_synthesis
from tests.trainer.tiny_datasets import make_dataset
from tests.trainer.tiny_models import tokenizer
from tests.trainer.tiny_pipelines import PIXELS, Make, maker

TEXTS = ["The Red Lamp in a room. a red lamp", "a red lamp beside the table. a red lamp", "the red lamp. a red lamp"]

GRID = PIXELS // 4, PIXELS // 4
HOW = {"height": PIXELS, "width": PIXELS, "num_inference_steps": 3, "output_type": "latent"}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("pipelines"))


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_dataset(tmp_path / "dataset")


def quiet(model: Path) -> Any:
    loaded = diffusers.DiffusionPipeline.from_pretrained(model)
    loaded.set_progress_bar_config(disable=True)
    return loaded


def prompts(folder: Path, *sets: Sequence[str], label: str = "red lamp") -> Path:
    """A file of sets of prompts."""
    write_prompts(
        folder / "prompts.jsonl",
        [
            Prompt(text, label, "deformable", {"set": str(number)}, "test", 0)
            for number, texts in enumerate(sets)
            for text in texts
        ],
    )
    return folder / "prompts.jsonl"


def synthesized(dataset: Dataset, model: Path, prompts: Path, *words: str) -> int:
    return main(["synthesize", "deformable", str(dataset.root), "--model", str(model), "--prompts",
                 str(prompts), "--steps", "3", "--width", str(PIXELS), "--height", str(PIXELS), *words])  # fmt: skip


def pictures(dataset: Dataset) -> dict[str, bytes]:
    return {view.view_id: dataset.rgb_path(view).read_bytes() for view in dataset.views()}


@pytest.mark.parametrize("kind", ["flux", "flux_schnell", "stable_diffusion_3", "stable_diffusion_3_without_t5"])
def test_prompts_become_sets_without_renders(pipeline: Make, dataset: Dataset, tmp_path: Path, kind: str) -> None:
    file = prompts(tmp_path, TEXTS, TEXTS[:2])
    assert synthesized(dataset, pipeline(kind), file) == 0
    assert verify_dataset(dataset).problems == ()
    views = list(dataset.views())
    assert sorted(Counter(view.subject for view in views).values()) == [2, 3]
    assert {view.subject_label for view in views} == {"red lamp"}
    one_set = [view for view in views if view.view_set == views[0].view_set]
    made = {view.view_index: read_synthesis(dataset.rgb_path(view).parent) for view in one_set}
    assert [made[number].prompt for number in sorted(made)] == TEXTS[: len(made)]
    assert made[0].parents == ()
    first = pictures(dataset)
    shutil.rmtree(dataset.rgb_path(views[0]).parent)
    assert synthesized(dataset, pipeline(kind), file) == 0
    assert pictures(dataset) == first


def test_pictures_of_a_set_see_each_other(pipeline: Make) -> None:
    loaded = quiet(pipeline("flux"))

    def last(*texts: str) -> Tensor:
        words = [find_word_tokens([(loaded.tokenizer_2, 0)], text, "red lamp") for text in texts]
        with SubjectAttention(loaded.transformer, words, GRID) as followed:
            made = loaded(list(texts), generator=seed_generators([0, 1]), callback_on_step_end=followed, **HOW).images
        assert 0 < followed.masks.float().mean() < 1
        return made[-1]  # type: ignore[no-any-return]

    stock = dict(loaded.transformer.attn_processors)
    assert (last(TEXTS[0], TEXTS[2]) - last(TEXTS[1], TEXTS[2])).abs().max() > 1e-3
    assert loaded.transformer.attn_processors == stock


@pytest.mark.parametrize("kind", ["flux", "stable_diffusion_3"])
def test_what_pictures_should_not_be_says_nothing_of_where_the_subject_is(pipeline: Make, kind: str) -> None:
    loaded = quiet(pipeline(kind))
    first_reader = loaded.tokenizer_2 if kind == "flux" else loaded.tokenizer
    tokens = [find_word_tokens([(first_reader, 0)], text, "red lamp") for text in TEXTS]
    guided = {"true_cfg_scale": 3.0} if kind == "flux" else {"guidance_scale": 3.0}

    def masks(negative_prompt: str) -> Tensor:
        with SubjectAttention(loaded.transformer, tokens, GRID) as followed:
            loaded(TEXTS, negative_prompt=[negative_prompt] * 3, **guided, **HOW | {"num_inference_steps": 1},
                   generator=seed_generators([0, 1, 2]), callback_on_step_end=followed)  # fmt: skip
        return followed.masks

    assert torch.equal(masks("blue"), masks("a table"))


def test_words_are_found_in_any_case_and_wherever_they_are() -> None:
    words = tokenizer(limit=64)  # a token for each word, and one before them
    text = "The Red Lamp beside a red lamp"
    assert find_word_tokens([(words, 0), (words, 100)], text, "red lamp").tolist() == [2, 3, 6, 7, 102, 103, 106, 107]
    with pytest.raises(BlendsetError, match=r"The prompt 'The Red Lamp beside a red lamp\.\.\.' does not say 'chair'"):
        find_word_tokens([(words, 0)], text, "chair")


def test_attention_is_the_share_that_the_words_have() -> None:
    """Where a key is what the words ask for, they have nearly all of the softmax over the caption."""
    texts, tokens, heads, width = 5, 6, 2, 8
    queries = torch.zeros(1, texts, heads, width)
    queries[0, 2, :, 0] = queries[0, 3, :, 0] = 40.0
    keys = torch.zeros(1, tokens, heads, width)
    keys[0, 4, :, 0] = 1.0
    share = compute_word_attention([torch.tensor([2, 3])], queries, keys)
    torch.testing.assert_close(share[0, [0, 1, 2, 3, 5]], torch.full((5,), 2 / 5))
    assert share[0, 4] > 0.999


def test_the_foreground_is_what_stands_out_and_what_lies_beside() -> None:
    attention = torch.full((2, 6, 8), 0.1)
    attention[0, 1, 1] = attention[0, 1, 2] = 0.9
    mask = threshold_attention(attention)
    assert mask[0].nonzero().tolist() == [[row, column] for row in range(3) for column in range(4)]
    assert not mask[1].any(), "nothing stands out"


def test_what_cannot_be_is_one_sentence_and_other_sets_go_on(
    pipeline: Make, dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = prompts(tmp_path, TEXTS[:1], ["the lamp", "a red lamp"], TEXTS[:2])
    assert synthesized(dataset, pipeline("flux"), file) == 0
    said = capsys.readouterr().err
    assert "The set of 'The Red Lamp in a room. a red lamp...' has one prompt; give it several" in said
    assert "The prompt 'the lamp...' does not say 'red lamp'" in said
    assert len(pictures(dataset)) == 2
    assert synthesized(dataset, pipeline("flux"), file, "--width", "30") == 1
    assert "A side of 30 pixels is no multiple of 4" in capsys.readouterr().err
    assert synthesized(dataset, pipeline("stable_diffusion"), file) == 1
    assert "is a StableDiffusionPipeline, whose captions do not ask where things are" in capsys.readouterr().err
    lines = [json.loads(line) | {"kind": "restyle"} for line in file.read_text().splitlines()]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert synthesized(dataset, pipeline("flux"), file) == 1
    assert "has no prompt of kind 'deformable'; write some with that --kind." in capsys.readouterr().err

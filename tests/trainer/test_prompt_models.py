# SPDX-License-Identifier: Apache-2.0
"""What prompts are measured by: Data-Juicer's shares as Data-Juicer computes them, perplexity as transformers does, a
judgement of yes or no, and embeddings. Tiny models with weights of our own go through the loaders of real ones.
"""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from blendset.errors import BlendsetError
from blendset_trainer.cli.main import main
from blendset_trainer.models.chat.chat_model import ChatRequest
from blendset_trainer.models.chat.finding import find_text_model
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.itm import find_itm_scorer
from blendset_trainer.scoring.preference import find_preference_scorer
from blendset_trainer.synthesis.prompts import text_models
from blendset_trainer.synthesis.prompts.curation import RemovedPrompt
from blendset_trainer.synthesis.prompts.model_filters import drop_alike, keep_farthest, keep_measured
from blendset_trainer.synthesis.prompts.prompt_files import Prompt, read_prompts
from blendset_trainer.synthesis.prompts.reply_cache import AnswerCache
from blendset_trainer.synthesis.prompts.text_measures import (
    MEASURES,
    compute_english_ratio,
    compute_flagged_ratio,
    count_content_words,
)
from blendset_trainer.synthesis.prompts.text_models import (
    HfTextEncoder,
    PerplexityModel,
    PromptJudge,
    embed_texts,
    find_clip_encoder,
    find_text_encoder,
)
from tests.trainer.record_data_juicer import CAPTIONS, GOLDEN, make_pictures
from tests.trainer.test_prompts import Desk, desk  # noqa: F401
from tests.trainer.tiny_models import Make, maker

Capture = pytest.CaptureFixture[str]
TEXTS = ["a red chair", "a blue lamp beside a red chair", "chair", "the room and the red chair " * 60, "lamp a a a"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("models"))


def as_prompts(texts: list[str]) -> list[Prompt]:
    return [Prompt(text, "", "free", {}, "test", 0) for text in texts]


# --- texts ------------------------------------------------------------------------------------------------------------


RECORD = json.loads(GOLDEN.read_text("utf-8"))


@pytest.mark.parametrize("measure", RECORD["shares"])
def test_five_hundred_texts_measure_as_data_juicer_measures_them(measure: str) -> None:
    """The record says which release; record_data_juicer.py makes it anew."""
    flagged = frozenset(RECORD["flagged"])
    compute = MEASURES.get(measure) or (lambda text: compute_flagged_ratio(text, flagged))
    assert len({*RECORD["texts"]}) > 450
    assert sum(share > 0 for share in RECORD["shares"][measure]) > 100
    ours = [compute(text) for text in RECORD["texts"]]
    np.testing.assert_allclose(ours, RECORD["shares"][measure], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "content", "english"),
    [
        ("A red fox sleeps beside a red stone.", 3, 1),
        ("It is what it was.", 0, 1),
        ("Ein roter Fuchs schläft auf Steinen", 0, 0),
        ("一只红色的狐狸", 0, 0),
        ("", 0, 0),
    ],
)
def test_words_with_content_and_of_english(text: str, content: int, english: float) -> None:
    assert compute_english_ratio(text) == pytest.approx(english, abs=0.2)
    if english:
        assert count_content_words(text) == content


def test_pairs_measure_as_data_juicer_measures_them_by_the_same_model(model: Make) -> None:
    """Row 7 of SynthVLM's table, and row 8 for a CLIP of transformers: Data-Juicer's is the score divided by 100."""
    views: list[Any] = [
        SimpleNamespace(rgb=rgb, caption=text) for rgb, text in zip(make_pictures(), CAPTIONS, strict=True)
    ]
    itm, preference = find_itm_scorer(str(model("itm"))), find_preference_scorer(str(model("clip")))
    itm.setup()
    preference.setup()
    matches = [row["p_match"] for row in itm.compute_rows(views)]
    scores = [row["score"] / 100 for row in preference.compute_rows(views)]
    np.testing.assert_allclose(matches, RECORD["pairs"]["itm"], atol=1e-4)
    np.testing.assert_allclose(scores, RECORD["pairs"]["similarity"], atol=1e-4)
    assert np.std(matches) > 0.01 and np.std(scores) > 0.001


# --- perplexity -------------------------------------------------------------------------------------------------------


def test_perplexity_is_exp_of_transformers_own_loss(model: Make, tmp_path: Path) -> None:
    folder = model("causal")
    measured = PerplexityModel(find_model(str(folder)), AnswerCache(tmp_path / "out.jsonl")).compute(TEXTS)
    causal, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    for text, perplexity in zip(TEXTS, measured, strict=True):
        ids = tokenizer(text, truncation=True, max_length=256, return_tensors="pt").input_ids
        with torch.inference_mode():
            assert perplexity == pytest.approx(math.exp(causal(input_ids=ids, labels=ids).loss.item()), rel=1e-4)
    assert len({*measured}) == len(TEXTS)


# --- judgements -------------------------------------------------------------------------------------------------------


def test_a_local_judge_weighs_yes_against_no(model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = find_text_model(str(model("causal")))
    judge = PromptJudge(chat, AnswerCache(tmp_path / "out.jsonl"), "good? {prompt}", 8)
    monkeypatch.setattr(text_models, "LEAST_ANSWERED", 0)
    judged = judge.judge(TEXTS)
    rows = chat.compute_probabilities([ChatRequest((), f"good? {text}") for text in TEXTS], ("yes", "no"))  # type: ignore[attr-defined]
    assert judged == pytest.approx([yes / (yes + no) for yes, no in rows], rel=1e-4)
    assert len({*judged}) > 3
    monkeypatch.setattr(text_models, "LEAST_ANSWERED", 0.999)
    assert judge.judge(TEXTS) == [None] * len(TEXTS)  # it says neither


def test_a_servers_word_counts_and_is_asked_for_once(desk: Desk, tmp_path: Path, capsys: Capture) -> None:  # noqa: F811
    pool, out = tmp_path / "pool.txt", tmp_path / "out.jsonl"
    pool.write_text("\n".join(f"A red fox, number {number}, beside a stream." for number in range(5)))
    words = ["prompts", "--pool", str(pool), "--curate", "none", "--out", str(out), "--judge", desk.spec, "--json"]
    replies = ["Yes.", "no", "**Yes**, for it is clear", "<think>no</think> Yes", "As a model I cannot say"]
    desk.choices = [{"message": {"content": reply}} for reply in replies]
    desk.statuses = [200, 200, 200, 400]
    assert main(words) == 1
    assert not out.exists()
    desk.choices = [{"message": {"content": reply}} for reply in replies[3:]]
    asked = len(desk.asked)
    assert main(words) == 0
    report = json.loads(capsys.readouterr().out)
    kept = [int(each.prompt[len("A red fox, number ")]) for each in read_prompts(out)]
    assert len(kept) + len(report["removed"]) == 5
    assert {each["reason"] for each in report["removed"]} == {"judged unclear"}
    assert sorted(each["detail"] for each in report["removed"]) == ["0", "no answer"]
    assert len({*desk.asked}) == len(desk.asked) == 5 and asked >= 3
    assert all("detailed, coherent and clear" in question for question in desk.asked)
    assert main(words) == 0
    assert len(desk.asked) == 5


def test_a_killed_run_goes_on_where_it_was(model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = tmp_path / "pool.txt"
    pool.write_text("\n".join(f"a red chair {number} beside the lamp" for number in range(200)))
    (tmp_path / "rules.toml").write_text("[judge]\nat_least = 0.01\n")
    folder = model("causal")
    monkeypatch.setattr(text_models, "LEAST_ANSWERED", 0)

    def run(out: str) -> int:
        words = ["--perplexity", f"{folder}=1e9", "--judge", f"hf:{folder}", "--curate", str(tmp_path / "rules.toml")]
        return main(["prompts", "--pool", str(pool), "--out", str(tmp_path / out), *words])

    assert run("whole.jsonl") == 0
    whole = (tmp_path / "whole.replies.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    assert len(lines) == 400
    (tmp_path / "cut.replies.jsonl").write_bytes(b"".join(lines[:300]) + lines[300][:20])
    asked: list[int] = []
    measure = PerplexityModel._measure

    def count(self: PerplexityModel, texts: list[str]) -> list[Any]:
        asked.append(len(texts))
        return measure(self, texts)

    monkeypatch.setattr(PerplexityModel, "_measure", count)
    assert run("cut.jsonl") == 0
    assert 0 < sum(asked) < 200
    assert (tmp_path / "cut.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert run("cut.jsonl") == 0


# --- embeddings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["text", "clip"])
def test_a_text_encoder_of_transformers_embeds_each_text_as_alone(model: Make, kind: str) -> None:
    encoder = find_text_encoder(str(model(kind)))
    together = embed_texts(encoder, TEXTS)
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, rel=1e-5)
    for text, row in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(embed_texts(encoder, [text])[0], row, atol=1e-5)
    assert len(np.unique(together.round(4), axis=0)) >= 4


def test_what_is_alike_goes_and_the_farthest_stay(model: Make) -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(700, 6)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    prompts = as_prompts([f"prompt {number}" for number in range(len(points))])
    embed = lambda texts: points[[int(text.split()[1]) for text in texts]]  # noqa: E731
    removed: list[RemovedPrompt] = []
    kept = list(drop_alike(prompts, embed, 0.9, removed))
    numbers = [int(prompt.prompt.split()[1]) for prompt, _ in kept]
    expected: list[int] = []
    for number, point in enumerate(points):
        if not expected or (points[expected] @ point).max() < 0.9:
            expected.append(number)
    assert numbers == expected
    assert len(removed) == len(points) - len(kept) > 100
    assert all(points[int(each.prompt.split()[1])] @ points[int(each.detail.split()[1])] >= 0.9 for each in removed)
    few = keep_farthest(kept, 20, 0, removed := [])
    assert len(few) == 20 and len(removed) == len(kept) - 20
    assert few == sorted(few, key=lambda prompt: int(prompt.prompt.split()[1]))
    chosen = points[[int(prompt.prompt.split()[1]) for prompt in few]]
    first = (points[numbers[:20]] @ points[numbers[:20]].T)[np.triu_indices(20, 1)].max()
    assert (chosen @ chosen.T)[np.triu_indices(20, 1)].max() < first  # farther apart than the first twenty
    assert keep_farthest(kept, 20, 0, []) == few != keep_farthest(kept, 20, 1, [])
    assert keep_farthest(kept, 10_000, 0, []) == [prompt for prompt, _ in kept]


def test_the_command_keeps_prompts_that_differ(model: Make, tmp_path: Path, capsys: Capture) -> None:
    pool = tmp_path / "pool.txt"
    texts = ["a red chair", "a red chair", "a blue lamp beside the wooden table", "1 2 3 4 5 6 7 8 9"]
    pool.write_text("\n".join(texts))
    words = ["prompts", "--pool", str(pool), "--curate", "none", "--json", "--embed", f"clip:{model('open_clip')}"]
    assert main([*words, "--out", str(tmp_path / "all.jsonl")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["removed"][0] == {"prompt": "a red chair", "reason": "too similar", "detail": "a red chair"}
    assert main([*words, "--out", str(tmp_path / "one.jsonl"), "--count", "1"]) == 0
    reasons = {each["reason"] for each in json.loads(capsys.readouterr().out)["removed"]}
    assert "too similar" in reasons
    assert find_clip_encoder(str(model("open_clip"))).encode_texts(["a"]).shape == (1, 16)


def test_no_figure_is_a_reason(tmp_path: Path) -> None:
    removed: list[RemovedPrompt] = []
    values: dict[str, float | None] = {"a": 1.0, "b": None, "c": 3.25}
    kept = list(keep_measured(as_prompts([*values]), lambda texts: [values[text] for text in texts], "perplexity",
                              lambda value: value < 2, removed))  # fmt: skip
    assert [each.prompt for each in kept] == ["a"]
    assert removed == [RemovedPrompt("b", "perplexity", "no answer"), RemovedPrompt("c", "perplexity", "3.25")]


def test_a_model_of_another_kind_is_one_sentence(model: Make, tmp_path: Path) -> None:
    weights = find_model(str(model("dino")))
    with pytest.raises(BlendsetError, match="cannot be loaded as a causal language model"):
        PerplexityModel(weights, AnswerCache(tmp_path / "out.jsonl")).compute(["a"])
    with pytest.raises(BlendsetError, match="cannot be loaded as a model that embeds text"):
        HfTextEncoder(weights).encode_texts(["a"])


def test_code_of_a_models_own_is_not_run(model: Make, tmp_path: Path, capsys: Capture) -> None:
    folder = shutil.copytree(model("causal"), tmp_path / "remote")
    config = json.loads((folder / "config.json").read_text())
    own = {"model_type": "strange", "auto_map": {"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"}}
    (folder / "config.json").write_text(json.dumps(config | own))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    (tmp_path / "pool.txt").write_text("a red chair")
    words = ["prompts", "--pool", str(tmp_path / "pool.txt"), "--out", str(tmp_path / "out.jsonl")]
    for option in (["--perplexity", f"{folder}=9"], ["--judge", f"hf:{folder}"], ["--embed", f"hf:{folder}"]):
        assert main([*words, *option]) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "remote code stays off" in said
    assert not (tmp_path / "ran").exists()

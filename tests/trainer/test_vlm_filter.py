# SPDX-License-Identifier: Apache-2.0
"""BlendFusion's filter: GOOD or BAD with a reason, how probable each is, and no verdict where there is none."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset_trainer.cli.main import main
from blendset_trainer.models.chat.chat_model import ChatRequest, ReplyError, WeighedAnswer
from blendset_trainer.models.chat.finding import find_text_model
from blendset_trainer.models.chat.instructions import parse_verdict, read_prompt
from blendset_trainer.models.chat.local import LocalChatModel
from blendset_trainer.models.weights import find_model
from blendset_trainer.scoring.chat.vlm_filter import PROMPT, VERDICTS, VlmFilter, find_vlm_filter
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.run import run_stage
from blendset_trainer.stages.tables import read_index_with_stages
from tests.trainer import tiny_models
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

Row = dict[str, Any]
GREYS = (10, 20, 30, 40, 50)
ANSWERS = {
    10: "GOOD: a red chair in a room",
    20: "**BAD**: the frame is black",
    30: "It depends.",
    40: "<think>GOOD: or not?</think>\nBAD: cut off at the left",
    50: "I'm sorry, but I can't judge pictures.",
}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Five grey pictures, which a server knows by their level."""
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    for number, grey in enumerate(GREYS):
        add_picture(made, "attic", "chair", number, np.full((48, 64, 3), grey, np.uint8))
    made.rebuild_index()
    return made


def read_rows(dataset: Dataset, name: str) -> dict[int, Row]:
    """The filter's columns by grey level; views without a row are left out."""
    table = read_index_with_stages(dataset)
    columns = {column.rpartition(".")[2]: column for column in table.column_names if column.startswith(f"{name}.")}
    rows = {
        int(row["view_id"][-4:]): {short: row[column] for short, column in columns.items()} for row in table.to_pylist()
    }
    return {GREYS[number]: row for number, row in rows.items()}


# --- what an answer says ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("GOOD: a chair in a room", ("GOOD", "a chair in a room")),
        ("bad: nothing but a wall", ("BAD", "nothing but a wall")),
        ("**GOOD**: a chair", ("GOOD", "a chair")),
        ("**BAD: too dark.**", ("BAD", "too dark.")),
        ("BAD", ("BAD", None)),
        ("GOOD - clear view of a lamp", ("GOOD", "clear view of a lamp")),
        ("Let me look.\n\nGOOD: a lamp", ("GOOD", "a lamp")),
        ("<think>BAD: it is dark</think>GOOD: a lamp", ("GOOD", "a lamp")),
        ('```json\n{"answer": "BAD", "reason": "too dark"}\n```', ("BAD", "too dark")),
        ("> GOOD: a clock's face", ("GOOD", "a clock's face")),
        ("GOOD: (reason)\nBAD: (reason)", (None, None)),
        ("GOOD: or BAD: that is hard to say", (None, None)),
        ("Good light, but the chair is cut off", (None, None)),
        ("Not GOOD", (None, None)),
        ("GOODNESS: a lamp", (None, None)),
        ("BADLY cut", (None, None)),
        ("A chair.", (None, None)),
        ("", (None, None)),
    ],
)
def test_a_verdict_is_one_word_at_the_beginning_of_a_line(reply: str, verdict: tuple[str | None, str | None]) -> None:
    assert parse_verdict(reply, VERDICTS) == verdict


def test_the_question_asks_for_what_the_paper_asks_for_and_tells_the_model_nothing_of_the_view() -> None:
    """The criteria of BlendFusion's appendix, as its notes list them."""
    prompt = read_prompt(PROMPT)
    for words in (
        "specific nouns", "low resolution", "30 %", "short noun phrase", "textures are missing", "black patches",
        "too dark, too bright, too blurred or too noisy", "clock", "Be strict", "vague", "5 to 10 words",
    ):  # fmt: skip
        assert words.lower() in prompt.lower(), words
    assert re.findall(r"^(GOOD|BAD): \(reason\)$", prompt, re.MULTILINE) == ["GOOD", "BAD"]
    assert "{" not in prompt


# --- a model in this process ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that reads pictures and has tokens for three spellings of each word."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_models, "WORDS", (*tiny_models.WORDS, "GOOD", "Good", "BAD", "bad"))
        return tiny_models.qwen_model(tmp_path_factory.mktemp("models") / "seer")


def test_a_local_model_tells_how_probable_both_words_are(dataset: Dataset, eyes: Path) -> None:
    """Against transformers itself: the softmax over the first token of the answer."""
    assert main(["score", str(dataset.root), "--with", f"vlm-filter:{eyes}", "--max-tokens", "4"]) == 0
    rows = read_rows(dataset, "vlm-filter-seer")
    processor = transformers.AutoProcessor.from_pretrained(eyes)
    model = transformers.AutoModelForImageTextToText.from_pretrained(eyes).eval()
    vocabulary = processor.tokenizer.get_vocab()
    for grey, row in rows.items():
        picture = Image.new("RGB", (64, 48), (grey, grey, grey))
        message = [{"type": "image", "image": picture}, {"type": "text", "text": read_prompt(PROMPT)}]
        inputs = processor.apply_chat_template(
            [{"role": "user", "content": message}],
            add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
        )  # fmt: skip
        with torch.no_grad():
            first = model(**inputs).logits[0, -1].double().softmax(dim=-1)
        for name, spellings in (("p_good", ("GOOD", "Good")), ("p_bad", ("BAD", "bad"))):
            expected = sum(float(first[vocabulary[spelling]]) for spelling in spellings)
            assert row[name] == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert len({row["p_good"] for row in rows.values()}) == len(GREYS)
    assert {row["good"] for row in rows.values()} == {None}  # a random model says neither


def test_words_of_several_tokens_are_known_by_their_first(tmp_path: Path) -> None:
    """A tokenizer of bytes and of this text's words has no token for GOOD."""
    model = find_text_model(
        str(tiny_models.reciting_model(tmp_path / "critic", "BAD: the frame is black", by_word=True))
    )
    model.setup()
    request = ChatRequest([], "Is it good?")
    [weighed] = model.generate_weighed([request], VERDICTS, 64)
    assert isinstance(weighed.answer, str)
    assert parse_verdict(weighed.answer, VERDICTS) == ("BAD", "the frame is black")
    assert weighed.probabilities is not None
    p_good, p_bad = weighed.probabilities
    assert p_bad > 0.9
    assert p_good < 0.05
    with pytest.raises(BlendsetError, match="begins 'GOOD' and 'GREAT' with one token"):
        model.generate_weighed([request], ("GOOD", "GREAT"), 64)


# --- a server ---------------------------------------------------------------------------------------------------------


class Judge:
    """A server that answers by the grey of the picture; `style` is how it treats `logprobs`."""

    def __init__(self, style: str) -> None:
        self.asked: list[Row] = []
        judge = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                judge.asked.append(body)
                refuses = style == "refuses" and "logprobs" in body
                reply = {"error": {"message": "no logprobs"}} if refuses else judge.answer(body, style == "gives")
                self.send_response(400 if refuses else 200)
                self.end_headers()
                self.wfile.write(json.dumps(reply).encode())

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1?concurrency=1#qwen/judge"

    def answer(self, body: Row, gives: bool) -> Row:
        [url] = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
        picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
        text = ANSWERS[int(np.asarray(picture)[0, 0, 0])]
        choice: Row = {"message": {"content": text}, "finish_reason": "stop"}
        if gives and "logprobs" in body:
            choice["logprobs"] = {"content": [make_token(part) for part in re.findall(r"\W*\w{1,2}|\W+", text)]}
        return {"choices": [choice]}


def make_token(text: str) -> Row:
    """A token of two letters at most, as likely as 0.7; the others are those that a judge might have said."""
    others = {"BA": 0.2, "GO": 0.1} if text.strip("*\n <>/") not in ("BA", "GO") else {
        "GO": {"GO": 0.7, "BA": 0.125}, "BA": {"BA": 0.75, "GO": 0.0625, " go": 0.0625, "The": 0.1}
    }[text.strip("*\n <>/")]  # fmt: skip
    tops = [{"token": token, "logprob": math.log(share)} for token, share in others.items()]
    return {"token": text, "logprob": math.log(0.7), "top_logprobs": tops}


@pytest.mark.parametrize("style", ["gives", "ignores", "refuses"])
def test_a_server_gives_the_word_the_reason_and_where_it_can_the_probabilities(dataset: Dataset, style: str) -> None:
    judge = Judge(style)
    try:
        scorer = find_vlm_filter(f"openai:{judge.url}")
        report = run_stage(dataset, scorer, LocalExecutor())
    finally:
        judge.http.shutdown()
        judge.http.server_close()
    rows = read_rows(dataset, "vlm-filter-judge")
    assert {grey: (row["good"], row["reason"]) for grey, row in rows.items()} == {
        10: (True, "a red chair in a room"),
        20: (False, "the frame is black"),
        30: (None, None),
        40: (False, "cut off at the left"),
        50: (None, None),
    }
    assert list(report.unreadable) == ["chair-0004"]
    assert "The model refuses" in report.unreadable["chair-0004"]
    gives = style == "gives"
    assert rows[10]["p_good"] == (pytest.approx(0.7) if gives else None)
    assert rows[10]["p_bad"] == (pytest.approx(0.125) if gives else None)
    for grey in (20, 40):
        assert rows[grey]["p_bad"] == (pytest.approx(0.75) if gives else None)
        assert rows[grey]["p_good"] == (pytest.approx(0.125) if gives else None)
    assert rows[30]["p_good"] is None
    assert len(judge.asked) == len(GREYS) + (style == "refuses")  # what is refused once is not asked for again
    assert {len(body["messages"][0]["content"]) for body in judge.asked} == {2}
    assert {body["messages"][0]["content"][1]["text"] for body in judge.asked} == {read_prompt(PROMPT)}


@pytest.mark.parametrize(
    ("text", "good"), [("GOOD: a long chair that", True), ("I think that the", None)], ids=["said", "not said"]
)
def test_a_cut_answer_counts_if_its_verdict_is_there(
    dataset: Dataset, eyes: Path, monkeypatch: pytest.MonkeyPatch, text: str, good: bool | None
) -> None:
    scorer = VlmFilter(LocalChatModel(find_model(str(eyes))))
    cut = WeighedAnswer(ReplyError("The answer was cut after 64 tokens; raise --max-tokens.", text), [0.5, 0.25])
    monkeypatch.setattr(scorer.chat_model, "generate_weighed", lambda requests, *_: [cut] * len(requests))
    report = run_stage(dataset, scorer, LocalExecutor())
    if good:
        assert {row["good"] for row in read_rows(dataset, scorer.name).values()} == {True}
    else:
        assert {"cut after 64 tokens" in reason for reason in report.unreadable.values()} == {True}


def test_a_model_that_cannot_be_asked_is_one_sentence(tmp_path: Path) -> None:
    scorer = find_vlm_filter(str(tiny_models.blip_model(tmp_path / "blip")))
    scorer.setup()
    with pytest.raises(BlendsetError, match="has no chat template and cannot be asked; name a chat model"):
        scorer.chat_model.generate_weighed([], VERDICTS, 8)

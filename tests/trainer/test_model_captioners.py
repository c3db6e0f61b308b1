# SPDX-License-Identifier: Apache-2.0
"""Captions by models: tiny ones through the loaders of real ones, and a real HTTP server that misbehaves."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blendset.dataset import INDEX, Dataset
from blendset.errors import BlendsetError
from blendset.records import VisibleObject
from blendset_trainer.captioning.models import captioner
from blendset_trainer.captioning.models.captioner import ModelCaptioner, find_local_captioner
from blendset_trainer.cli.main import main
from blendset_trainer.models.chat.local import LocalChatModel
from blendset_trainer.models.chat.server import ServerChatModel, find_server
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.folder import StageFolder
from blendset_trainer.stages.run import StageReport, run_stage
from blendset_trainer.stages.stage import Stage
from blendset_trainer.stages.tables import read_index_with_stages
from tests.trainer import tiny_models
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset

VIEWS = 24
Row = dict[str, Any]


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Views of sets of four; the first pixel of each holds its number."""
    made = make_dataset(tmp_path / "data")
    add_scene(made, "attic")
    seen = (VisibleObject(1, "oak chair", 300, 0.3), VisibleObject(2, "", 300, 0.3), VisibleObject(3, "fly", 1, 0.001))
    for number in range(VIEWS):
        rgb = np.full((24, 32, 3), 200, np.uint8)
        rgb[0, 0] = number
        place: dict[str, Any] = {"view_set": f"orbit-{number // 4}", "view_index": 3 - number % 4}
        add_picture(made, "attic", "chair", number, rgb, visible_objects=seen, **place)
    made.rebuild_index()
    return made


def rows_of(dataset: Dataset, stage: Stage) -> dict[str, Row]:
    rows = StageFolder.from_stage(dataset.root, stage).read_rows()
    return {} if rows is None else {row["view_id"]: row for row in rows.to_pylist()}


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers of six tokens; random models end where they have to, BLIP's only if its part that writes is told to."""
    monkeypatch.setattr(captioner, "TOKENS", {"short": 6, "dense": 6, "set": 6})
    setup = LocalChatModel.setup

    def setup_to_end(self: LocalChatModel) -> None:
        setup(self)
        if hasattr(self._model, "text_decoder"):
            self._model.text_decoder.generation_config.forced_eos_token_id = 2

    monkeypatch.setattr(LocalChatModel, "setup", setup_to_end)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("kind", ["blip", "llava", "qwen"])
def test_a_local_model_captions_each_view_the_same_way_twice(tmp_path: Path, kind: str) -> None:
    folder = getattr(tiny_models, f"{kind}_model")(tmp_path / kind)
    written = []
    for name in ("one", "two"):
        made = make_dataset(tmp_path / name)
        add_scene(made, "attic")
        for number, picture in enumerate(np.random.default_rng(0).integers(0, 255, (3, 40, 60, 3), dtype=np.uint8)):
            add_picture(made, "attic", "chair", number, picture)
        made.rebuild_index()
        stage = find_local_captioner(str(folder))
        run_stage(made, stage, LocalExecutor())
        written.append(rows_of(made, stage))
    assert stage.name == f"hf-{kind}"
    assert written[0] == written[1]
    assert len(written[0]) == 3
    assert all(row["short"] and row["dense"] for row in written[0].values())


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("kind", ["llava", "qwen"])
def test_a_local_model_sees_whole_sets(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    stage = find_local_captioner(str(getattr(tiny_models, f"{kind}_model")(tmp_path / kind)))
    stage.view_sets = True
    report = run_stage(dataset, stage, LocalExecutor())
    assert len(report.unreadable) == VIEWS  # random words follow no instruction
    assert {*report.unreadable.values()} <= {
        "The answer holds no line 'SHORT:' or 'DENSE:'; take a model that follows instructions.",
        "The answer repeats itself; take another model.",
    }


def test_an_answer_of_a_local_model_that_does_not_end_is_no_caption(dataset: Dataset, tmp_path: Path) -> None:
    stage = replace(find_local_captioner(str(tiny_models.blip_model(tmp_path / "blip"))), max_tokens=4)
    report = run_stage(dataset, stage, LocalExecutor())
    assert report.unreadable == dict.fromkeys(
        (f"chair-{number:04d}" for number in range(VIEWS)),
        "The answer was cut after 4 tokens; raise --max-tokens.",
    )


# --- servers ----------------------------------------------------------------------------------------------------------


class Desk:
    """A server whose every answer to a picture's number-th question can be told: a status, bytes, or a delay."""

    def __init__(self) -> None:
        self.asked: list[Row] = []
        self.attempts: Counter[int] = Counter()
        self.troubles: dict[tuple[int, int], Any] = {}
        self.busy, self.most_busy = 0, 0
        self.lock = threading.Lock()
        desk = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, json.dumps({"data": [{"id": "tiny/seer"}]}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with desk.lock:
                    desk.busy += 1
                    desk.most_busy = max(desk.busy, desk.most_busy)
                    number = numbers_in(body)[0]
                    trouble = desk.troubles.get((number, desk.attempts[number]))
                    desk.attempts[number] += 1
                    desk.asked.append(body | {"key": self.headers["Authorization"]})
                time.sleep(0.03)
                with desk.lock:
                    desk.busy -= 1
                desk.answer(self, body, trouble)

            def _send(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: Any, body: Row, trouble: Any) -> None:
        if trouble is None:
            text = f"Caption: picture {' and '.join(map(str, numbers_in(body)))}."
            if len(numbers_in(body)) > 1:
                text = f"SHORT: {text}\nDENSE: longer\nREASON: clear\nSCORE: 4"
            trouble = (200, json.dumps({"choices": [{"message": {"content": text}}]}).encode())
        if trouble == "hang up":
            handler.close_connection = True
        elif trouble == "slow":
            time.sleep(1.0)
            handler.close_connection = True
        else:
            handler._send(*trouble)


def numbers_in(body: Row) -> list[int]:
    """The numbers of the pictures that a request shows."""
    urls = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    pictures = [Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))) for url in urls]
    return [int(np.asarray(picture)[0, 0, 0]) for picture in pictures]


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk()
    yield desk
    desk.http.shutdown()
    desk.http.server_close()


def run(dataset: Dataset, server: ServerChatModel, facts: bool = False, view_sets: bool = False) -> Any:
    """The report, and the rows on disk."""
    stage = ModelCaptioner(server, "openai", facts, view_sets)
    report: StageReport = run_stage(dataset, stage, LocalExecutor())
    return report, rows_of(dataset, stage)


def quick(desk: Desk, **changes: Any) -> ServerChatModel:
    return replace(ServerChatModel(desk.url, "tiny/seer", timeout_s=0.5, longest_wait_s=0.05), **changes)


def test_every_view_gets_its_own_answer(dataset: Dataset, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    report, rows = run(dataset, find_server(f"{desk.url}?concurrency=4"))
    assert (report.made, report.unreadable) == (VIEWS, {})
    assert {name: row["short"] for name, row in rows.items()} == {
        f"chair-{number:04d}": f"picture {number}." for number in range(VIEWS)
    }
    assert {body["key"] for body in desk.asked} == {"Bearer secret"}
    assert {body["model"] for body in desk.asked} == {"tiny/seer"}
    assert 2 <= desk.most_busy <= 4
    assert not any(b"secret" in path.read_bytes() for path in dataset.root.rglob("*") if path.is_file())


def test_a_set_is_one_question_in_its_own_order(dataset: Dataset, desk: Desk) -> None:
    _, rows = run(dataset, quick(desk), view_sets=True)
    assert sorted(numbers_in(body) for body in desk.asked) == [[k + 3, k + 2, k + 1, k] for k in range(0, VIEWS, 4)]
    row = rows["chair-0005"]
    assert (row["short"], row["dense"]) == ("picture 7 and 6 and 5 and 4.", "longer")
    assert (row["reason"], row["quality"]) == ("clear", "4")


def test_the_command_captions_and_says_what_is_grounded(
    dataset: Dataset, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    add_picture(dataset, "attic", "table", 99, np.full((24, 32, 3), 99, np.uint8), np.ones((24, 32), np.uint32))
    dataset.rebuild_index()
    command = ["caption", str(dataset.root), "--with", f"openai:{desk.url}"]
    assert main([*command, "--no-facts"]) == 0
    assert f"{VIEWS + 1} views captioned now" in capsys.readouterr().out
    index = [json.loads(line) for line in (dataset.root / INDEX).read_text().splitlines()]
    assert {row["caption"] for row in index if row["view_id"] == "chair-0003"} == {"picture 3."}
    assert read_index_with_stages(dataset).column_names[-4:] == [
        f"openai-seer.{figure}" for figure in ("short", "dense", "grounded_share", "unsupported")
    ]
    assert main([*command, "--seed", "3"]) == 2
    assert "--seed is not for" in capsys.readouterr().err


def test_facts_are_in_the_prompt_when_asked_for(dataset: Dataset, desk: Desk) -> None:
    run(dataset, quick(desk), facts=True)
    assert all("oak chair (30%)" in body["messages"][0]["content"][-1]["text"] for body in desk.asked)
    assert not any("fly" in body["messages"][0]["content"][-1]["text"] for body in desk.asked)
    desk.asked.clear()
    run(dataset, quick(desk), facts=False)
    assert desk.asked
    assert not any("oak chair" in body["messages"][0]["content"][-1]["text"] for body in desk.asked)


def test_only_a_rendering_is_called_one(dataset: Dataset, desk: Desk) -> None:
    run(dataset, quick(desk))
    assert all("a computer rendering" in body["messages"][0]["content"][-1]["text"] for body in desk.asked)
    desk.asked.clear()
    for view in list(dataset.views()):
        files = {name: (dataset.view_folder(view.scene, view.view_id) / name).read_bytes() for name in view.files}
        dataset.write_view(replace(view, source="photo"), files)
    dataset.rebuild_index()
    for path in (dataset.root / "captions").rglob("*.parquet"):
        path.unlink()
    run(dataset, quick(desk))
    assert desk.asked
    assert not any("render" in body["messages"][0]["content"][-1]["text"] for body in desk.asked)


@pytest.mark.parametrize(
    "trouble",
    [
        (429, b"{}", {"Retry-After": "0"}),
        (429, b"", {"Retry-After": formatdate(usegmt=True)}),
        (429, b"", {"Retry-After": formatdate()}),
        (503, b"busy", {"Retry-After": "soon"}),
        (500, b"<html>"),
        (200, b"garbage"),
        (200, b'{"choices": []}'),
        (200, b'{"choices": [{"message": {"content": ""}}]}'),
        (200, b""),
        "hang up",
        "slow",
    ],
    ids=str,
)
def test_passing_trouble_is_waited_out(dataset: Dataset, desk: Desk, trouble: Any) -> None:
    desk.troubles = {(3, 0): trouble, (3, 1): trouble, (7, 0): trouble}
    report, rows = run(dataset, quick(desk))
    assert report.unreadable == {}
    assert rows["chair-0003"]["short"] == "picture 3."
    assert desk.attempts[3] == 4  # twice in vain, then the short and the dense caption


def completion(content: Any, finish_reason: str = "stop", spent: int = 9, **message: Any) -> tuple[int, bytes]:
    """An answer of OpenAI's protocol."""
    choice = {"message": {"role": "assistant", "content": content, **message}, "finish_reason": finish_reason}
    return 200, json.dumps({"choices": [choice], "usage": {"completion_tokens": spent}}).encode()


NO_ANSWERS = [
    (completion("A red chair and a tab", "length"), "The answer was cut after 64 tokens; raise --max-tokens."),
    (completion("A red chair and a tab", "max_tokens"), "cut after 64 tokens"),
    (completion("A red chair and a tab", "", 64), "cut after 64 tokens"),
    (completion(None, "length", reasoning_content="What is it?"), "cut after 64 tokens"),
    (completion("", reasoning="What is it?"), "thinks and does not answer"),
    (completion([{"type": "thinking", "thinking": "What is it?"}], reasoning_content="?"), "thinks and does not"),
    (completion("<think>What is it?"), "thinks and does not answer"),
    (completion("I'm sorry, but I can't help with that."), r"refuses \('I'm sorry, but I can't help with that.'\)"),
    (completion(None, refusal="I can't describe people."), r"refuses \('I can't describe people.'\)"),
    (completion([{"type": "refusal", "refusal": "No people."}]), r"refuses \('No people.'\)"),
    (completion("", "content_filter"), "filter of the server"),
    (completion(None, "tool_calls", tool_calls=[{"id": "1"}]), "calls a tool"),
    (completion("A chair. A chair. A chair."), "repeats itself"),
]
WRAPPED = [
    completion("A red chair.", reasoning_content="What is it?"),
    completion("<think>What is it?</think>\n\n**Caption:** A red chair."),
    completion([{"type": "thinking", "thinking": "What is it?"}, {"type": "text", "text": "A red chair."}]),
    completion('```json\n{"caption": "A red chair."}\n```', "", 63),
    completion("Sure! Here is a caption:\n\n“A red chair.”", "eos"),
]


def test_a_reply_that_is_no_answer_is_no_caption_and_the_reason_is_kept(dataset: Dataset, desk: Desk) -> None:
    desk.troubles = {(number, 0): reply for number, (reply, _) in enumerate(NO_ANSWERS)}
    report, rows = run(dataset, quick(desk))
    assert len(report.unreadable) == len(NO_ANSWERS)
    for number, (_, reason) in enumerate(NO_ANSWERS):
        assert re.search(reason, report.unreadable[f"chair-{number:04d}"])
    assert len(rows) == VIEWS - len(NO_ANSWERS)
    assert json.loads((report.folder / "quarantine.json").read_text()) == report.unreadable
    assert {*desk.attempts.values()} == {
        2
    }  # short and dense: no question is asked again, for the reply would be the same


def test_what_a_server_puts_around_an_answer_is_taken_off(dataset: Dataset, desk: Desk) -> None:
    desk.troubles = {(number, 0): reply for number, reply in enumerate(WRAPPED)}
    report, rows = run(dataset, quick(desk))
    assert report.unreadable == {}
    assert [rows[f"chair-{number:04d}"]["short"] for number in range(len(WRAPPED))] == ["A red chair."] * len(WRAPPED)


def test_the_command_counts_what_is_no_caption_and_takes_longer_answers(
    dataset: Dataset, desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.troubles = {(number, 0): completion("A red chair and", "length") for number in range(4, 9)}
    desk.troubles[2, 0] = completion("I can't help with that.")
    command = ["caption", str(dataset.root), "--with", f"openai:{desk.url}"]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert f"{VIEWS - 6} views captioned now" in printed.out
    assert (
        "openai-seer: 5 views (chair-0004, chair-0005, chair-0006 and 2 more): "
        "The answer was cut after 64 tokens; raise --max-tokens.\n"
        "openai-seer: chair-0002: The model refuses ('I can't help with that.'); take another model.\n"
    ) in printed.err
    desk.asked.clear()
    assert main([*command, "--max-tokens", "500"]) == 0
    assert "6 views captioned now" in capsys.readouterr().out
    assert {body["max_tokens"] for body in desk.asked} == {500}
    assert main(["caption", str(dataset.root), "--with", "metadata", "--max-tokens", "9"]) == 2
    assert "--max-tokens is not for 'metadata'" in capsys.readouterr().err
    assert main([*command, "--max-tokens", "0"]) == 2


@pytest.mark.parametrize(("labels", "captioned"), [(("chair", "lamp", "table"), False), (("chair",), True)])
def test_the_same_words_for_many_things_are_no_caption_of_any(
    tmp_path: Path, desk: Desk, labels: tuple[str, ...], captioned: bool
) -> None:
    made = make_dataset(tmp_path / "same")
    add_scene(made, "attic")
    for number in range(15):
        label = labels[number % len(labels)]
        add_picture(made, "attic", label, number, np.full((8, 8, 3), number, np.uint8), subject_label=label)
    made.rebuild_index()
    same = completion("A blank grey picture.")
    desk.troubles = {(number, attempt): same for number in range(13) for attempt in range(2)}
    report, rows = run(made, quick(desk))
    if captioned:
        assert (len(rows), report.unreadable) == (15, {})
        assert report.notes == (
            "13 of 15 pictures got the same words ('A blank grey picture.'); look whether they are right.",
        )
    else:
        assert len(rows) == 2
        assert len(report.unreadable) == 13
        assert {*report.unreadable.values()} == {
            "The model says the same of 13 different pictures ('A blank grey picture.'); look whether it is shown them."
        }


def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(dataset: Dataset, desk: Desk) -> None:
    desk.troubles = {(0, 0): (429, b"", {"Retry-After": "1"})}
    started = time.monotonic()
    run(dataset, quick(desk, longest_wait_s=60.0))
    assert time.monotonic() - started >= 1


def test_one_hopeless_view_is_named_and_tried_again(dataset: Dataset, desk: Desk) -> None:
    desk.troubles = {(3, attempt): (500, b"") for attempt in range(9)} | {(5, 0): (400, b"too large")}
    report, rows = run(dataset, quick(desk, attempts=2))
    assert set(report.unreadable) == {"chair-0003", "chair-0005"}
    assert "2 attempts (500" in report.unreadable["chair-0003"]
    assert len(rows) == VIEWS - 2
    desk.troubles, before = {}, len(desk.asked)
    report, rows = run(dataset, quick(desk))
    assert (report.made, len(rows), len(desk.asked) - before) == (2, VIEWS, 4)  # only what was missing is asked again


def test_a_dead_server_is_not_asked_for_ever(dataset: Dataset, desk: Desk) -> None:
    desk.troubles = {(number, attempt): (500, b"") for number in range(8, VIEWS) for attempt in range(9)}
    report, rows = run(dataset, quick(desk, attempts=1, concurrency=1))
    assert len(rows) == 8
    assert len(report.unreadable) == VIEWS - 8


def test_a_refused_key_stops_the_run_at_once(dataset: Dataset, desk: Desk) -> None:
    desk.troubles = {(number, 0): (401, b"") for number in range(VIEWS)}
    with pytest.raises(BlendsetError, match="OPENAI_API_KEY"):
        run(dataset, quick(desk))


def test_the_pace_is_kept(dataset: Dataset, desk: Desk) -> None:
    started = time.monotonic()
    run(dataset, quick(desk, per_minute=60 * 40))
    assert time.monotonic() - started >= (2 * VIEWS - 1) / 40


def test_wrong_urls_are_one_sentence(desk: Desk) -> None:
    assert find_server(f"{desk.url}?per_minute=600#other").per_minute == 600
    assert find_server(f"{desk.url}/").model == "tiny/seer"
    for wrong in ("localhost:8000/v1", f"{desk.url}?tempo=3#m", f"{desk.url}?per_minute=many#m"):
        with pytest.raises(BlendsetError, match="such as http://localhost"):
            find_server(wrong)
    with pytest.raises(BlendsetError, match="does not say which models"):
        find_server("http://127.0.0.1:9/v1")

# SPDX-License-Identifier: Apache-2.0
"""TIFA: exact questions from scene records, questions from files, datasets and models, and the right answers' share."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset.records import encode_json
from blendset_trainer.captioning.questions import Question, ask_about_view, write_questions
from blendset_trainer.cli.main import main
from blendset_trainer.models.chat.instructions import parse_choice
from blendset_trainer.scoring.chat.question_sources import load_questions, read_questions, save_questions
from blendset_trainer.scoring.chat.tifa import TifaScorer, find_tifa_scorer, find_writer, format_question
from blendset_trainer.scoring.score import score
from blendset_trainer.stages.executors.local import LocalExecutor
from blendset_trainer.stages.run import StageReport, run_stage
from blendset_trainer.stages.shards import load_view
from blendset_trainer.stages.stage import View
from blendset_trainer.stages.tables import read_index_with_stages
from blendset_trainer.synthetic_views import SYNTHESIS, SynthesisRecord
from tests.trainer.test_captions import ROOM, box, facts, room_view
from tests.trainer.tiny_datasets import add_picture, add_scene, make_dataset
from tests.trainer.tiny_judge import serve_answers

STEEL = ("brushed steel",)
CHAIRS = (
    box(5, "Chair", (-2.1, -0.3, 0), (-1.4, 0.2, 0.8), materials=STEEL),
    box(8, "Chair", (1.4, -0.3, 0), (2.1, 0.2, 0.8), materials=STEEL),
)
TWO_CHAIRS = (*ROOM[:4], *CHAIRS, ROOM[6])
SPECK = box(9, "Chair", (-4.0, 2.6, 0), (-3.9, 2.7, 0.1), materials=STEEL)
"""A chair too small to be recognized."""
TIFA_V1 = [
    {
        "id": "drawbench_52", "caption": "Three cats and two dogs sitting on the grass.",
        "question": "how many cats are in the picture?", "choices": ["1", "2", "3", "4"], "answer": "3",
        "element_type": "counting", "element": "three",
    },
    {
        "id": "drawbench_52", "caption": "Three cats and two dogs sitting on the grass.",
        "question": "are there dogs?", "choices": ["yes", "no"], "answer": "yes", "element_type": "animal/human",
        "element": "dogs",
    },
    {
        "id": "coco_301091", "caption": "A surfer walks on a beach.", "question": "what type of place is this?",
        "choices": ["beach", "park", "forest", "mountain"], "answer": "beach", "element_type": "location",
        "element": "beach", "coco_val_id": "380711",
    },
]  # fmt: skip
"""In the layout of the released tifa_v1.0_question_answers.json."""
CATS, SURFER = "Three cats and two dogs sitting on the grass.", "A surfer walks on a beach."


def read_view(dataset: Dataset) -> View:
    record = next(dataset.views())
    return load_view(dataset, record.scene, record.view_id)


def list_texts(questions: tuple[Question, ...]) -> list[tuple[str, str, str]]:
    return [(each.question, each.answer, each.element) for each in questions]


# --- questions of a record --------------------------------------------------------------------------------------------


def test_a_record_answers_what_is_certain(tmp_path: Path) -> None:
    questions = ask_about_view(read_view(room_view(tmp_path, 3, TWO_CHAIRS)))
    assert list_texts(questions) == [
        ("Is there a table in the picture?", "yes", "object"),
        ("Are there any chairs in the picture?", "yes", "object"),
        ("Is there a red vase in the picture?", "yes", "object"),
        ("Is there a plant in the picture?", "yes", "object"),
        ("Is there a penguin in the picture?", "no", "animal/human"),
        ("How many chairs are in the picture?", "2", "counting"),
        ("What colour is the table?", "white", "color"),
        ("Is the red vase on the table?", "yes", "spatial"),
        ("Is the plant in front of the table or behind it?", "behind", "spatial"),
    ]
    for each in questions:
        assert each.answer in each.choices and len({*each.choices}) == len(each.choices)
    assert [len(each.choices) for each in questions] == [2] * 5 + [4] * 2 + [2] * 2
    assert ask_about_view(read_view(Dataset(tmp_path))) == questions, "the same view has the same questions"


def test_materials_and_sides(tmp_path: Path) -> None:
    texts = list_texts(ask_about_view(read_view(room_view(tmp_path, 3, (*ROOM[:4], CHAIRS[0])))))
    assert ("What is the chair made of?", "metal", "material") in texts
    assert ("In the picture, is the chair to the left or to the right of the table?", "left", "spatial") in texts


def test_a_count_is_certain_where_none_is_too_small(tmp_path: Path) -> None:
    questions = list_texts(ask_about_view(read_view(room_view(tmp_path, 3, (*TWO_CHAIRS, SPECK)))))
    assert ("Are there any chairs in the picture?", "yes", "object") in questions
    assert not [text for text, _, element in questions if element == "counting"]


def test_what_is_not_clear_is_not_asked(tmp_path: Path) -> None:
    room = facts(tmp_path)
    assert "color" in {each.element for each in write_questions(room)}
    assert "color" not in {each.element for each in write_questions(replace(room, palette="grey"))}
    angles = {
        angle: write_questions(replace(room, angle=angle)) for angle in ("above", "below", "level", "slightly above")
    }
    answers = {angle: [each.answer for each in of if each.element == "attribute"] for angle, of in angles.items()}
    assert answers == {"above": ["above"], "below": ["below"], "level": [], "slightly above": []}


def test_the_choices_of_a_colour_are_not_taken_for_each_other(tmp_path: Path) -> None:
    for number, colour in enumerate([(235, 235, 235), (30, 120, 40), (40, 60, 200), (120, 120, 120), (230, 200, 40)]):
        room = facts(tmp_path / str(number), 3, ROOM, paint={3: colour})
        [question] = [each for each in write_questions(room) if each.question == "What colour is the table?"]
        pale = {"white", "cream", "beige", "grey"}
        assert not (pale - {question.answer}) & {*question.choices} or question.answer not in pale


def test_without_names_there_is_nothing_to_ask(tmp_path: Path) -> None:
    nameless = tuple(replace(each, label="") for each in ROOM if not each.structural)
    assert ask_about_view(read_view(room_view(tmp_path, 3, nameless))) == ()


def test_where_something_stands_is_asked_of_single_things(tmp_path: Path) -> None:
    questions = ask_about_view(read_view(room_view(tmp_path, 5, TWO_CHAIRS)))
    assert "Are there any chairs in the picture?" in {each.question for each in questions}
    assert "spatial" not in {each.element for each in questions}, "of which chair?"


def test_what_is_absent_is_no_word_of_what_is_there(tmp_path: Path) -> None:
    room = facts(tmp_path)
    for noun in ("zebra", "toy elephant", "fire truck"):
        nouns = frozenset({*room.nouns, noun})
        [absent] = [each for each in write_questions(replace(room, nouns=nouns)) if each.answer == "no"]
        assert not {*noun.split()} & {*re.findall(r"\w+", absent.question)}


def test_a_prompt_promises_what_it_names() -> None:
    question = Question("What colour are the chairs?", ("red", "blue"), "red", "color", ("chair", "red"))
    assert question.is_promised("Three red chairs in a room")
    assert question.is_promised("A Red chair")
    assert not question.is_promised("A chair in a room")
    assert not question.is_promised("A bored armchair")


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "choice"),
    [
        ("red", "red"), ("Red.", "red"), ("**red**", "red"), ("A", "red"), ("(b)", "light red"), ("C. blue", "blue"),
        ("B) Light red", "light red"), ("Answer: blue", "blue"), ("light red, I think", "light red"),
        ("red because of the paint", "red"), ("<think>blue?</think>red", "red"), ('{"answer": "blue"}', "blue"),
        ("Option C", "blue"), ("It is red", "red"), ("a light red one", "light red"), ("The table is blue.", "blue"),
        ("redder", None), ("It is not red", None), ("It isn't blue", None), ("red or blue", "red"),
        ("It is red or blue", None), ("D", None), ("", None), ("I'm sorry, but blue?", None),
    ],
)  # fmt: skip
def test_an_answer_is_a_choice_its_letter_or_begins_with_it(reply: str, choice: str | None) -> None:
    assert parse_choice(reply, ("red", "light red", "blue")) == choice


def test_numbers_are_choices_too() -> None:
    assert [parse_choice(reply, ("1", "2", "3")) for reply in ("2", "3.", "C", "2 cats", "4")] == [
        "2",
        "3",
        "3",
        "2",
        None,
    ]


def run_scorer(dataset: Dataset, stage: TifaScorer) -> tuple[dict[str, dict[str, Any]], StageReport]:
    """The columns of each view that has a row, by its id, and the report; the stage travels as it would to a worker."""
    report = run_stage(dataset, pickle.loads(pickle.dumps(stage)), LocalExecutor())
    rows = {}
    for row in read_index_with_stages(dataset).to_pylist():
        rows[row["view_id"]] = {name: row.get(f"{stage.name}.{name}") for name in stage.columns}
    return rows, report


def judge(answer: Callable[[Question], str], questions: tuple[Question, ...]) -> Callable[[str, list[Any]], str]:
    """What a server answers that knows these questions."""
    known = {format_question(question): question for question in questions}
    assert len(known) == len(questions)

    def reply(words: str, pictures: list[Any]) -> str:
        assert len(pictures) == 1
        return answer(known[words])

    return reply


def test_a_judge_that_knows_the_truth_is_always_right(tmp_path: Path) -> None:
    dataset = room_view(tmp_path, 3, TWO_CHAIRS)
    questions = ask_about_view(read_view(dataset))
    with serve_answers(judge(lambda question: question.answer, questions)) as url:
        rows, _ = run_scorer(dataset, find_tifa_scorer(f"openai:{url}"))
    [row] = rows.values()
    assert row == {"score": 1, "questions": len(questions), "wrong": "", "source": "record"}


def test_a_judge_that_says_the_first_choice_has_its_share(tmp_path: Path) -> None:
    dataset = room_view(tmp_path, 3, TWO_CHAIRS)
    questions = ask_about_view(read_view(dataset))
    with serve_answers(judge(lambda question: "A", questions)) as url:
        rows, _ = run_scorer(dataset, find_tifa_scorer(f"openai:{url}"))
    [row] = rows.values()
    right = [question.choices[0] == question.answer for question in questions]
    assert 0 < sum(right) < len(questions)
    assert row["score"] == pytest.approx(sum(right) / len(questions))
    wrong = [
        f"{each.question} {each.choices[0]}" for each, is_right in zip(questions, right, strict=True) if not is_right
    ]
    assert row["wrong"] == "; ".join(wrong)


def test_an_answer_that_is_no_choice_is_wrong_and_a_refusal_of_all_is_no_row(tmp_path: Path) -> None:
    dataset = room_view(tmp_path, 3, TWO_CHAIRS)
    questions = ask_about_view(read_view(dataset))
    odd = questions[0]
    replies = judge(lambda question: "I'm sorry, I can't see that." if question is odd else question.answer, questions)
    with serve_answers(lambda words, pictures: "I'm sorry, but I can't look at pictures.") as url:
        rows, report = run_scorer(dataset, find_tifa_scorer(f"openai:{url}"))
    assert [row["score"] for row in rows.values()] == [None]
    assert "The model refuses" in str(report.unreadable)
    with serve_answers(replies) as url:
        rows, report = run_scorer(dataset, find_tifa_scorer(f"openai:{url}"))
    [row] = rows.values()
    assert not report.unreadable
    assert row["score"] == pytest.approx(1 - 1 / len(questions))
    assert row["wrong"] == f"{odd.question} no choice"


# --- pictures of prompts ----------------------------------------------------------------------------------------------


def make_samples(root: Path, *prompts: str) -> Dataset:
    """Pictures that a model made of prompts."""
    dataset = make_dataset(root)
    add_scene(dataset, "prompts")
    for number, prompt in enumerate(prompts):
        view_id = add_picture(dataset, "prompts", "", number, np.full((8, 8, 3), number, np.uint8), source="synthetic")
        record = SynthesisRecord(
            job="text-to-image", parents=(), prompt=prompt, model="m", revision="", pipeline="", scheduler={}, steps=1,
            guidance={}, seed=0,
        )  # fmt: skip
        (dataset.view_folder("prompts", view_id) / SYNTHESIS).write_bytes(encode_json(record))
    dataset.rebuild_index()
    return dataset


@pytest.mark.parametrize("name", ["questions.json", "questions.jsonl"])
def test_questions_in_the_layout_of_tifa(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text("\n".join(map(json.dumps, TIFA_V1)) if name.endswith("l") else json.dumps(TIFA_V1))
    questions = read_questions(path)
    assert questions == {
        CATS: (
            Question("how many cats are in the picture?", ("1", "2", "3", "4"), "3", "counting"),
            Question("are there dogs?", ("yes", "no"), "yes", "animal/human"),
        ),
        SURFER: (
            Question("what type of place is this?", ("beach", "park", "forest", "mountain"), "beach", "location"),
        ),
    }
    dataset = make_samples(tmp_path / "samples", CATS, SURFER, "a lamp")
    with serve_answers(judge(lambda question: question.choices[0], (*questions[CATS], *questions[SURFER]))) as url:
        report = score(dataset, scorers=[f"tifa:openai:{url}"], questions=path)
    assert report.columns["tifa-mv-llava-7b.score"]["mean"] == pytest.approx(0.75)
    rows = read_index_with_stages(dataset).to_pylist()
    assert [row["tifa-mv-llava-7b.score"] for row in rows] == [0.5, 1, None]
    assert [row["tifa-mv-llava-7b.source"] for row in rows] == ["file", "file", None]
    assert rows[0]["tifa-mv-llava-7b.wrong"] == "how many cats are in the picture? 1"


def test_questions_are_written_as_they_are_read(tmp_path: Path) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(TIFA_V1))
    save_questions(second, read_questions(first))
    assert read_questions(second) == read_questions(first)
    layout = ("caption", "question", "choices", "answer", "element_type")
    entries = [{name: entry[name] for name in layout} for entry in json.loads(second.read_text())]
    assert entries == [{name: entry[name] for name in layout} for entry in TIFA_V1]


def test_other_questions_are_another_run(tmp_path: Path) -> None:
    path, dataset = tmp_path / "questions.json", make_samples(tmp_path / "samples", SURFER)
    asked: list[str] = []

    def answer(words: str, pictures: list[Any]) -> str:
        asked.append(words)
        return "yes"

    with serve_answers(answer) as url:
        for entries in (TIFA_V1, TIFA_V1, TIFA_V1[:2]):
            path.write_text(json.dumps(entries))
            rows, _ = run_scorer(dataset, replace(find_tifa_scorer(f"openai:{url}"), questions=path))
    assert len(asked) == 1
    assert [row["questions"] for row in rows.values()] == [None]


def test_a_dataset_asks_what_its_captions_promise(tmp_path: Path) -> None:
    source = room_view(tmp_path / "source", 3, TWO_CHAIRS)
    prompt = "A white table with a red vase on it"
    source.rebuild_index({view.view_id: prompt for view in source.views()})
    questions = load_questions(source.root)(prompt)
    assert list_texts(questions) == [
        ("Is there a table in the picture?", "yes", "object"),
        ("Is there a red vase in the picture?", "yes", "object"),
        ("Is there a penguin in the picture?", "no", "animal/human"),
        ("What colour is the table?", "white", "color"),
        ("Is the red vase on the table?", "yes", "spatial"),
    ]
    dataset = make_samples(tmp_path / "samples", prompt, f" {prompt} ", "a lamp")
    with serve_answers(judge(lambda question: question.answer, questions)) as url:
        stage = replace(find_tifa_scorer(f"openai:{url}"), questions=source.root)
        rows, _ = run_scorer(dataset, stage)
    assert [(row["score"], row["questions"], row["source"]) for row in rows.values()] == [
        (1, 5, "file"), (1, 5, "file"), (None, None, None),
    ]  # fmt: skip
    before = stage.parameters["questions"]
    source.rebuild_index({view.view_id: "a table" for view in source.views()})
    assert replace(stage).parameters["questions"] != before


def test_a_model_writes_questions_about_other_prompts(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(TIFA_V1))
    dataset = make_samples(tmp_path / "samples", SURFER, "two red lamps", "two red lamps", "nothing")
    written = (
        "<think>lamps</think>Here are questions:\n"
        "counting | How many lamps are there? | 1; 2; 3; 4 | 2\n"
        "- color | What color are the lamps? | red; blue | red |\n"
        "color | What color is the wall? | red; blue | green\n"
    )
    asked: list[str] = []

    def answer(words: str, pictures: list[Any]) -> str:
        if pictures:
            return {"How": "B", "What": "blue"}.get(words.partition("Question: ")[2].split()[0], "beach")
        asked.append(words.rpartition("Description: ")[2])
        return written if "lamps" in asked[-1] else "I have no questions."

    with serve_answers(answer) as url:
        scorer = replace(find_tifa_scorer(f"openai:{url}"), questions=path, question_writer=f"openai:{url}")
        rows, report = run_scorer(dataset, scorer)
    assert sorted(asked) == ["nothing", "two red lamps"], "each prompt once"
    assert [row["source"] for row in rows.values()] == ["file", "model", "model", None]
    assert [row["wrong"] for row in rows.values()][1] == "What color are the lamps? blue"
    assert [row["score"] for row in rows.values()] == [1, 0.5, 0.5, None]
    assert "The writer of questions wrote none that can be read" in str(report.unreadable)


def test_a_picture_whose_prompt_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "questions.json"
    path.write_text(json.dumps(TIFA_V1))
    dataset = make_samples(tmp_path / "samples", SURFER, SURFER)
    (dataset.view_folder("prompts", "scene-0000") / SYNTHESIS).write_text("{")
    with serve_answers(lambda words, pictures: "beach") as url:
        rows, report = run_scorer(dataset, replace(find_tifa_scorer(f"openai:{url}"), questions=path))
    assert [row["score"] for row in rows.values()] == [None, 1]
    assert list(report.unreadable) == ["scene-0000"]


# --- what is wrong ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "is no JSON"),
        ("{}", "holds no list of questions"),
        (json.dumps([*TIFA_V1, 7]), "question 4, is no question of TIFA"),
        (json.dumps([TIFA_V1[0] | {"answer": "5"}]), "question 1, is no question of TIFA"),
        (json.dumps([TIFA_V1[0] | {"choices": "3"}]), "question 1, is no question of TIFA"),
        (json.dumps([TIFA_V1[0] | {"choices": ["3", 4]}]), "question 1, is no question of TIFA"),
        (json.dumps([TIFA_V1[0] | {"choices": ["3"]}]), "question 1, is no question of TIFA"),
        (json.dumps([{name: value for name, value in TIFA_V1[0].items() if name != "caption"}]), "question 1, is no"),
        ("\0", "holds no text"),
    ],
)
def test_a_bad_file_is_one_sentence(tmp_path: Path, content: str, says: str) -> None:
    path = tmp_path / "questions.json"
    path.write_text(content)
    with pytest.raises(BlendsetError, match=says) as error:
        load_questions(path)
    assert str(error.value).count("\n") == 0 and str(error.value).endswith(".")


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with serve_answers(lambda words, pictures: "yes") as url:
        stage = find_tifa_scorer(f"openai:{url}")
        with pytest.raises(BlendsetError, match=r"none\.json cannot be read"):
            replace(stage, questions=tmp_path / "none.json")
        with pytest.raises(BlendsetError, match="dataset"):
            replace(stage, questions=tmp_path)
    for spec in ("hf:", "gpt", "llama:x"):
        with pytest.raises(SettingsError, match="names no model that writes"):
            find_writer(spec)


def test_the_options_are_for_tifa_only(tmp_path: Path, capsys: Any) -> None:
    dataset = make_samples(tmp_path / "samples", SURFER)
    (tmp_path / "questions.json").write_text(json.dumps(TIFA_V1))
    words = ["score", str(dataset.root), "--with", "phash", "--questions", str(tmp_path / "questions.json")]
    assert main(words) == 2
    assert "--questions is not for 'phash'" in capsys.readouterr().err
    with serve_answers(lambda words, pictures: "A") as url:
        words[3] = f"phash,tifa:openai:{url}"
        assert main([*words, "--question-writer", f"openai:{url}"]) == 0
    assert read_index_with_stages(dataset)["tifa-mv-llava-7b.score"].to_pylist() == [1]

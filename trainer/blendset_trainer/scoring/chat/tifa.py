# SPDX-License-Identifier: Apache-2.0
"""`tifa:MODEL`: whether a picture shows what it is meant to show, by questions with choices that a chat model answers
(TIFA, Hu et al., arXiv 2303.11897). The score is the share of right answers.

A rendered view is asked about what its record knows. Other pictures are asked what their prompts promise: by questions
from a file or a dataset, or that a text model writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from string import ascii_uppercase
from typing import Any, ClassVar, Literal

import pyarrow as pa

from blendset.errors import BlendsetError, SettingsError
from blendset.naming import slugify
from blendset_trainer.captioning.questions import Question, ask_about_view, find_prompt
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError
from blendset_trainer.models.chat.finding import find_chat_model
from blendset_trainer.models.chat.instructions import parse_choice, read_prompt
from blendset_trainer.models.chat.replies import refuse_no_answer, strip_thoughts
from blendset_trainer.scoring.chat.question_sources import (
    FindQuestions,
    QuestionWriter,
    hash_questions,
    load_questions,
)
from blendset_trainer.stages.stage import SHARE, Column, View

TOKENS = 64
"""The longest answer where a scorer sets no other."""
RECORD, FILE, MODEL = "record", "file", "model"
"""Where questions come from."""


@dataclass
class TifaScorer:
    """Asks each picture's questions, one by one.

    `questions` is a file or a dataset that has questions by prompt, `question_writer` the name of a text model that
    writes those that are in neither. An answer that is none of the choices is wrong. A picture without questions has
    None in every column.
    """

    chat_model: ChatModel
    max_tokens: int | None = None
    questions: Path | None = None
    question_writer: str | None = None
    _find: FindQuestions | None = field(default=None, init=False, repr=False, compare=False)
    _writer: QuestionWriter | None = field(default=None, init=False, repr=False, compare=False)

    version: ClassVar[str] = "1"
    kind: ClassVar[Literal["scores"]] = "scores"
    reads: ClassVar[frozenset[str]] = frozenset({"rgb", "passes", "record", "caption"})
    whole_sets: ClassVar[bool] = False
    columns: ClassVar[Mapping[str, Column]] = {
        "score": Column(pa.float32(), SHARE),
        "questions": Column(pa.int32(), "questions"),
        "wrong": Column(pa.string()),
        "source": Column(pa.string()),
    }

    def __post_init__(self) -> None:
        self.name = slugify(f"tifa-{self.chat_model.title}")
        self.revision = self.chat_model.revision
        self.parameters = {**self.chat_model.parameters, "prompt": read_prompt("choices")}
        if self.questions:
            self.parameters["questions"] = hash_questions(self.questions)
        if self.question_writer:
            self._writer = QuestionWriter(find_writer(self.question_writer))
            model = self._writer.chat_model
            self.parameters["writer"] = [model.title, model.revision, model.parameters, read_prompt("questions")]

    def setup(self) -> None:
        """Load the models and the questions; called once per process, before the first rows."""
        self.chat_model.setup()
        if self.questions:
            self._find = load_questions(self.questions)
        if self._writer:
            self._writer.setup()

    def compute_rows(self, views: Sequence[View]) -> list[dict[str, Any] | BlendsetError]:
        """Return one row of the stage's columns for each view, in their order."""
        quizzes = self._make_quizzes(views)
        requests = [
            ChatRequest([view.rgb], format_question(question))
            for view, quiz in zip(views, quizzes, strict=True)
            for question in quiz.questions
        ]
        answers = iter(self.chat_model.generate(requests, self.max_tokens or TOKENS) if requests else ())
        return [quiz.problem or quiz.grade(list(islice(answers, len(quiz.questions)))) for quiz in quizzes]

    def _make_quizzes(self, views: Sequence[View]) -> list[Quiz]:
        """A quiz for each view; of all prompts without questions the writer hears together."""
        quizzes = [self._find_quiz(view) for view in views]
        missing = [quiz.prompt for quiz in quizzes if quiz.prompt and not quiz.questions]
        written = self._writer.write(missing) if self._writer and missing else {}
        return [
            quiz.add_written(written[quiz.prompt]) if quiz.prompt in written and not quiz.questions else quiz
            for quiz in quizzes
        ]

    def _find_quiz(self, view: View) -> Quiz:
        try:
            if questions := ask_about_view(view):
                return Quiz(RECORD, questions)
            prompt = find_prompt(view)
            return Quiz(FILE, self._find(prompt) if self._find else (), prompt)
        except BlendsetError as error:
            return Quiz(FILE, problem=error)


@dataclass(frozen=True)
class Quiz:
    """The questions about one picture and where they come from, or the problem why there are none now.

    `prompt` is what the picture is of, "" where that does not matter.
    """

    source: str
    questions: tuple[Question, ...] = ()
    prompt: str = ""
    problem: BlendsetError | None = None

    def add_written(self, written: tuple[Question, ...] | BlendsetError) -> Quiz:
        """Return this quiz with the questions that a model wrote, or the reason why it wrote none."""
        found = {"problem": written} if isinstance(written, BlendsetError) else {"questions": written}
        return replace(self, source=MODEL, **found)

    def grade(self, answers: Sequence[str | BlendsetError]) -> dict[str, Any] | BlendsetError:
        """Return the row of the answers, one per question; an error where a server failed or the model refuses all."""
        if not self.questions:
            return dict.fromkeys(TifaScorer.columns)
        failures = [each for each in answers if isinstance(each, BlendsetError) and not isinstance(each, ReplyError)]
        choices = [_choose(answer, question) for answer, question in zip(answers, self.questions, strict=True)]
        refusals = [refusal for answer in answers if (refusal := _find_refusal(answer))]
        if failures or (not any(choices) and len(refusals) == len(answers)):
            return (failures or refusals)[0]
        wrong = [
            f"{question.question} {choice or 'no choice'}"
            for question, choice in zip(self.questions, choices, strict=True)
            if choice != question.answer
        ]
        count = len(self.questions)
        return {"score": 1 - len(wrong) / count, "questions": count, "wrong": "; ".join(wrong), "source": self.source}


def format_question(question: Question) -> str:
    """Return the text that a chat model is asked, with the choices under letters."""
    choices = "\n".join(
        f"{letter}. {choice}" for letter, choice in zip(ascii_uppercase, question.choices, strict=False)
    )
    return read_prompt("choices").format(question=question.question, choices=choices)


def _choose(answer: str | BlendsetError, question: Question) -> str | None:
    """The choice that an answer, which may be cut, is; None for none."""
    text = answer.text if isinstance(answer, ReplyError) else "" if isinstance(answer, BlendsetError) else answer
    return parse_choice(text, question.choices)


def _find_refusal(answer: str | BlendsetError) -> BlendsetError | None:
    if isinstance(answer, BlendsetError):
        return answer
    try:
        refuse_no_answer(strip_thoughts(answer))
    except ReplyError as error:
        return error
    return None


def find_writer(spec: str) -> ChatModel:
    """Return the text model that `hf:MODEL` or `openai:URL#MODEL` names; SettingsError for any other name."""
    scheme, _, rest = spec.partition(":")
    if scheme not in ("hf", "openai") or not rest:
        raise SettingsError(f"'{spec}' names no model that writes; write hf:MODEL or openai:URL#MODEL.")
    return find_chat_model(scheme, rest, text_only=True)


def find_tifa_scorer(spec: str) -> TifaScorer:
    """Return the stage of `tifa:SPEC`; SPEC is a model, or openai:URL[#MODEL]."""
    scheme, _, rest = spec.partition(":")
    return TifaScorer(find_chat_model("openai", rest) if scheme == "openai" else find_chat_model("hf", spec))

# SPDX-License-Identifier: Apache-2.0
"""Where questions about pictures of prompts come from: a file in TIFA v1.0's layout, the views of a dataset whose
captions the prompts are, or a text model that writes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendset.dataset import INDEX, Dataset, open_dataset
from blendset.errors import BlendsetError
from blendset.files import explain_read_errors, read_text_file, sha256_file
from blendset.records import decode_json, write_json
from blendset_trainer.captioning.questions import Question, ask_about_view
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest
from blendset_trainer.models.chat.instructions import read_prompt
from blendset_trainer.models.chat.replies import strip_thoughts
from blendset_trainer.readers.tables import READERS
from blendset_trainer.stages.shards import load_view
from blendset_trainer.stages.tables import read_index

WRITER_TOKENS = 1024
"""Room for the questions about one prompt, and for thoughts."""
CURE = "give a dataset, or a .json or .jsonl in TIFA's layout"
FindQuestions = Callable[[str], tuple[Question, ...]]
"""Returns the questions about a prompt; () where there are none."""


def hash_questions(path: Path) -> str:
    """Return the SHA-256 of what questions are read from: a file, or a dataset's index, which every view changes."""
    file = open_dataset(path).root / INDEX if path.is_dir() else path
    with explain_read_errors(file, CURE):
        return sha256_file(file)


def load_questions(path: Path) -> FindQuestions:
    """Return what finds the questions in a file or a dataset; BlendsetError for what is neither, or damaged."""
    return DatasetQuestions(open_dataset(path)).find if path.is_dir() else FileQuestions(read_questions(path)).find


def normalize_prompt(prompt: str) -> str:
    """Return a prompt by which it is found again: spaces do not count."""
    return " ".join(prompt.split())


@dataclass
class FileQuestions:
    """Questions by prompt."""

    questions: Mapping[str, tuple[Question, ...]]

    def find(self, prompt: str) -> tuple[Question, ...]:
        """Return the questions about a prompt; () where there are none."""
        return self.questions.get(normalize_prompt(prompt), ())


@dataclass
class DatasetQuestions:
    """Questions about the view of a dataset whose caption a prompt is; the first of several counts.

    What the record knows and the caption does not say is not asked: the prompt does not promise it.
    """

    dataset: Dataset
    _views: dict[str, tuple[str, str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._views, columns = {}, ("caption", "scene", "view_id")
        table = read_index(self.dataset, columns)
        for caption, *view in zip(*(table[name].to_pylist() for name in columns), strict=True):
            self._views.setdefault(normalize_prompt(caption or ""), (view[0], view[1]))

    def find(self, prompt: str) -> tuple[Question, ...]:
        """Return the questions about a prompt; () where no view has it as its caption."""
        found = self._views.get(normalize_prompt(prompt)) if prompt else None
        questions = ask_about_view(load_view(self.dataset, *found)) if found else ()
        return tuple(question for question in questions if question.is_promised(prompt))


def read_questions(path: Path) -> dict[str, tuple[Question, ...]]:
    """Return the questions in a file by their caption: a .json with a list, or a .jsonl with one to a line.

    Each has `caption`, `question`, `choices`, `answer` and `element_type`; what else it has does not matter. Raises
    BlendsetError, which says where, for anything else.
    """
    found: dict[str, list[Question]] = {}
    for where, entry in _read_entries(path):
        question = _make_question(entry)
        if question is None:
            raise BlendsetError(
                f"{where}, is no question of TIFA (texts caption, question, answer and element_type, and choices with "
                "the answer among them); mend or remove it."
            )
        found.setdefault(normalize_prompt(entry["caption"]), []).append(question)
    return {caption: tuple(questions) for caption, questions in found.items()}


def save_questions(path: Path, questions: Mapping[str, Sequence[Question]]) -> None:
    """Write questions by prompt to a .json file in TIFA's layout, so that all models are asked the same.

    What is written is read again by `read_questions`.
    """
    entries = [
        {
            "id": f"{number:06d}",
            "caption": prompt,
            "question": question.question,
            "choices": list(question.choices),
            "answer": question.answer,
            "element_type": question.element,
        }
        for number, (prompt, asked) in enumerate(questions.items())
        for question in asked
    ]
    write_json(path, entries)


def _read_entries(path: Path) -> Iterable[tuple[str, Any]]:
    if path.suffix == ".jsonl":
        return READERS[path.suffix](path, None, ())
    try:
        entries = decode_json(read_text_file(path, cure=CURE))
    except ValueError as error:
        raise BlendsetError(f"{path} is no JSON ({error}); {CURE}.") from error
    if not isinstance(entries, list):
        raise BlendsetError(f"{path} holds no list of questions; {CURE}.")
    return ((f"{path}, question {number}", entry) for number, entry in enumerate(entries, 1))


def _make_question(entry: Any) -> Question | None:
    """The question in an entry; None where it is none."""
    if not isinstance(entry, Mapping) or not isinstance(choices := entry.get("choices"), list):
        return None
    texts = [entry.get(name) for name in ("caption", "question", "answer", "element_type")]
    if not all(isinstance(text, str) and text.strip() for text in (*texts, *choices)):
        return None
    _, question, answer, element = map(str, texts)
    return Question(question, tuple(choices), answer, element) if answer in choices and len({*choices}) > 1 else None


@dataclass
class QuestionWriter:
    """A text model that writes questions about prompts. It is asked about each prompt once in a process."""

    chat_model: ChatModel
    _written: dict[str, tuple[Question, ...] | BlendsetError] = field(default_factory=dict, init=False, repr=False)

    def setup(self) -> None:
        """Load the model; called once per process."""
        self.chat_model.setup()

    def write(self, prompts: Iterable[str]) -> dict[str, tuple[Question, ...] | BlendsetError]:
        """Return the questions about each prompt, or why there are none."""
        prompts = list(dict.fromkeys(prompts))
        missing = [prompt for prompt in prompts if isinstance(self._written.get(prompt, None), BlendsetError | None)]
        requests = [ChatRequest((), read_prompt("questions").replace("{prompt}", prompt)) for prompt in missing]
        for prompt, reply in zip(missing, self.chat_model.generate(requests, WRITER_TOKENS), strict=True):
            self._written[prompt] = reply if isinstance(reply, BlendsetError) else _parse_questions(reply)
        return {prompt: self._written[prompt] for prompt in prompts}


def _parse_questions(reply: str) -> tuple[Question, ...] | BlendsetError:
    """The questions in a reply, one to a line; lines that are none are left out. BlendsetError where none is left."""
    found = []
    for line in strip_thoughts(reply).splitlines():
        parts = [part.strip() for part in line.strip(" -*|").split("|")]
        if len(parts) == 4:
            choices = [choice.strip() for choice in parts[2].split(";")]
            entry = {"caption": "-", "element_type": parts[0], "question": parts[1], "choices": choices}
            found.append(_make_question(entry | {"answer": parts[3]}))
    questions = tuple(dict.fromkeys(question for question in found if question))
    return questions or BlendsetError("The writer of questions wrote none that can be read; take another model.")

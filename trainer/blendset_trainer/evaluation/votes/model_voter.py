# SPDX-License-Identifier: Apache-2.0
"""A vision-language model votes on a page: it is shown what people see, and writes the file that they send back.

It is asked about each pair twice, with the pictures in both orders, since such models favour a position. Where it
prefers another picture in the other order, its vote is a tie.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from blendset.errors import BlendsetError, describe_value
from blendset.files import sha256_bytes
from blendset.naming import slugify
from blendset.records import encode_json, read_record, to_plain, write_json
from blendset_trainer.api.progress import OnProgress, OnReport, ignore_progress, ignore_report
from blendset_trainer.evaluation.votes.ballot import LEFT, RIGHT, TIE, CastVote, VoterFile
from blendset_trainer.evaluation.votes.page import read_page
from blendset_trainer.models.chat.chat_model import ChatModel, ChatRequest, ReplyError
from blendset_trainer.models.chat.instructions import parse_verdict

INSTRUCTION = """You see two pictures, the first and the second.{subject}{prompt}
{question}
Answer with one word and nothing else: FIRST if the first picture, SECOND if the second picture, TIE if neither."""
SUBJECT_LINE = " Before them stand pictures of the subject that both are to show ({count})."
PROMPT_LINE = ' Both are to show: "{prompt}".'
FIRST, SECOND, TIED = "FIRST", "SECOND", "TIE"
SIDES = {FIRST: LEFT, SECOND: RIGHT, TIED: TIE}
MIRRORED = {LEFT: RIGHT, RIGHT: LEFT, TIE: TIE}
MAX_TOKENS = 32
BATCH_PAIRS = 8
"""Pairs between two writes of the file."""


@dataclass(frozen=True)
class _Question:
    """A pair of the page with its pictures as WebP, and what the model is asked about them."""

    pair: int
    left: bytes
    right: bytes
    references: tuple[bytes, ...]
    text: str

    def build_requests(self) -> list[ChatRequest]:
        """Return the request, and that with the pictures in the other order."""
        references = [_decode(picture) for picture in self.references]
        left, right = _decode(self.left), _decode(self.right)
        return [ChatRequest([*references, *both], self.text) for both in ((left, right), (right, left))]


def vote_by_model(
    page: Path,
    chat_model: ChatModel,
    question: str | None = None,
    *,
    out: Path | None = None,
    max_tokens: int = MAX_TOKENS,
    on_progress: OnProgress = ignore_progress,
    on_report: OnReport = ignore_report,
) -> Path:
    """Let a model vote on the pairs of a page, and return the file with its votes, `out` or one beside the page.

    It reads the page and not the key. Without `question` it is asked what people are. Pairs that it has voted on
    before are not asked again; those that it does not answer are reported, and asked in the next run. Raises
    BlendsetError for what is no page, and where the model answers nothing.
    """
    ballot, pictures = read_page(page)
    questions = _build_questions(ballot, pictures, question)
    settings = {"model": chat_model.revision, **chat_model.parameters, "instruction": INSTRUCTION, "asked": question}
    voter = slugify(chat_model.title, 30) + "-" + sha256_bytes(encode_json(to_plain(settings)))[:6]
    path = out or page.with_name(f"votes-{ballot['ballot']}-{voter}.json")
    file = VoterFile(str(ballot["ballot"]), voter, chat_model.title, "", (), chat_model.revision or chat_model.title)
    votes = _read_earlier(path, file)
    left = [each for each in questions if each.pair not in {vote.pair for vote in votes}]
    if left:
        chat_model.setup()
    failures = list[BlendsetError]()
    for start in range(0, len(left), BATCH_PAIRS):
        on_progress("voting", len(votes), len(questions))
        cast, failed = _ask(chat_model, left[start : start + BATCH_PAIRS], len(votes), max_tokens)
        votes, failures = votes + cast, failures + failed
        write_json(path, _stamp(file, votes))
    on_progress("voting", len(votes), len(questions))
    _report_failures(votes, failures, on_report)
    return path


def _build_questions(ballot: Any, pictures: Sequence[bytes], question: str | None) -> list[_Question]:
    """What is asked about each pair of a page."""
    return [
        _Question(
            number,
            pictures[pair["left"]],
            pictures[pair["right"]],
            tuple(pictures[picture] for picture in pair["references"]),
            INSTRUCTION.format(
                subject=SUBJECT_LINE.format(count=len(pair["references"])) if pair["references"] else "",
                prompt=PROMPT_LINE.format(prompt=pair["prompt"]) if pair["prompt"] else "",
                question=question or ballot["question"],
            ),
        )
        for number, pair in enumerate(ballot["pairs"])
    ]


def _decode(picture: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))


def _read_earlier(path: Path, file: VoterFile) -> list[CastVote]:
    """The votes of an earlier run; BlendsetError where the file is of another voter or ballot."""
    if not path.exists():
        return []
    earlier = read_record(path, VoterFile)
    if (earlier.ballot, earlier.voter) != (file.ballot, file.voter):
        raise BlendsetError(f"{path} holds the votes of another voter or page; choose another name.")
    return list(earlier.votes)


def _ask(
    chat_model: ChatModel, questions: Sequence[_Question], order: int, max_tokens: int
) -> tuple[list[CastVote], list[BlendsetError]]:
    """The model's votes on some pairs, and why others have none."""
    began = time.monotonic()
    requests = [request for each in questions for request in each.build_requests()]
    answers = [_read_answer(answer) for answer in chat_model.generate(requests, max_tokens)]
    milliseconds = round(1000 * (time.monotonic() - began) / len(questions))
    votes, failures = list[CastVote](), list[BlendsetError]()
    for each, one, other in zip(questions, answers[::2], answers[1::2], strict=True):
        if isinstance(one, BlendsetError) or isinstance(other, BlendsetError):
            failures.append(one if isinstance(one, BlendsetError) else other)  # type: ignore[arg-type]
            continue
        both = one, MIRRORED[other]
        choice = both[0] if both[0] == both[1] else TIE
        votes.append(CastVote(each.pair, choice, milliseconds, order + len(votes) + 1, both))
    return votes, failures


def _read_answer(answer: str | BlendsetError) -> str | BlendsetError:
    """The side that an answer names, of the pictures in the order in which they were sent; one that was cut may do."""
    text = answer.text if isinstance(answer, ReplyError) else answer
    verdict = None if isinstance(text, BlendsetError) else parse_verdict(text, tuple(SIDES))[0]
    if verdict:
        return SIDES[verdict]
    if isinstance(answer, BlendsetError):
        return answer
    return BlendsetError(f"the answer {describe_value(answer)} is none of {', '.join(SIDES)}")


def _stamp(file: VoterFile, votes: Sequence[CastVote]) -> VoterFile:
    saved = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return VoterFile(file.ballot, file.voter, file.name, saved, tuple(votes), file.model)


def _report_failures(votes: Sequence[CastVote], failures: Sequence[BlendsetError], on_report: OnReport) -> None:
    why = str(failures[0]).rstrip(".") if failures else ""
    if failures and not votes:
        raise BlendsetError(f"The model has voted on no pair ({why}); take another model.") from failures[0]
    if failures:
        on_report(f"{len(failures)} pairs have no vote ({why}); run the command again to ask once more.")

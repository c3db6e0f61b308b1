# SPDX-License-Identifier: Apache-2.0
"""The files of a vote: the key of a page, which stays with whoever asks, and the votes that a voter sends back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blendset.records import FORMAT_VERSION

LEFT, RIGHT, TIE = "left", "right", "tie"
CHOICES = (LEFT, RIGHT, TIE)


@dataclass(frozen=True)
class BallotPair:
    """A pair of a page: which system is on which side. Of an attention check `good` is the side of the whole picture,
    and both systems are ""; of other pairs `good` is "".
    """

    pair: int
    unit: str
    left: str
    right: str
    left_path: str
    right_path: str
    good: str = ""


@dataclass(frozen=True)
class BallotKey:
    """What a page does not say: the systems behind its pairs, in its order."""

    ballot: str
    title: str
    question: str
    systems: tuple[str, ...]
    pairs: tuple[BallotPair, ...]
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class CastVote:
    """A choice for a pair, the milliseconds that it took, and its number in the order in which the voter chose.

    A model is asked in both orders of the two pictures: `answers` are its choices in terms of the page's sides.
    """

    pair: int
    choice: str
    milliseconds: int
    order: int
    answers: tuple[str, ...] = ()


@dataclass(frozen=True)
class VoterFile:
    """What a voter sends back. `voter` is drawn by the browser; `name` is what the voter typed, and may be "".

    `saved` is when, in UTC (ISO 8601). `model` is the revision of a model that voted, "" for a person.
    """

    ballot: str
    voter: str
    name: str
    saved: str
    votes: tuple[CastVote, ...]
    model: str = ""
    format_version: int = FORMAT_VERSION


def get_key_path(page: Path) -> Path:
    """Return where the key of a page lies: beside it."""
    return page.with_suffix(".key.json")


def count_disagreements(votes: Sequence[CastVote]) -> int:
    """Count the votes of a model whose answer was another one in the other order of the pictures."""
    return sum(len(set(vote.answers)) > 1 for vote in votes)

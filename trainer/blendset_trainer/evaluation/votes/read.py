# SPDX-License-Identifier: Apache-2.0
"""Reads the files of voters with the key of their page: who won, by whose choice, and whose votes do not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blendset.errors import BlendsetError, describe_value
from blendset.naming import slugify
from blendset.records import read_record
from blendset_trainer.evaluation.votes.ballot import (
    CHOICES,
    LEFT,
    TIE,
    BallotKey,
    BallotPair,
    CastVote,
    VoterFile,
    count_disagreements,
)

MOST_FAILED = 1 / 3
"""The share of attention checks that a voter may fail."""
POINTS = {LEFT: 1.0, TIE: 0.5}


@dataclass(frozen=True)
class Vote:
    """A choice between the pictures of two systems: 1 where `one` won, 0 where `other` did, 0.5 for a tie."""

    voter: str
    unit: str
    one: str
    other: str
    points: float


@dataclass(frozen=True)
class Voter:
    """A person or a model that voted. `disagreements` counts the pairs that a model judged otherwise in the other
    order.
    """

    name: str
    is_model: bool
    votes: int
    ties: int
    checks: int
    failed_checks: int
    disagreements: int

    @property
    def counts(self) -> bool:
        """Whether the voter has passed enough attention checks."""
        return self.failed_checks <= MOST_FAILED * self.checks


@dataclass(frozen=True)
class Votes:
    """The votes that count, all voters, and in sentences who was left out and what was done about double files."""

    key: BallotKey
    votes: tuple[Vote, ...]
    voters: tuple[Voter, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]


def read_votes(key: Path, files: Sequence[Path]) -> Votes:
    """Read the files of voters with the key of their page.

    Raises BlendsetError for a file of another ballot, for a damaged one, and for a choice that there is not.
    """
    ballot = read_record(key, BallotKey)
    pair_of = {pair.pair: pair for pair in ballot.pairs}
    latest: dict[str, VoterFile] = {}
    notes = list[str]()
    for path in files:
        file = _read_voter(path, key, ballot, pair_of)
        name = _name_voter(file)
        if name in latest:
            notes.append(_describe_repeat(latest[name], file))
        latest[name] = max(latest.get(name, file), file, key=lambda each: each.saved)
    voters = [_count_voter(file, pair_of) for file in latest.values()]
    votes = [
        _unblind(vote, pair_of[vote.pair], voter.name)
        for file, voter in zip(latest.values(), voters, strict=True)
        for vote in file.votes
        if voter.counts and not pair_of[vote.pair].good
    ]
    left_out = [
        f"{voter.name} is left out, with {voter.votes} votes: {voter.failed_checks} of {voter.checks} attention checks "
        "were failed."
        for voter in voters
        if not voter.counts
    ]
    return Votes(ballot, tuple(votes), tuple(voters), tuple(left_out), tuple(notes))


def _read_voter(path: Path, key: Path, ballot: BallotKey, pair_of: Mapping[int, BallotPair]) -> VoterFile:
    file = read_record(path, VoterFile)
    if file.ballot != ballot.ballot:
        raise BlendsetError(
            f"{path} holds votes on another page than that of {key}; leave it out, or give its own key."
        )
    voted = [vote.pair for vote in file.votes]
    if len({*voted}) < len(voted) or not {*voted} <= {*pair_of}:
        raise BlendsetError(f"{path} is damaged (a pair twice, or one that there is not); ask for it again.")
    for vote in file.votes:
        if vote.choice not in CHOICES:
            raise BlendsetError(
                f"{path} holds the choice {describe_value(vote.choice)} for pair {vote.pair}, and a choice is one of "
                f"{', '.join(CHOICES)}; ask for it again."
            )
    return file


def _name_voter(file: VoterFile) -> str:
    """What a voter is known by: the name that was typed, in any spelling of it, else what the browser drew."""
    return " ".join(file.name.casefold().split()) or file.voter if not file.model else file.voter


def _describe_repeat(earlier: VoterFile, file: VoterFile) -> str:
    both = f"{_describe_voter(file)} has sent two files; the later one counts."
    return both if earlier.voter == file.voter else f"{both} If they are two people, change the name in one file."


def _describe_voter(file: VoterFile) -> str:
    """A voter's name for a person to read, without what could steer a terminal."""
    name = "".join(letter for letter in " ".join(file.name.split()) if letter.isprintable())
    return name or f"Voter {slugify(file.voter)}"


def _count_voter(file: VoterFile, pair_of: Mapping[int, BallotPair]) -> Voter:
    checks = [vote for vote in file.votes if pair_of[vote.pair].good]
    others = [vote for vote in file.votes if not pair_of[vote.pair].good]
    return Voter(
        _describe_voter(file),
        bool(file.model),
        votes=len(others),
        ties=sum(vote.choice == TIE for vote in others),
        checks=len(checks),
        failed_checks=sum(vote.choice != pair_of[vote.pair].good for vote in checks),
        disagreements=count_disagreements(others),
    )


def _unblind(vote: CastVote, pair: BallotPair, voter: str) -> Vote:
    """A vote in terms of systems, which stand in alphabetical order."""
    points = POINTS.get(vote.choice, 0.0)
    if pair.left > pair.right:
        return Vote(voter, pair.unit, pair.right, pair.left, 1 - points)
    return Vote(voter, pair.unit, pair.left, pair.right, points)

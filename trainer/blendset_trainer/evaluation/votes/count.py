# SPDX-License-Identifier: Apache-2.0
"""What the votes on a page come to: strengths, win rates, and how far the voters can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blendset.errors import BlendsetError
from blendset_trainer.evaluation.votes.bradley_terry import (
    PRIOR,
    Strength,
    WinRate,
    compute_win_rates,
    find_separation,
    fit_bradley_terry,
)
from blendset_trainer.evaluation.votes.read import Voter, read_votes

SEPARATED = (
    "Some systems never lost to others, so that their strengths are as large as the prior of "
    f"{PRIOR} wins lets them be, and the intervals of strengths too narrow; read the win rates."
)


@dataclass(frozen=True)
class VoteResult:
    """What votes come to. `votes`, `ties` and the figures leave out voters who failed too many attention checks.

    `left_out` says who they are. `order_bias` is the share of pairs that models judged otherwise in the other order,
    None where none voted.
    """

    title: str
    question: str
    strengths: tuple[Strength, ...]
    win_rates: tuple[WinRate, ...]
    votes: int
    ties: int
    units: int
    voters: tuple[Voter, ...]
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    order_bias: float | None


def count_votes(key: Path, files: Sequence[Path]) -> VoteResult:
    """Count the votes in the files of voters, with the key of their page.

    Raises BlendsetError for files that cannot be read with it, where no vote counts, and for votes on one unit only.
    """
    read = read_votes(key, files)
    if not read.votes:
        raise BlendsetError(" ".join(("No vote counts; ask more people.", *read.left_out)))
    notes = (*read.notes, *((SEPARATED,) if find_separation(read.votes) else ()))
    return VoteResult(
        title=read.key.title,
        question=read.key.question,
        strengths=tuple(fit_bradley_terry(read.votes)),
        win_rates=tuple(compute_win_rates(read.votes)),
        votes=len(read.votes),
        ties=sum(vote.points == 0.5 for vote in read.votes),
        units=len({vote.unit for vote in read.votes}),
        voters=read.voters,
        left_out=read.left_out,
        notes=notes,
        order_bias=_compute_order_bias(read.voters),
    )


def _compute_order_bias(voters: Sequence[Voter]) -> float | None:
    models = [voter for voter in voters if voter.is_model]
    votes = sum(voter.votes for voter in models)
    return sum(voter.disagreements for voter in models) / votes if votes else None

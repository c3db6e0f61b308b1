# SPDX-License-Identifier: Apache-2.0
"""Pictures of two systems that a test can tell apart, ballots of them, and what voters send back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from blendset.records import read_record
from blendset_trainer.evaluation.votes.ballot import BallotKey, BallotPair
from blendset_trainer.evaluation.votes.page import VotePage, write_ballot

DIM, BRIGHT = "dim-baseline", "bright-finetuned"
PROMPT = "a lamp on a table & <b>nothing</b> else"


def draw_pictures(folder: Path, units: int) -> dict[str, dict[str, list[Path]]]:
    """Write a picture of each unit by a system that makes dark ones, and by one that makes light and larger ones."""
    systems = {
        system: {f"unit-{number}": [folder / f"{system}-{number}.png"] for number in range(units)}
        for system in (DIM, BRIGHT)
    }
    for number in range(units):
        rng = np.random.default_rng(number)
        for system, low, size in ((DIM, 0, 48), (BRIGHT, 150, 64)):
            pixels = rng.integers(low, low + 100, (6, 8, 3), np.uint8)
            Image.fromarray(pixels).resize((size, size * 3 // 4)).save(folder / f"{system}-{number}.png")
    return systems


def make_ballot(folder: Path, units: int, checks: int = 3) -> VotePage:
    """Write a page with a pair of each unit, and its key."""
    prompts = {f"unit-{number}": PROMPT for number in range(units)}
    return write_ballot(
        draw_pictures(folder, units), prompts, folder / "vote.html", count=units, seed=7, checks=checks, size=64
    )


def read_pairs(page: VotePage) -> tuple[BallotPair, ...]:
    """Return the pairs of a page's key."""
    return read_record(page.key, BallotKey).pairs


def prefer(system: str, attentive: bool = True) -> Callable[[BallotPair], str]:
    """Return the choices of a voter who always prefers one system, and sees what an attention check is or does not."""

    def choose(pair: BallotPair) -> str:
        if pair.good:
            return pair.good if attentive else "tie"
        return "left" if pair.left == system else "right"

    return choose


def write_voter(
    page: VotePage,
    choose: Callable[[BallotPair], str],
    voter: str = "v1",
    name: str = "",
    saved: str = "2026-01-01T00:00:00.000Z",
) -> Path:
    """Write what a voter of these choices sends back."""
    votes = [
        {"pair": pair.pair, "choice": choose(pair), "milliseconds": 900, "order": pair.pair + 1}
        for pair in read_pairs(page)
    ]
    file = {"format_version": 1, "ballot": page.ballot, "voter": voter, "name": name, "saved": saved, "votes": votes}
    path = page.path.with_name(f"votes-{page.ballot}-{voter}.json")
    path.write_text(json.dumps(file), "utf-8")
    return path

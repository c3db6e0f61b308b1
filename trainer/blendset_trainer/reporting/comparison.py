# SPDX-License-Identifier: Apache-2.0
"""The page of a comparison: one HTML file with every figure of all sets, their differences, and pictures beside each
other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blendset.files import atomic_write
from blendset.records import read_record
from blendset_trainer.evaluation.records import COMPARISON, EXAMPLES, Comparison, Examples
from blendset_trainer.reporting.axes import Axis, choose_axis, list_numbers
from blendset_trainer.reporting.judgement import ComparisonSection, ForestFigure, build_comparison, build_rows
from blendset_trainer.reporting.templates import make_environment, read_source
from blendset_trainer.reporting.thumbnails import encode_thumbnail

if TYPE_CHECKING:
    from blendset_trainer.evaluation.votes.count import VoteResult

COMPARISON_PAGE = "comparison.html"
THUMBNAIL = 320
"""Pixels on a picture's longer side."""
SHARES = Axis((0.0, 0.5, 1.0), origin=0.5)


@dataclass(frozen=True)
class ExamplePictures:
    """A unit with a picture of it by each set, as data URIs; "" for one that cannot be read."""

    unit: str
    prompt: str
    pictures: Sequence[str]


@dataclass(frozen=True)
class VoteSection:
    """What votes come to, on the page."""

    question: str
    line: str
    figures: Sequence[ForestFigure]
    notes: Sequence[str]


def write_comparison_page(comparison: Comparison, out: Path, votes: VoteResult | None = None) -> Path:
    """Write the page of a comparison into its folder, with pictures where `examples.json` lies there, and with what
    votes come to; return its path. The same files give the same bytes.
    """
    environment = make_environment()
    page = environment.get_template("comparison.html").render(
        section=build_comparison(comparison),
        pictures=read_examples(out),
        votes=build_votes(votes) if votes else None,
        style=read_source(environment, "page.css") + read_source(environment, "judgement.css"),
    )
    atomic_write(out / COMPARISON_PAGE, page.encode(errors="backslashreplace"))
    return out / COMPARISON_PAGE


def read_comparison(folder: Path) -> tuple[ComparisonSection, list[ExamplePictures]]:
    """Read what `blendset compare` wrote into a folder, as a page shows it; BlendsetError where it holds none."""
    return build_comparison(read_record(folder / COMPARISON, Comparison)), read_examples(folder)


def read_examples(folder: Path) -> list[ExamplePictures]:
    """Read the pictures that a comparison in a folder shows; none where it has none."""
    if not (folder / EXAMPLES).exists():
        return []
    examples = read_record(folder / EXAMPLES, Examples)
    return [
        ExamplePictures(each.unit, each.prompt, [encode_thumbnail(folder / path, THUMBNAIL) for path in each.pictures])
        for each in examples.units
    ]


def build_votes(votes: VoteResult) -> VoteSection:
    """Return what votes come to as a page shows it."""
    strengths = [(each.system, each.estimate) for each in votes.strengths]
    rates = [(f"{each.one} over {each.other}", each.estimate) for each in votes.win_rates]
    axis = choose_axis([0.0, *list_numbers(*(estimate for _, estimate in strengths))])
    bias = "" if votes.order_bias is None else (
        f" A model judged {votes.order_bias:.0%} of its pairs otherwise in the other order; those are ties."
    )  # fmt: skip
    return VoteSection(
        question=votes.question,
        line=f"{votes.votes:,} votes ({votes.ties:,} ties) on {votes.units:,} units.{bias}",
        figures=(
            build_rows(rates, SHARES, "win-rates", "Win rates", "share of votes, ties as half; 0.5 is chance"),
            build_rows(strengths, axis, "strengths", "Strengths", "Bradley-Terry; a difference of 1 is odds of e : 1"),
        ),
        notes=(*votes.left_out, *votes.notes),
    )  # fmt: skip

# SPDX-License-Identifier: Apache-2.0
"""Results as rows of texts, for a terminal and for documents."""

from __future__ import annotations

from collections.abc import Sequence

from blendset_trainer.evaluation.metrics import HIGHER, LOWER
from blendset_trainer.evaluation.records import Comparison, Evaluation, Score
from blendset_trainer.evaluation.statistics.estimates import Estimate

SELECTED = "selected the data"
ARROWS = {HIGHER: "↑", LOWER: "↓", "": ""}
"""Which way is better."""
BETTER, WORSE, ALIKE = "better", "worse", "no difference"


def list_scores(evaluation: Evaluation) -> list[tuple[str, ...]]:
    """Return a row for each figure: name, value with its interval, pictures, and a mark where its scorer selected the
    data.
    """
    return [
        (name_score(score), format_estimate(score.estimate), str(score.pictures), SELECTED if score.selected else "")
        for score in evaluation.scores
    ]


def list_comparison(comparison: Comparison) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the head and the rows of a comparison: the values of all sets, and how each differs from the first."""
    first, *others = comparison.evaluations
    differences = {(each.name, each.other): each.estimate for each in comparison.differences}
    head = (
        "figure",
        first.title,
        *(part for other in others for part in (other.title, f"{other.title} - {first.title}")),
    )
    rows = []
    for score in first.scores:
        row = [name_score(score), format_estimate(score.estimate)]
        for other in others:
            found = next((each for each in other.scores if each.name == score.name), None)
            difference = differences.get((score.name, other.title))
            row += [format_estimate(found.estimate) if found else "", format_difference(score, difference)]
        rows.append(tuple(row))
    return head, rows


def name_score(score: Score) -> str:
    """Return a figure's name with an arrow to where it is better, and a star where its scorer selected the data."""
    return f"{score.name} {ARROWS[score.better]}".rstrip() + (" *" if score.selected else "")


def format_estimate(estimate: Estimate) -> str:
    """Return a value with its interval."""
    return f"{format_number(estimate.value)} [{format_number(estimate.low)}, {format_number(estimate.high)}]"


def format_difference(score: Score, estimate: Estimate | None) -> str:
    """Return a difference with its interval, its effect size, and what it says of the other set."""
    if estimate is None:
        return ""
    effect = "" if estimate.effect is None else f", d {estimate.effect:+.2f}"
    signed = f"{'+' if estimate.value > 0 else ''}{format_estimate(estimate)}"
    return f"{signed}{effect}{f', {verdict}' if (verdict := judge(score, estimate)) else ''}"


def judge(score: Score, estimate: Estimate) -> str:
    """Return what a difference says of the other set: BETTER, WORSE or ALIKE; "" where neither way is better."""
    if not score.better:
        return ""
    if not estimate.excludes_zero:
        return ALIKE
    return BETTER if (estimate.value > 0) == (score.better == HIGHER) else WORSE


def format_number(value: float) -> str:
    """Return a number with four digits that count."""
    return f"{value:.4g}"


def format_markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return "\n".join(lines) + "\n"

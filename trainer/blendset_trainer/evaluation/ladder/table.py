# SPDX-License-Identifier: Apache-2.0
"""A ladder's result as rows of texts, for a terminal and for documents."""

from __future__ import annotations

from collections.abc import Sequence

from blendset_trainer.evaluation.ladder.records import DIFFERS, Ablation, RungFigure
from blendset_trainer.evaluation.metrics import HIGHER
from blendset_trainer.evaluation.tables import ARROWS, BETTER, WORSE, format_estimate, format_markdown

Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""The head of a table, and its rows."""


def list_rungs(ablation: Ablation, figure: str = "") -> Rows:
    """Return the head and the rows of one figure, at first the deciding one: each rung's value, and how it differs from
    the first rung's.
    """
    name = figure or ablation.by
    found = [(rung.name, each) for rung in ablation.rungs if (each := rung.find_figure(name))]
    arrow = ARROWS[found[0][1].better] if found else ""
    head = ("rung", f"{name} {arrow}".rstrip(), f"minus {ablation.rungs[0].name}", "effect", "verdict")
    return head, [(rung, *_list_cells(each)) for rung, each in found]


def format_ablation(ablation: Ablation, figures: Sequence[str] = ()) -> str:
    """Return a table in Markdown of the deciding figure, with how clear that is, and one of each other figure named."""
    decided, *others = [format_markdown(*list_rungs(ablation, name)) for name in dict.fromkeys((ablation.by, *figures))]
    return "\n".join([decided, f"{describe_clarity(ablation)}\n", *others, *(f"{note}." for note in ablation.notes)])


def describe_clarity(ablation: Ablation) -> str:
    """Return sentences about how many seeds were trained, what is clear, and what the intervals are."""
    looks = ablation.planned - 1
    ends = "it is clear how each rung differs from the first" if ablation.clear else "it is not clear for all rungs"
    risk = f", which hold together for all {looks} looks with 95 %" if looks > 1 else ""
    small = f" Differences up to {ablation.smallest:g} do not matter." if ablation.smallest else ""
    return (
        f"By {ablation.by}, after {len(ablation.seeds)} of {ablation.planned} seeds, {ends}. Intervals are of "
        f"{100 * ablation.confidence:.4g} %{risk}; each model drew {ablation.prompts} prompts.{small}"
    )


def _list_cells(figure: RungFigure) -> tuple[str, str, str, str]:
    difference = figure.difference
    if difference is None:
        return format_estimate(figure.estimate), "", "", ""
    effect = "" if difference.effect is None else f"{difference.effect:+.2f}"
    return format_estimate(figure.estimate), format_estimate(difference), effect, _describe_verdict(figure)


def _describe_verdict(figure: RungFigure) -> str:
    if figure.verdict != DIFFERS or not figure.better or figure.difference is None:
        return figure.verdict
    return BETTER if (figure.difference.value > 0) == (figure.better == HIGHER) else WORSE

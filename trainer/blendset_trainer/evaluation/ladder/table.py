# SPDX-License-Identifier: Apache-2.0
"""A ladder's result as a table in Markdown, which reads well in a terminal too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from blendset_trainer.evaluation.intervals import Estimate
from blendset_trainer.evaluation.ladder.records import Ablation, RungFigure, RungResult
from blendset_trainer.evaluation.ladder.seeds import DIFFERS

EFFECT, VERDICT = "effect", "verdict"


def format_ablation(ablation: Ablation, figures: Sequence[str] = ()) -> str:
    """Return a table of each of some figures, at first the deciding one, with a sentence about how clear that is."""
    names = dict.fromkeys((ablation.by, *figures))
    tables = [_format_figure(ablation.rungs, name) for name in names]
    return "\n\n".join([tables[0], describe_clarity(ablation), *tables[1:], *(f"{note}." for note in ablation.notes)])


def describe_clarity(ablation: Ablation) -> str:
    """Return sentences about how many seeds were trained, and what the intervals are."""
    looks = ablation.planned - 1
    ends = "it is clear how each rung differs from the first" if ablation.clear else "it is not clear for all rungs"
    small = f" Differences up to {ablation.smallest:g} do not matter." if ablation.smallest else ""
    risk = f", which hold with 95 % at all {looks} looks" if looks > 1 else ""
    return (
        f"By {ablation.by}, after {len(ablation.seeds)} of {ablation.planned} seeds, {ends}. In brackets are "
        f"{100 * ablation.confidence:.4g} % intervals{risk}; {ablation.prompts} prompts.{small}"
    )


def _format_figure(rungs: Sequence[RungResult], name: str) -> str:
    figures = [(rung.name, figure) for rung in rungs if (figure := rung.find_figure(name))]
    better = next((f", {figure.better} is better" for _, figure in figures if figure.better), "")
    head = ("rung", f"{name}{better}", f"difference to {rungs[0].name}", EFFECT, VERDICT)
    return _format_table([head, *(tuple(_format_cells(rung, figure)) for rung, figure in figures)])


def _format_cells(rung: str, figure: RungFigure) -> Iterator[str]:
    difference = figure.difference
    yield from (rung, _format_estimate(figure.estimate), _format_estimate(difference) if difference else "")
    yield f"{difference.effect:.2g}" if difference and difference.effect is not None else ""
    yield _describe_verdict(figure)


def _describe_verdict(figure: RungFigure) -> str:
    if figure.verdict != DIFFERS or not figure.better or not figure.difference:
        return figure.verdict
    is_higher = figure.difference.value > 0
    return "better" if is_higher == (figure.better == "higher") else "worse"


def _format_estimate(estimate: Estimate) -> str:
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def _format_table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])

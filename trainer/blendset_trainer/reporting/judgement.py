# SPDX-License-Identifier: Apache-2.0
"""Evaluations and comparisons as a page shows them: figures by scorer, each value a mark with its interval on an axis.

`judgement.html` draws it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from blendset_trainer.evaluation.metrics import HIGHER, LOWER
from blendset_trainer.evaluation.records import Comparison, Difference, Evaluation, Score
from blendset_trainer.evaluation.statistics.estimates import Estimate
from blendset_trainer.evaluation.tables import ALIKE, BETTER, WORSE, judge
from blendset_trainer.evaluation.titles import name_figure, name_scorer
from blendset_trainer.reporting.axes import (
    Axis,
    Mark,
    Tick,
    choose_axis,
    choose_exponent,
    choose_scale_axis,
    divide_estimate,
    format_values,
    list_numbers,
    name_exponent,
)

HUES = 6
"""Colours of sets; they start over where there are more."""
DIRECTIONS = {HIGHER: ("↑", "higher is better"), LOWER: ("↓", "lower is better"), "": ("", "neither way is better")}
TONES = {BETTER: "better", WORSE: "worse", ALIKE: "alike"}
"""The classes of verdicts in the style sheet; of one that is none, "neutral"."""
EFFECTS = ((0.2, "tiny"), (0.5, "small"), (0.8, "medium"))
"""What Cohen calls a d below so much (1988, doi 10.4324/9780203771587); above it is large."""
HASH = re.compile(r"\b[0-9a-f]{12,}\b")
HASH_LETTERS = 8


@dataclass(frozen=True)
class DifferenceMark:
    """How a set differs from the first: `tone` is what it says, `verdict` the same in words."""

    value: str
    interval: str
    mark: Mark
    tone: str
    verdict: str
    effect: str


@dataclass(frozen=True)
class ValueRow:
    """A set's value of a figure; None where it has none. `hue` is its colour."""

    title: str
    hue: int
    value: str
    interval: str
    mark: Mark | None
    difference: DifferenceMark | None


@dataclass(frozen=True)
class ForestFigure:
    """A figure of one set or several, on one axis, and their differences to the first on another, where there are any.

    `arrow` and `direction` say which way is better.
    """

    name: str
    title: str
    arrow: str
    direction: str
    scale: str
    selected: bool
    rows: Sequence[ValueRow]
    ticks: Sequence[Tick]
    difference_ticks: Sequence[Tick]


@dataclass(frozen=True)
class ScorerFigures:
    """The figures of a scorer; `revision` is that of its weights, its hashes cut short."""

    title: str
    revision: str
    figures: Sequence[ForestFigure]


@dataclass(frozen=True)
class EvaluationSection:
    """An evaluation on the page; `line` says what was measured."""

    name: str
    title: str
    line: str
    groups: Sequence[ScorerFigures]
    notes: Sequence[str]


@dataclass(frozen=True)
class ComparisonSection:
    """A comparison on the page: its sets, what was compared, what it says of each set but the first, and figures."""

    titles: Sequence[str]
    unit: str
    question: str
    line: str
    counts: Sequence[tuple[str, Sequence[tuple[str, str]]]]
    groups: Sequence[ScorerFigures]
    notes: Sequence[str]


def build_evaluation(evaluation: Evaluation) -> EvaluationSection:
    """Return an evaluation as the page shows it."""
    groups = _group([_build_figure([evaluation], {}, score) for score in evaluation.scores], evaluation.scores)
    over = f"intervals are over {_count(evaluation.units, evaluation.unit)}"
    line = f"{_count(evaluation.pictures, 'picture')}; {over}{_describe_trusted(evaluation)}."
    return EvaluationSection(evaluation.name, evaluation.title, line, groups, evaluation.notes)


def build_comparison(comparison: Comparison) -> ComparisonSection:
    """Return a comparison as the page shows it."""
    sets, titles = comparison.evaluations, [each.title for each in comparison.evaluations]
    differences = {(each.name, each.other): each for each in comparison.differences}
    scores = list({score.name: score for each in reversed(sets) for score in reversed(each.scores)}.values())[::-1]
    scores.sort(key=lambda score: (score.scorer == "records", score.scorer))
    figures = [_build_figure(sets, differences, score) for score in scores]
    notes = dict.fromkeys((*comparison.notes, *(note for each in sets for note in each.notes)))
    return ComparisonSection(
        titles=titles,
        unit=sets[0].unit,
        question=f"{titles[0]} against {_join_with_and(titles[1:])}",
        line=_describe_sets(comparison),
        counts=[(title, _count_verdicts(figures, number)) for number, title in enumerate(titles) if number],
        groups=_group(figures, scores),
        notes=list(notes),
    )


def build_rows(rows: Sequence[tuple[str, Estimate]], axis: Axis, name: str, title: str, scale: str) -> ForestFigure:
    """Return texts with values on one axis, such as win rates, as the page shows them."""
    texts = format_values([estimate for _, estimate in rows])
    marks = [
        ValueRow(text, number % HUES, *words, axis.mark(estimate), None)
        for number, ((text, estimate), words) in enumerate(zip(rows, texts, strict=True))
    ]
    return ForestFigure(name, title, "", "", scale, False, marks, axis.ticks, ())


def _build_figure(
    sets: Sequence[Evaluation], differences: Mapping[tuple[str, str], Difference], score: Score
) -> ForestFigure:
    """A figure of all sets, on an axis of its scale for one set, and of the values for several."""
    found = {each.title: own for each in sets for own in each.scores if own.name == score.name}
    exponent = choose_exponent([own.estimate for own in found.values()])
    values = {title: divide_estimate(own.estimate, exponent) for title, own in found.items()}
    changes = {each.title: divide_estimate(change.estimate, exponent) for each in sets
               if (change := differences.get((score.name, each.title))) and change.estimate}  # fmt: skip
    estimates = list(values.values())
    numbers = list_numbers(*estimates)
    on_scale = len(sets) == 1 or len(set(numbers)) == 1
    axis = choose_scale_axis("" if exponent else score.scale, estimates) if on_scale else choose_axis(numbers)
    texts = dict(zip(values, format_values(estimates), strict=True))
    difference_axis = choose_axis([0.0, *list_numbers(*changes.values())])
    marks = _build_differences(score, changes, difference_axis)
    title, (arrow, direction) = name_figure(score.scorer, score.name), DIRECTIONS[score.better]
    return ForestFigure(
        name=score.name,
        title=title,
        arrow=arrow,
        direction=direction,
        scale=", ".join(filter(None, ("" if score.scale == title else score.scale, name_exponent(exponent)))),
        selected=any(own.selected for own in found.values()),
        rows=[
            ValueRow(
                each.title,
                number % HUES,
                *texts.get(each.title, ("no value", "")),
                axis.mark(values[each.title]) if each.title in values else None,
                marks.get(each.title),
            )
            for number, each in enumerate(sets)
        ],
        ticks=axis.ticks,
        difference_ticks=difference_axis.ticks if changes else (),
    )


def _build_differences(score: Score, changes: Mapping[str, Estimate], axis: Axis) -> dict[str, DifferenceMark]:
    """What the differences of a figure say of sets, by their titles."""
    marks = {}
    for (title, change), words in zip(changes.items(), format_values(list(changes.values()), True), strict=True):
        verdict, effect = judge(score, change), ""
        tone = TONES.get(verdict, "neutral" if change.excludes_zero else "alike")
        if change.effect is not None:
            effect = f"{name_effect(change.effect)} effect, d {abs(change.effect):.2f}"
        less_or_more = ("more" if change.value > 0 else "less") if change.excludes_zero else ALIKE
        marks[title] = DifferenceMark(*words, axis.mark(change), tone, verdict or less_or_more, effect)
    return marks


def name_effect(effect: float) -> str:
    """Return what Cohen calls an effect size."""
    return next((word for limit, word in EFFECTS if abs(effect) < limit), "large")


def shorten_revision(revision: str) -> str:
    """Return a revision with the first letters of its hashes."""
    return HASH.sub(lambda found: found[0][:HASH_LETTERS], revision)


def _group(figures: Sequence[ForestFigure], scores: Sequence[Score]) -> list[ScorerFigures]:
    """Figures by their scorers, from the figures of scores in the same order."""
    groups = []
    for (scorer, revision), members in groupby(
        zip(scores, figures, strict=True), key=lambda pair: (pair[0].scorer, pair[0].revision)
    ):
        groups.append(ScorerFigures(name_scorer(scorer), shorten_revision(revision), [figure for _, figure in members]))
    return groups


def _count_verdicts(figures: Sequence[ForestFigure], number: int) -> list[tuple[str, str]]:
    """Tones and texts, such as "3 better", of what the figures say of a set."""
    differences = [figure.rows[number].difference for figure in figures if figure.direction != DIRECTIONS[""][1]]
    counts = Counter(each.tone for each in differences if each)
    return [(tone, f"{counts[tone]} {verdict}") for verdict, tone in TONES.items()]


def _describe_sets(comparison: Comparison) -> str:
    """What was compared, in a sentence or two."""
    first = comparison.evaluations[0]
    if all(each.is_paired for each in comparison.differences):
        text = f"Paired by {first.unit}: the same {_count(first.units, first.unit)}, with " + (
            f"{_count(first.pictures, 'picture')} of each set"
        )
    else:
        sizes = [f"{_count(each.units, each.unit)} of {each.title}" for each in comparison.evaluations]
        text = f"Unpaired: {_join_with_and(sizes)}, drawn independently of each other"
    return f"{text}{_describe_trusted(first)}. Differences are to {first.title}; intervals are of 95 %."


def _describe_trusted(evaluation: Evaluation) -> str:
    if not evaluation.against:
        return ""
    return f"; distances are to {_count(evaluation.against_pictures, 'picture')} of {evaluation.against}"


def _join_with_and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

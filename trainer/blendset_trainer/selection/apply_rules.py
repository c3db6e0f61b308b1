# SPDX-License-Identifier: Apache-2.0
"""Applies rules to the dataset's table: which views are chosen, in order, and why each other view is not.

Nothing is deleted. A selection is a list of views; its drops give the reason for every other view.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.budgets import Allowance, make_allowance
from blendset_trainer.selection.columns import Numbers, get_column, read_numbers, read_texts, read_unit_vectors
from blendset_trainer.selection.diversity import k_center, parallel_farthest_points
from blendset_trainer.selection.duplicates import find_duplicates, read_vectors_and_cosine
from blendset_trainer.selection.files import CHOSEN, DROPS, HELD_OUT, PRESET, RULES, TABLE_HASH, TRAIN
from blendset_trainer.selection.groups import FOCAL_LENGTH, KEYS, number_view_sets
from blendset_trainer.selection.ranking import compute_scores, sort_best_first
from blendset_trainer.selection.rules import Diversity, KeepRule, Rules, SourceRule, find_columns, rules_to_toml
from blendset_trainer.selection.splits import assign_splits

IDENTITY = ("view_id", "scene", "subject", "subject_label", "view_set", "source")
"""Columns that every selection reads, whatever its rules."""


@dataclass(frozen=True)
class ViewSelection:
    """The result of rules: every view is either in `chosen` (schema CHOSEN) or in `drops` (schema DROPS).

    `chosen` is in order of choice, `drops` in the table's order. `reasons` counts the drops in the order of the rules.
    `skipped` are the columns of the rules that were left out, see `find_skipped_rules`.
    """

    chosen: pa.Table
    drops: pa.Table
    reasons: dict[str, int]
    skipped: tuple[str, ...] = ()


def apply_rules(table: pa.Table, rules: Rules, preset: str = "") -> ViewSelection:
    """Return what rules select from a table of `tables.read_index_with_stages`; the same input gives the same result.

    `preset` is recorded as the name of the rules. Raises BlendsetError where a rule cannot be applied, as where its
    column is missing.
    """
    verdicts = _Verdicts(table.num_rows)
    skipped = find_skipped_rules(table, rules)
    for rule in (rule for rule in rules.keep if rule not in skipped):
        _apply_keep_rule(table, rule, verdicts)
    if rules.smallest_view_set > 1:
        _drop_small_view_sets(table, rules.smallest_view_set, verdicts)
    score = _compute_score(table, rules, verdicts)
    _drop_duplicates(table, rules, score, verdicts)
    rows, sides = _choose(table, rules, score, verdicts)
    chosen = _build_chosen(table, rows, sides, rules, preset)
    columns = tuple(rule.column for rule in skipped)
    return ViewSelection(chosen, _build_drops(table, verdicts), verdicts.reasons, columns)


def find_skipped_rules(table: pa.Table, rules: Rules) -> list[KeepRule]:
    """Return the rules that keep views without their figure and are over a column of a stage that has none at all."""
    stages = {name.partition(".")[0] for name in table.column_names if "." in name}
    return [
        rule
        for rule in rules.keep
        if rule.missing == "keep" and "." in rule.column and rule.column.partition(".")[0] not in stages
    ]


@dataclass
class _Verdicts:
    """Which views are left (`open`), and the reason and the value that dropped each other view; all (views,)."""

    count: int
    reasons: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open = np.ones(self.count, dtype=bool)
        self.reason = np.full(self.count, "", dtype=object)
        self.figure = np.full(self.count, np.nan)
        self.original = np.full(self.count, -1)

    def drop(self, views: NDArray[np.bool_], reason: str, figure: Numbers | None = None) -> None:
        """Drop those of these views (a mask) that are left, for a reason; `figure` holds the values that decided."""
        dropped = views & self.open
        self.open &= ~dropped
        self.reason[dropped] = reason
        if figure is not None:
            self.figure[dropped] = figure[dropped]
        self.reasons[reason] = self.reasons.get(reason, 0) + int(dropped.sum())

    def drop_missing(self, values: Numbers, name: str, judged: NDArray[np.bool_] | bool = True) -> None:
        """Drop the views without a value in this column, of those that are `judged` (a mask, or all)."""
        missing = np.isnan(values) & judged
        if missing.any():
            self.drop(missing, f"no {name}")


def _apply_keep_rule(table: pa.Table, rule: KeepRule, verdicts: _Verdicts) -> None:
    judged = np.isin(read_texts(table, "source"), rule.sources) | (not rule.sources)
    if rule.one_of:
        values = read_texts(table, rule.column)
        outside = ~np.isin(values, rule.one_of) & ~((values == "") & (rule.missing == "keep"))
        verdicts.drop(outside & judged, rule.reason or f"{rule.column} is another")
        return
    figure = read_numbers(table, rule.column)
    if rule.missing == "drop":
        verdicts.drop_missing(figure, rule.column, judged)
    for bound, sign, beyond in (
        (rule.at_least, "below", figure < _to_number(rule.at_least)),
        (rule.above, "not above", figure <= _to_number(rule.above)),
        (rule.at_most, "above", figure > _to_number(rule.at_most)),
    ):
        if bound is not None:
            verdicts.drop(beyond & judged, rule.reason or f"{rule.column} {sign} {bound:g}", figure)


def _to_number(bound: float | None) -> float:
    return np.nan if bound is None else bound


def _drop_small_view_sets(table: pa.Table, smallest: int, verdicts: _Verdicts) -> None:
    sets = number_view_sets(table)
    left = np.bincount(sets[verdicts.open], minlength=table.num_rows)[sets].astype(np.float64)
    verdicts.drop(left < smallest, "too little left of its view set", left)


def _compute_score(table: pa.Table, rules: Rules, verdicts: _Verdicts) -> Numbers | None:
    """Return the ranking's score (views,), or None without a ranking; views that lack a term of it are dropped."""
    if not rules.ranking:
        return None
    for term in rules.ranking.terms:
        verdicts.drop_missing(read_numbers(table, term.column), term.column)
    return compute_scores(table, rules.ranking, verdicts.open)


def _sort_open(score: Numbers | None, verdicts: _Verdicts) -> NDArray[np.int64]:
    """Return the rows of the views that are left, best first; without a ranking in the table's order."""
    return np.flatnonzero(verdicts.open) if score is None else sort_best_first(score, verdicts.open)


def _drop_duplicates(table: pa.Table, rules: Rules, score: Numbers | None, verdicts: _Verdicts) -> None:
    for rule in rules.duplicates:
        vectors, cosine = read_vectors_and_cosine(table, rule)
        order = _sort_open(score, verdicts)
        original = find_duplicates(vectors[order], number_view_sets(table)[order], cosine)
        verdicts.original[order] = np.where(original >= 0, order[original], -1)
        verdicts.drop(verdicts.original >= 0, "duplicate")


def _choose(
    table: pa.Table, rules: Rules, score: Numbers | None, verdicts: _Verdicts
) -> tuple[NDArray[np.int64], list[str] | None]:
    """Return the chosen rows in order, and their sides (TRAIN or HELD_OUT) where the sampling decides them."""
    vectors = None
    if rules.diversity:
        vectors = read_unit_vectors(table, rules.diversity.column)
        verdicts.drop_missing(vectors[:, 0].astype(np.float64), rules.diversity.column)
    allowed = make_allowance(table, rules.budgets, verdicts.open)
    order, count = _sort_open(score, verdicts), _count_to_choose(rules, int(verdicts.open.sum()))
    sides = None
    if rules.diversity is None or vectors is None:
        rows = _take_first(order, allowed, count)
    elif rules.diversity.method == "k-center":
        rows = k_center(vectors, _compute_quality(order, table.num_rows) ** rules.diversity.quality, allowed, count)
    else:
        sizes = _compute_sizes(rules.diversity, count)
        rows, turns = parallel_farthest_points(vectors, sizes, allowed, rules.seed)
        sides = [HELD_OUT if turn else TRAIN for turn in turns] if len(sizes) > 1 else None
    chosen = np.array(rows, dtype=np.int64)
    _drop_unchosen(chosen, allowed, score, rules, verdicts)
    return chosen, sides


def _count_to_choose(rules: Rules, left: int) -> int:
    """Return how many views to choose of those that are left."""
    by_share = left if rules.share is None else round(rules.share * left)
    return min(left, by_share, left if rules.views is None else rules.views)


def _take_first(order: NDArray[np.int64], allowed: Allowance, count: int) -> list[int]:
    """Return the first rows, at most `count`, that the budgets allow."""
    rows: list[int] = []
    for row in order.tolist():
        if len(rows) == count:
            break
        if allowed.open[row]:
            allowed.take(row)
            rows.append(row)
    return rows


def _compute_quality(order: NDArray[np.int64], count: int) -> Numbers:
    """Return a quality (views,) from the rank alone: 1 for the best view, less and less in even steps.

    So scores of any scale and sign can weight a distance.
    """
    quality = np.zeros(count)
    quality[order] = 1 - np.arange(len(order)) / max(len(order), 1)
    return quality


def _compute_sizes(diversity: Diversity, count: int) -> list[int]:
    """Return integers that add up to `count`, in the proportion of the parts."""
    ends = np.rint(np.cumsum(diversity.parts) / sum(diversity.parts) * count).astype(int)
    return [int(size) for size in np.diff(ends, prepend=0)]


def _drop_unchosen(
    chosen: NDArray[np.int64], allowed: Allowance, score: Numbers | None, rules: Rules, verdicts: _Verdicts
) -> None:
    left = verdicts.open.copy()
    left[chosen] = False
    for kind in KEYS:
        if (allowed.spent == kind).any():
            verdicts.drop(left & (allowed.spent == kind), f"enough of its {kind.replace('_', ' ')}", score)
    if left.any():
        verdicts.drop(left, "less different" if rules.diversity else "ranked lower", score)


def _build_chosen(
    table: pa.Table, rows: NDArray[np.int64], sides: list[str] | None, rules: Rules, preset: str
) -> pa.Table:
    of_splits = {rules.splits.column, FOCAL_LENGTH} if rules.splits else set()
    views = table.select([*IDENTITY, *sorted(of_splits & set(table.column_names))]).take(pa.array(rows))
    if sides is None:
        sides = assign_splits(views, rules.splits, rules.seed) if rules.splits else [TRAIN] * len(rows)
    origins = read_texts(views, "source").tolist()
    sources = [rules.sources.get(origin, SourceRule()) for origin in origins]
    bands = _assign_noise_bands(table, rows, origins, rules)
    columns = [views["view_id"], [source.weight for source in sources], origins, bands, sides]
    metadata = {RULES: rules_to_toml(rules), PRESET: preset, TABLE_HASH: hash_columns(table, rules)}
    return pa.table(
        [pa.array(values, field.type) if isinstance(values, list) else values.cast(field.type)
         for values, field in zip(columns, CHOSEN, strict=True)],
        schema=CHOSEN.with_metadata(metadata),
    )  # fmt: skip


def _assign_noise_bands(table: pa.Table, rows: NDArray[np.int64], origins: list[str], rules: Rules) -> list[str]:
    """Return the noise band of each chosen row: the first band that it has earned, else its source's."""
    bands = [rules.sources.get(origin, SourceRule()).noise_band for origin in origins]
    for name, source in rules.sources.items():
        for earned in reversed(source.earned):
            values = read_numbers(table, earned.column)[rows]
            low, high = (bound if bound is not None else end for bound, end in
                         ((earned.at_least, -np.inf), (earned.at_most, np.inf)))  # fmt: skip
            for row in np.flatnonzero((values >= low) & (values <= high)).tolist():  # NaN earns nothing
                bands[row] = earned.noise_band if origins[row] == name else bands[row]
    return bands


def _build_drops(table: pa.Table, verdicts: _Verdicts) -> pa.Table:
    dropped = np.flatnonzero(~verdicts.open)
    ids = read_texts(table, "view_id")
    figure = verdicts.figure[dropped]
    original = verdicts.original[dropped]
    originals = np.where(original >= 0, ids[original], "")
    reasons = verdicts.reason[dropped].tolist()
    return pa.table([ids[dropped], reasons, pa.array(figure, mask=np.isnan(figure)), originals], schema=DROPS)


def hash_columns(table: pa.Table, rules: Rules) -> str:
    """Return the SHA-256, in hexadecimal, of the columns that a selection by these rules depends on."""
    skipped = find_skipped_rules(table, rules)
    applied = replace(rules, keep=tuple(rule for rule in rules.keep if rule not in skipped))
    names = dict.fromkeys([*IDENTITY, *find_columns(applied)])
    digest = hashlib.sha256()
    for name in names:
        values = get_column(table, name).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, pa.schema([(name, values.type)])) as stream:
            stream.write_batch(pa.record_batch([values], names=[name]))
        digest.update(sink.getvalue())
    return digest.hexdigest()

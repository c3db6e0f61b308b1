# SPDX-License-Identifier: Apache-2.0
"""From the dataset's table and rules to a selection: what is chosen, in order, and why each other view is not.

Nothing is deleted: a selection is a list beside the views, and its drops say for every other view what decided.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset_trainer.selection.budgets import Allowance, make_allowance
from blendset_trainer.selection.columns import Numbers, get_column, read_numbers, read_texts, read_unit_vectors
from blendset_trainer.selection.diversity import k_center, parallel_farthest_points
from blendset_trainer.selection.duplicates import find_duplicates, read_vectors_and_cosine
from blendset_trainer.selection.groups import KEYS, number_view_sets
from blendset_trainer.selection.ranking import compute_scores, sort_best_first
from blendset_trainer.selection.rules import (
    PRESET,
    RULES,
    Diversity,
    KeepRule,
    Rules,
    SourceRule,
    find_columns,
    rules_to_toml,
)
from blendset_trainer.selection.splits import HELD_OUT, TRAIN, assign_splits

CHOSEN = pa.schema(
    {"view_id": pa.string(), "weight": pa.float32(), "source": pa.string(), "noise_band": pa.string(),
     "split": pa.string()}
)  # fmt: skip
DROPS = pa.schema({"view_id": pa.string(), "reason": pa.string(), "figure": pa.float64(), "duplicate_of": pa.string()})
TABLE_HASH = b"table"
"""Key of the schema metadata: hash of the columns that decided."""
IDENTITY = ("view_id", "scene", "subject", "subject_label", "view_set", "source")
"""What every selection reads, whatever its rules."""


@dataclass(frozen=True)
class ViewSelection:
    """`chosen` has the schema CHOSEN, in order of choice; `drops` has DROPS, in the table's order; together they hold
    each view once. `reasons` counts the drops in the order of the rules."""

    chosen: pa.Table
    drops: pa.Table
    reasons: dict[str, int]


def select(table: pa.Table, rules: Rules, preset: str = "") -> ViewSelection:
    """Apply the rules to a table as `tables.joined` gives it; the same table and rules give the same selection.

    Raises BlendsetError where a rule cannot be applied: no such column, or no view that has its figure.
    """
    verdicts = _Verdicts(table.num_rows)
    for rule in rules.keep:
        _keep(table, rule, verdicts)
    if rules.smallest_view_set > 1:
        _drop_small_view_sets(table, rules.smallest_view_set, verdicts)
    score = _score(table, rules, verdicts)
    _drop_duplicates(table, rules, score, verdicts)
    rows, sides = _choose(table, rules, score, verdicts)
    return ViewSelection(_chosen(table, rows, sides, rules, preset), _drops(table, verdicts), verdicts.reasons)


@dataclass
class _Verdicts:
    """Which views are still there, and what decided on the others."""

    count: int
    reasons: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.open = np.ones(self.count, dtype=bool)
        self.reason = np.full(self.count, "", dtype=object)
        self.figure = np.full(self.count, np.nan)
        self.original = np.full(self.count, -1)

    def drop(self, views: NDArray[np.bool_], reason: str, figure: Numbers | None = None) -> None:
        """Drop those of these views that are still there, for a reason and by a figure."""
        going = views & self.open
        self.open &= ~going
        self.reason[going] = reason
        if figure is not None:
            self.figure[going] = figure[going]
        self.reasons[reason] = self.reasons.get(reason, 0) + int(going.sum())

    def drop_missing(self, values: Numbers, name: str) -> None:
        """Drop the views without a figure in this column."""
        if np.isnan(values).any():
            self.drop(np.isnan(values), f"no {name}")


def _keep(table: pa.Table, rule: KeepRule, verdicts: _Verdicts) -> None:
    if rule.one_of:
        values = read_texts(table, rule.column)
        outside = ~np.isin(values, rule.one_of) & ~((values == "") & (rule.missing == "keep"))
        verdicts.drop(outside, rule.reason or f"{rule.column} is another")
        return
    figure = read_numbers(table, rule.column)
    if rule.missing == "drop":
        verdicts.drop_missing(figure, rule.column)
    for bound, sign, beyond in (
        (rule.at_least, "below", figure < _number(rule.at_least)),
        (rule.above, "not above", figure <= _number(rule.above)),
        (rule.at_most, "above", figure > _number(rule.at_most)),
    ):
        if bound is not None:
            verdicts.drop(beyond, rule.reason or f"{rule.column} {sign} {bound:g}", figure)


def _number(bound: float | None) -> float:
    return np.nan if bound is None else bound


def _drop_small_view_sets(table: pa.Table, smallest: int, verdicts: _Verdicts) -> None:
    sets = number_view_sets(table)
    left = np.bincount(sets[verdicts.open], minlength=table.num_rows)[sets].astype(np.float64)
    verdicts.drop(left < smallest, "too little left of its view set", left)


def _score(table: pa.Table, rules: Rules, verdicts: _Verdicts) -> Numbers | None:
    """Return the ranking's score; views that lack a figure of it are dropped."""
    if not rules.ranking:
        return None
    for term in rules.ranking.terms:
        verdicts.drop_missing(read_numbers(table, term.column), term.column)
    return compute_scores(table, rules.ranking, verdicts.open)


def _ordered(score: Numbers | None, verdicts: _Verdicts) -> NDArray[np.int64]:
    """The views still there, best first; without a ranking in the table's order."""
    return np.flatnonzero(verdicts.open) if score is None else sort_best_first(score, verdicts.open)


def _drop_duplicates(table: pa.Table, rules: Rules, score: Numbers | None, verdicts: _Verdicts) -> None:
    for rule in rules.duplicates:
        vectors, cosine = read_vectors_and_cosine(table, rule)
        order = _ordered(score, verdicts)
        original = find_duplicates(vectors[order], number_view_sets(table)[order], cosine)
        verdicts.original[order] = np.where(original >= 0, order[original], -1)
        verdicts.drop(verdicts.original >= 0, "duplicate")


def _choose(
    table: pa.Table, rules: Rules, score: Numbers | None, verdicts: _Verdicts
) -> tuple[NDArray[np.int64], list[str] | None]:
    """Return the rows chosen, in order, and their sides where the way of choosing decides on them."""
    vectors = None
    if rules.diversity:
        vectors = read_unit_vectors(table, rules.diversity.column)
        verdicts.drop_missing(vectors[:, 0].astype(np.float64), rules.diversity.column)
    allowed = make_allowance(table, rules.budgets, verdicts.open)
    order, wanted = _ordered(score, verdicts), _wanted(rules, int(verdicts.open.sum()))
    sides = None
    if rules.diversity is None or vectors is None:
        rows = _first_of(order, allowed, wanted)
    elif rules.diversity.method == "k-center":
        rows = k_center(vectors, _quality(order, table.num_rows) ** rules.diversity.quality, allowed, wanted)
    else:
        sizes = _sizes(rules.diversity, wanted)
        rows, turns = parallel_farthest_points(vectors, sizes, allowed, rules.seed)
        sides = [HELD_OUT if turn else TRAIN for turn in turns] if len(sizes) > 1 else None
    chosen = np.array(rows, dtype=np.int64)
    _drop_unchosen(chosen, allowed, score, rules, verdicts)
    return chosen, sides


def _wanted(rules: Rules, there: int) -> int:
    """How many views to choose of those that are there."""
    by_share = there if rules.share is None else round(rules.share * there)
    return min(there, by_share, there if rules.views is None else rules.views)


def _first_of(order: NDArray[np.int64], allowed: Allowance, wanted: int) -> list[int]:
    """The first rows that the budgets allow."""
    rows: list[int] = []
    for row in order.tolist():
        if len(rows) == wanted:
            break
        if allowed.open[row]:
            allowed.take(row)
            rows.append(row)
    return rows


def _quality(order: NDArray[np.int64], count: int) -> Numbers:
    """1 for the best view, falling evenly with its place; figures of any scale and sign become one quality."""
    quality = np.zeros(count)
    quality[order] = 1 - np.arange(len(order)) / max(len(order), 1)
    return quality


def _sizes(diversity: Diversity, wanted: int) -> list[int]:
    """Whole numbers that add up to what is wanted, in the proportion of the parts."""
    ends = np.rint(np.cumsum(diversity.parts) / sum(diversity.parts) * wanted).astype(int)
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


def _chosen(table: pa.Table, rows: NDArray[np.int64], sides: list[str] | None, rules: Rules, preset: str) -> pa.Table:
    taken = table.select(IDENTITY if not rules.splits or not rules.splits.column else [*IDENTITY, rules.splits.column])
    taken = taken.take(pa.array(rows))
    if sides is None:
        sides = assign_splits(taken, rules.splits, rules.seed) if rules.splits else [TRAIN] * len(rows)
    origins = read_texts(taken, "source").tolist()
    how = [rules.sources.get(origin, SourceRule()) for origin in origins]
    bands = _noise_bands(table, rows, origins, rules)
    columns = [taken["view_id"], [each.weight for each in how], origins, bands, sides]
    metadata = {RULES: rules_to_toml(rules), PRESET: preset, TABLE_HASH: hash_columns(table, rules)}
    return pa.table(
        [pa.array(values, field.type) if isinstance(values, list) else values.cast(field.type)
         for values, field in zip(columns, CHOSEN, strict=True)],
        schema=CHOSEN.with_metadata(metadata),
    )  # fmt: skip


def _noise_bands(table: pa.Table, rows: NDArray[np.int64], origins: list[str], rules: Rules) -> list[str]:
    """The noise band of each chosen row: the first that its figures earn it, else its source's."""
    bands = [rules.sources.get(origin, SourceRule()).noise_band for origin in origins]
    for name, source in rules.sources.items():
        for each in reversed(source.earned):
            values = read_numbers(table, each.column)[rows]
            low, high = (bound if bound is not None else end for bound, end in
                         ((each.at_least, -np.inf), (each.at_most, np.inf)))  # fmt: skip
            for row in np.flatnonzero((values >= low) & (values <= high)).tolist():  # NaN earns nothing
                bands[row] = each.noise_band if origins[row] == name else bands[row]
    return bands


def _drops(table: pa.Table, verdicts: _Verdicts) -> pa.Table:
    gone = np.flatnonzero(~verdicts.open)
    ids = read_texts(table, "view_id")
    figure = verdicts.figure[gone]
    original = verdicts.original[gone]
    twins = np.where(original >= 0, ids[original], "")
    reasons = verdicts.reason[gone].tolist()
    return pa.table([ids[gone], reasons, pa.array(figure, mask=np.isnan(figure)), twins], schema=DROPS)


def hash_columns(table: pa.Table, rules: Rules) -> str:
    """Hash, in hexadecimal, the columns that decide on a selection."""
    names = dict.fromkeys([*IDENTITY, *find_columns(rules)])
    digest = hashlib.sha256()
    for name in names:
        values = get_column(table, name).combine_chunks()
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, pa.schema([(name, values.type)])) as stream:
            stream.write_batch(pa.record_batch([values], names=[name]))
        digest.update(sink.getvalue())
    return digest.hexdigest()

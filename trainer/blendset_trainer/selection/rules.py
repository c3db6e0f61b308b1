# SPDX-License-Identifier: Apache-2.0
"""The rules of a selection, as TOML, and the published recipes that come with Blendset.

A threshold is valid for the scorer that it was set for; over another scorer's column it is an error, unless the rules
allow it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import tomli_w

from blendset.errors import BlendsetError
from blendset.files import explain_read_errors
from blendset.options import REQUIRED, find_nearest, option, parse_toml, read_toml, structure, unstructure
from blendset_trainer.selection.files import RULES

PRESETS = Path(__file__).with_name("presets")


@dataclass(frozen=True)
class KeepRule:
    """Keep the views whose value in a column is within these bounds."""

    column: str = option(REQUIRED, "the column that decides")
    at_least: float | None = option(None, "lowest figure that passes")
    above: float | None = option(None, "figures above this pass")
    at_most: float | None = option(None, "highest figure that passes")
    one_of: tuple[str, ...] = option((), "texts that pass")
    missing: str = option(
        "drop",
        "what becomes of a view without the figure; with keep, a rule without its scorer is left out",
        choices=("drop", "keep"),
    )
    sources: tuple[str, ...] = option((), "the sources whose views are judged; empty is all")
    reason: str = option("", "what the funnel says of the views that go")
    scorer: str = option("", "the scorer that the bounds were set for; empty takes any")


@dataclass(frozen=True)
class DuplicateRule:
    """Of views that look alike keep the best-ranked one. The views of one view set may look alike."""

    column: str = option(REQUIRED, "a perceptual hash or an embedding")
    bits: int | None = option(None, "of hashes: most bits in which duplicates differ", at_least=0, at_most=63)
    cosine: float | None = option(None, "of embeddings: least cosine of duplicates", at_least=-1, at_most=1)


@dataclass(frozen=True)
class RankingTerm:
    """One term of the weighted score."""

    column: str = option(REQUIRED, "the column that holds it")
    weight: float = option(1.0, "what it counts")
    floor: float | None = option(None, "figures below count as this")
    scorer: str = option("", "the scorer that the weight was set for; empty takes any")


@dataclass(frozen=True)
class Ranking:
    """Order views by a weighted sum, best first."""

    terms: tuple[RankingTerm, ...] = option(REQUIRED, "the figures, as [[ranking.terms]]")
    standardise: bool = option(False, "bring each figure to mean 0 and deviation 1 first")


@dataclass(frozen=True)
class Diversity:
    """Choose views that differ, instead of the first ones of the ranking.

    "k-center" weights the distance to the chosen views with quality; "parallel-fps" is BlendFusion's sampling.
    """

    column: str = option(REQUIRED, "an embedding")
    method: str = option("k-center", "how views are chosen", choices=("k-center", "parallel-fps"))
    quality: float = option(1.0, "of k-center: exponent of the quality, 0 ignores it", at_least=0)
    parts: tuple[float, ...] = option(
        (1.0,),
        "of parallel-fps: sizes of its splits to one another; the first trains, the others are held out",
        at_least=0.001,
    )


@dataclass(frozen=True)
class Budgets:
    """Most views of one scene, one subject, one label, one view set. The whole scene counts as a subject too."""

    scene: int | None = option(None, "most views of one scene", at_least=1)
    subject: int | None = option(None, "most views of one subject", at_least=1)
    label: int | None = option(None, "most views of one label", at_least=1)
    view_set: int | None = option(None, "most views of one view set: 1 keeps the best of n", at_least=1)


@dataclass(frozen=True)
class Splits:
    """Hold views out in whole groups."""

    held_out: float = option(0.1, "share of the views to hold out", at_least=0, at_most=0.9)
    by: str = option("subject", "what never stands on both sides", choices=("subject", "scene", "label"))
    column: str = option("", "an embedding; views nearer than `apart` stay on one side")
    apart: float = option(0.05, "least cosine distance between the sides", at_least=0, at_most=2)


@dataclass(frozen=True)
class EarnedBand:
    """A noise band for images whose value in a column, such as consistency with siblings, is within these bounds."""

    column: str = option(REQUIRED, "the column that decides")
    noise_band: str = option(REQUIRED, "the noise levels that they may train; empty is all")
    at_least: float | None = option(None, "lowest figure that earns it")
    at_most: float | None = option(None, "highest figure that earns it")


@dataclass(frozen=True)
class SourceRule:
    """How images of one source are trained on; of several earned noise bands, the first counts."""

    weight: float = option(1.0, "how much each counts", at_least=0)
    noise_band: str = option("", "the noise levels it may train; empty is all")
    earned: tuple[EarnedBand, ...] = ()


@dataclass(frozen=True)
class Rules:
    """All rules of a selection, in the order in which they are applied."""

    views: int | None = option(None, "most views to choose", at_least=1)
    share: float | None = option(None, "most views to choose, as a share of those still there", at_least=0, at_most=1)
    seed: int = option(0, "everything random follows from it", at_least=0)
    smallest_view_set: int = option(0, "view sets with fewer views left are dropped; 0 lets views stand alone")
    other_scorers: bool = option(False, "allow thresholds over the columns of other scorers than theirs")
    keep: tuple[KeepRule, ...] = ()
    ranking: Ranking | None = None
    duplicates: tuple[DuplicateRule, ...] = ()
    diversity: Diversity | None = None
    budgets: Budgets = field(default_factory=Budgets)
    splits: Splits | None = None
    sources: dict[str, SourceRule] = field(default_factory=dict)


def rules_from_dict(values: Mapping[str, Any], where: str) -> Rules:
    """Return the rules in nested tables; `where` names them in the BlendsetError for what is wrong in them."""
    rules = structure(Rules, values, where)
    for rule in rules.keep:
        if rule.one_of == () and {rule.at_least, rule.above, rule.at_most} == {None}:
            raise BlendsetError(f"{where}: the rule over '{rule.column}' has no bound; give it at_least or at_most.")
    for duplicates in rules.duplicates:
        if (duplicates.bits is None) == (duplicates.cosine is None):
            raise BlendsetError(f"{where}: duplicates by '{duplicates.column}' need either bits or cosine.")
    if rules.splits and rules.diversity and len(rules.diversity.parts) > 1:
        raise BlendsetError(f"{where}: diversity.parts and [splits] both hold views out; give one of them.")
    if not rules.other_scorers:
        _refuse_other_scorers(rules, where)
    return rules


def rules_to_toml(rules: Rules) -> str:
    """Return the rules as TOML text, which `rules_from_dict` turns into the same rules again."""
    return tomli_w.dumps(unstructure(rules))


def load_rules(path: Path) -> Rules:
    """Return the rules in a TOML file, or those of a selection (.parquet); BlendsetError for what is wrong in them."""
    return rules_from_dict(_read_selection_rules(path) if path.suffix == ".parquet" else read_toml(path), str(path))


def list_presets() -> list[str]:
    """Return the names of the rules that come with Blendset, sorted."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_preset(name: str) -> Rules:
    """Return the rules of one of `list_presets`; BlendsetError for another name."""
    if name not in list_presets():
        raise BlendsetError(f"There is no preset '{name}'; choose {', '.join(list_presets())}.")
    return load_rules(PRESETS / f"{name}.toml")


def replace_scorer(rules: Rules, published: str, other: str) -> Rules:
    """Return the rules with the columns of the scorer `published` replaced by those of `other`; thresholds stay.

    Raises BlendsetError where no rule is over a column of `published`.
    """
    if published not in find_scorers(rules):
        known = find_nearest(published, sorted(find_scorers(rules))) or ", ".join(sorted(find_scorers(rules)))
        raise BlendsetError(f"No rule is over a column of '{published}'; the rules know {known}.")
    replaced = _replace_columns(unstructure(rules), f"{published}.", f"{other}.")
    return replace(structure(Rules, replaced, "rules"), other_scorers=True)


def find_scorers(rules: Rules) -> set[str]:
    """Return the names of the stages whose columns the rules read."""
    return {column.split(".")[0] for column in find_columns(rules) if "." in column}


def find_columns(rules: Rules) -> list[str]:
    """Return every column that a rule names, each once."""
    terms = rules.ranking.terms if rules.ranking else ()
    single = [rule for rule in (rules.diversity, rules.splits) if rule]
    earned = [band for source in rules.sources.values() for band in source.earned]
    columns = [rule.column for rule in (*rules.keep, *terms, *rules.duplicates, *single, *earned)]
    return list(dict.fromkeys(column for column in columns if column))


def _refuse_other_scorers(rules: Rules, where: str) -> None:
    terms = rules.ranking.terms if rules.ranking else ()
    scaled = [(rule.column, rule.scorer) for rule in rules.keep] + [(term.column, term.scorer) for term in terms]
    for column, scorer in scaled:
        if scorer and column.split(".")[0] != scorer:
            raise BlendsetError(
                f"{where}: the figures for '{column}' were set for {scorer}, whose scale may be another; "
                "take that scorer's column, or write other_scorers = true to use them all the same."
            )


def _replace_columns(value: Any, old: str, new: str) -> Any:
    """Return the same tables, with `new` instead of `old` at the beginning of every column."""
    if isinstance(value, Mapping):
        return {key: _replace_columns(item, old, new) if key != "column" else _replace_prefix(item, old, new)
                for key, item in value.items()}  # fmt: skip
    return [_replace_columns(item, old, new) for item in value] if isinstance(value, list | tuple) else value


def _replace_prefix(column: str, old: str, new: str) -> str:
    return new + column.removeprefix(old) if column.startswith(old) else column


def _read_selection_rules(path: Path) -> dict[str, Any]:
    with explain_read_errors(path, "give a TOML file or a selection of Blendset"):
        with path.open("rb") as data:
            rules = pq.read_schema(data).metadata[RULES]
        return parse_toml(rules.decode(), str(path))

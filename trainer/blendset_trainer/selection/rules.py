# SPDX-License-Identifier: Apache-2.0
"""What a selection is made by: rules over columns, as TOML, and the published recipes that come with Blendset.

A threshold belongs to the scorer that it was set for; over another scorer's column it is refused unless asked for.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import tomli_w

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, find_nearest, option, read_toml, structure, unstructure

PRESETS = Path(__file__).with_name("presets")
RULES, PRESET = b"rules", b"preset"
"""Keys of a selection's schema metadata."""


@dataclass(frozen=True)
class KeepRule:
    """Keep the views whose figure lies within these bounds."""

    column: str = option(REQUIRED, "the column that decides")
    at_least: float | None = option(None, "lowest figure that passes")
    above: float | None = option(None, "figures above this pass")
    at_most: float | None = option(None, "highest figure that passes")
    one_of: tuple[str, ...] = option((), "texts that pass")
    missing: str = option("drop", "what becomes of a view without the figure", choices=("drop", "keep"))
    reason: str = option("", "what the funnel says of the views that go")
    scorer: str = option("", "the scorer that the bounds were set for; empty takes any")


@dataclass(frozen=True)
class DuplicateRule:
    """Of views that look alike, keep the best-ranked one; the views of one view set are meant to look alike."""

    column: str = option(REQUIRED, "a perceptual hash or an embedding")
    bits: int | None = option(None, "of hashes: most bits in which duplicates differ", at_least=0, at_most=63)
    cosine: float | None = option(None, "of embeddings: least cosine of duplicates", at_least=-1, at_most=1)


@dataclass(frozen=True)
class RankingTerm:
    """One figure of the weighted score."""

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
    """Choose views that differ, instead of the first of the ranking.

    "k-center" weighs the distance to the views already chosen with quality; "parallel-fps" is BlendFusion's sampling.
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
    """Most views of one scene, one subject (the view of a whole scene counts as one), one label, one view set."""

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
    """A noise band for images whose figure lies within these bounds, say of consistency with their siblings."""

    column: str = option(REQUIRED, "the column that decides")
    noise_band: str = option(REQUIRED, "the noise levels that they may train; empty is all")
    at_least: float | None = option(None, "lowest figure that earns it")
    at_most: float | None = option(None, "highest figure that earns it")


@dataclass(frozen=True)
class SourceRule:
    """How images of one source are trained on; of the bands that an image has earned the first counts."""

    weight: float = option(1.0, "how much each counts", at_least=0)
    noise_band: str = option("", "the noise levels it may train; empty is all")
    earned: tuple[EarnedBand, ...] = ()


@dataclass(frozen=True)
class Rules:
    """A whole selection, in the order in which it happens."""

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
    """Build rules from nested tables; BlendsetError says in one sentence what cannot be meant."""
    rules = structure(Rules, values, where)
    for rule in rules.keep:
        if rule.one_of == () and {rule.at_least, rule.above, rule.at_most} == {None}:
            raise BlendsetError(f"{where}: the rule over '{rule.column}' has no bound; give it at_least or at_most.")
    for each in rules.duplicates:
        if (each.bits is None) == (each.cosine is None):
            raise BlendsetError(f"{where}: duplicates by '{each.column}' need either bits or cosine.")
    if rules.splits and rules.diversity and len(rules.diversity.parts) > 1:
        raise BlendsetError(f"{where}: diversity.parts and [splits] both hold views out; give one of them.")
    if not rules.other_scorers:
        _refuse_other_scorers(rules, where)
    return rules


def rules_to_toml(rules: Rules) -> str:
    """The rules as TOML text, from which `rules_from_dict` gives the same rules back."""
    return tomli_w.dumps(unstructure(rules))


def load_rules(path: Path) -> Rules:
    """Read the rules in a TOML file, or those that a selection (.parquet) was made by."""
    return rules_from_dict(_rules_of_selection(path) if path.suffix == ".parquet" else read_toml(path), str(path))


def list_presets() -> list[str]:
    """The published recipes, and Blendset's own."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def load_preset(name: str) -> Rules:
    """Read one of `preset_names`."""
    if name not in list_presets():
        raise BlendsetError(f"There is no preset '{name}'; choose {', '.join(list_presets())}.")
    return load_rules(PRESETS / f"{name}.toml")


def replace_scorer(rules: Rules, published: str, other: str) -> Rules:
    """The rules over another scorer's columns, their thresholds as they were; BlendsetError where none is replaced."""
    if published not in find_scorers(rules):
        known = find_nearest(published, sorted(find_scorers(rules))) or ", ".join(sorted(find_scorers(rules)))
        raise BlendsetError(f"No rule is over a column of '{published}'; the rules know {known}.")
    swapped = _with_columns(unstructure(rules), f"{published}.", f"{other}.")
    return replace(structure(Rules, swapped, "rules"), other_scorers=True)


def find_scorers(rules: Rules) -> set[str]:
    """The stages whose columns the rules read."""
    return {column.split(".")[0] for column in find_columns(rules) if "." in column}


def find_columns(rules: Rules) -> list[str]:
    """Every column that a rule names, each once."""
    terms = rules.ranking.terms if rules.ranking else ()
    one = [each for each in (rules.diversity, rules.splits) if each]
    earned = [each for source in rules.sources.values() for each in source.earned]
    named = [each.column for each in (*rules.keep, *terms, *rules.duplicates, *one, *earned)]
    return list(dict.fromkeys(column for column in named if column))


def _refuse_other_scorers(rules: Rules, where: str) -> None:
    terms = rules.ranking.terms if rules.ranking else ()
    scaled = [(each.column, each.scorer) for each in rules.keep] + [(each.column, each.scorer) for each in terms]
    for column, scorer in scaled:
        if scorer and column.split(".")[0] != scorer:
            raise BlendsetError(
                f"{where}: the figures for '{column}' were set for {scorer}, whose scale may be another; "
                "take that scorer's column, or write other_scorers = true to use them all the same."
            )


def _with_columns(value: Any, old: str, new: str) -> Any:
    """The same tables, with every column that begins with `old` beginning with `new`."""
    if isinstance(value, Mapping):
        return {key: _with_columns(each, old, new) if key != "column" else _renamed(each, old, new)
                for key, each in value.items()}  # fmt: skip
    return [_with_columns(each, old, new) for each in value] if isinstance(value, list | tuple) else value


def _renamed(column: str, old: str, new: str) -> str:
    return new + column.removeprefix(old) if column.startswith(old) else column


def _rules_of_selection(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(pq.read_schema(path).metadata[RULES].decode())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BlendsetError(
            f"{path} is no selection of Blendset ({error}); give a TOML file or a selection."
        ) from error

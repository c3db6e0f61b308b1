# SPDX-License-Identifier: Apache-2.0
"""Results on disk: `evaluations/<name>.json` in a dataset, and `comparison.json` of several that were compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blendset.records import FORMAT_VERSION, read_record
from blendset_trainer.evaluation.statistics.estimates import Estimate

EVALUATIONS = "evaluations"
COMPARISON, EXAMPLES = "comparison.json", "examples.json"


@dataclass(frozen=True, kw_only=True)
class Score:
    """A figure of a set of pictures with its 95 % interval.

    `scorer` and `revision` say which model is behind it, `pictures` how many have a value. `better` is "higher",
    "lower" or "". Where it `selected` the data, the figure judges its own choice.
    """

    name: str
    scorer: str
    revision: str
    scale: str
    better: str
    pictures: int
    estimate: Estimate
    selected: bool = False


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The content of evaluations/<name>.json.

    `unit` is what the intervals are over. `against` and `against_pictures` are the trusted set, "" and 0 without one.
    `notes` are sentences for the reader.
    """

    format_version: int = FORMAT_VERSION
    name: str
    title: str
    pictures: int
    unit: str
    units: int
    against: str
    against_pictures: int
    seed: int
    scores: tuple[Score, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How one set of pictures differs from the first in a figure: `other` minus first. `is_paired` where both show the
    same units; None where one of them has no value.
    """

    name: str
    other: str
    estimate: Estimate | None
    is_paired: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The content of comparison.json: the sets, each with all figures over equally many units, and how each differs
    from the first.
    """

    format_version: int = FORMAT_VERSION
    evaluations: tuple[Evaluation, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ExampleUnit:
    """A unit with its prompt ("" for none), and the file of a picture of it by each set that was compared, in their
    order: relative to the comparison's folder where it lies below, else absolute.
    """

    unit: str
    prompt: str
    pictures: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Examples:
    """The content of examples.json beside comparison.json: units that were drawn at random, none of unpaired sets."""

    format_version: int = FORMAT_VERSION
    units: tuple[ExampleUnit, ...]


def list_evaluations(root: Path) -> list[Evaluation]:
    """Return the evaluations of the dataset in a folder, by name; BlendsetError for one that is damaged."""
    return [read_record(path, Evaluation) for path in sorted((root / EVALUATIONS).glob("*.json"))]

# SPDX-License-Identifier: Apache-2.0
"""By which scorers the data behind pictures was selected: the scorer that selects is never the one that reports."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.files import explain_read_errors
from blendset.options import parse_toml
from blendset.records import read_json
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.selection.files import get_selection_path, list_selections, read_chosen, read_recipe
from blendset_trainer.selection.rules import find_scorers, rules_from_dict
from blendset_trainer.training_runs import LineageRecord, read_lineage

SEARCHES = "searches"


@dataclass(frozen=True)
class Lineage:
    """The names of the scorers that chose the pictures, or what their model was trained on, and where they did."""

    selected_by: frozenset[str] = frozenset()
    where: tuple[str, ...] = ()

    def did_select(self, metric: Metric) -> bool:
        """Return whether the scorer behind a figure chose the data."""
        return metric.scorer in self.selected_by


def join_lineages(lineages: Iterable[Lineage]) -> Lineage:
    """Return what all of these say together."""
    each = list(lineages)
    where = tuple(dict.fromkeys(line for lineage in each for line in lineage.where))
    return Lineage(frozenset().union(*(lineage.selected_by for lineage in each)), where)


def read_dataset_lineage(dataset: Dataset, selection: str) -> Lineage:
    """Return what chose the pictures of a dataset: the rules of a selection, and searches for settings by a scorer."""
    found = [_read_searches(dataset)]
    if selection and selection in list_selections(dataset):
        path = get_selection_path(dataset, selection)
        found.append(_read_rules(read_recipe(read_chosen(dataset, selection))[0], str(path)))
    return join_lineages(found)


def read_samples_lineage(folder: Path) -> Lineage:
    """Return what chose the data of the model, and of the LoRA, that a folder of `blendset sample` was made by."""
    record: dict[str, Any] = read_json(folder / "samples.json")
    return join_lineages(read_model_lineage(record.get(key) or "") for key in ("model", "lora"))


def read_model_lineage(model: Path | str) -> Lineage:
    """Return what chose the data of a model in a folder; nothing for a model that does not say."""
    record = read_lineage(Path(model)) if str(model) else None
    return join_lineages(_trace(record)) if record else Lineage()


def refuse_judging_itself(metrics: Iterable[Metric], lineage: Lineage) -> None:
    """Raise BlendsetError where every figure that says which is better is by a scorer that selected the data."""
    judging = [metric for metric in metrics if metric.better]
    if judging and all(map(lineage.did_select, judging)):
        names = ", ".join(sorted({metric.scorer for metric in judging}))
        raise BlendsetError(
            f"Only {names} would judge here, which selected the data ({lineage.where[0]}); add another scorer with "
            "--with, for the scorer that selects is never the one that reports."
        )


def _trace(record: LineageRecord) -> Iterator[Lineage]:
    for source in record.sources:
        name = f"selection '{source.selection}' of {source.dataset}"
        yield _read_rules(source.rules, name)
    if record.base:
        yield from _trace(record.base)


def _read_rules(toml: str, where: str) -> Lineage:
    """The scorers in the rules of a selection."""
    if not toml:
        return Lineage()
    scorers = find_scorers(rules_from_dict(parse_toml(toml, where), where))
    return Lineage(frozenset(scorers), (where,) if scorers else ())


def _read_searches(dataset: Dataset) -> Lineage:
    """The scorers by which `--search` chose how pictures were made."""
    scorers = set()
    for path in sorted((dataset.root / SEARCHES).glob("*.json")):
        record = read_json(path)
        with explain_read_errors(path, "delete it, and search again"):
            scorers.add(str(record["report"]["by"]).split(".")[0])
    return Lineage(frozenset(scorers), (f"{dataset.root / SEARCHES}",) if scorers else ())

# SPDX-License-Identifier: Apache-2.0
"""What the report shows of synthesis: views that a generator made together, beside those that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from blendset.dataset import Dataset
from blendset.records import ViewRecord
from blendset_trainer.synthetic_views import SYNTHETIC, read_synthesis

MOST_SETS = 100
Places = Sequence[int]
"""Of views, among the report's."""


@dataclass(frozen=True)
class SynthesizedSet:
    """Views that were made together, and their parents."""

    job: str
    model: str
    prompt: str
    parents: Places
    views: Places


@dataclass(frozen=True)
class Synthesis:
    """How many sets a generator made of how many views, and the first of them."""

    views: int
    total: int
    sets: Sequence[SynthesizedSet]


def synthesis_of(dataset: Dataset, records: Sequence[ViewRecord]) -> Synthesis | None:
    """What of these views was synthesized, in their order; None if nothing was."""
    sets: dict[tuple[str, str], list[int]] = {}
    for place, record in enumerate(records):
        if record.source == SYNTHETIC:
            sets.setdefault((record.scene, record.view_set or record.view_id), []).append(place)
    if not sets:
        return None
    places = {record.view_id: place for place, record in enumerate(records)}
    shown = [_set_of(dataset, records, views, places) for views in islice(sets.values(), MOST_SETS)]
    return Synthesis(sum(map(len, sets.values())), len(sets), shown)


def _set_of(
    dataset: Dataset, records: Sequence[ViewRecord], views: list[int], places: dict[str, int]
) -> SynthesizedSet:
    views.sort(key=lambda place: records[place].view_index)
    made = [read_synthesis(dataset.view_folder(records[place].scene, records[place].view_id)) for place in views]
    parents = dict.fromkeys(parent for each in made for parent in each.parents)  # each once, in the views' order
    first = made[0]
    return SynthesizedSet(
        first.job, Path(first.model).name, first.prompt, [places[each] for each in parents if each in places], views
    )

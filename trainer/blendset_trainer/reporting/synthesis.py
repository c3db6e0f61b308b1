# SPDX-License-Identifier: Apache-2.0
"""What the report shows of synthesis: views that a generator made together, beside those that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.records import ViewRecord
from blendset_trainer.synthetic_views import SYNTHETIC, SynthesisRecord, read_synthesis

MOST_SETS = 100
UNTOLD = SynthesisRecord(
    job="unknown", parents=(), prompt="", model="an unknown model", revision="", pipeline="", scheduler={}, steps=0,
    guidance={}, seed=0,
)  # fmt: skip
"""Stands for the record of a view that has none, or a damaged one."""
Places = Sequence[int]
"""Of views, among the report's."""


@dataclass(frozen=True)
class SynthesizedSet:
    """Views that were made together, and their parents; `prompt` is empty where they have several."""

    job: str
    model: str
    prompt: str
    parents: Places
    views: Places


@dataclass(frozen=True)
class Synthesis:
    """How many views a generator made in how many sets, and the first of these."""

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


def _set_of(dataset: Dataset, records: Sequence[ViewRecord], found: Places, places: dict[str, int]) -> SynthesizedSet:
    views = sorted(found, key=lambda place: records[place].view_index)
    made = [_told(dataset, records[place]) for place in views]
    parents = dict.fromkeys(parent for each in made for parent in each.parents)  # each once, in the views' order
    [prompt, *others] = {each.prompt for each in made}
    return SynthesizedSet(
        job=made[0].job,
        model=Path(made[0].model).name,
        prompt="" if others else prompt,
        parents=[places[each] for each in parents if each in places],
        views=views,
    )


def _told(dataset: Dataset, record: ViewRecord) -> SynthesisRecord:
    try:
        return read_synthesis(dataset.view_folder(record.scene, record.view_id))
    except BlendsetError:  # 'blendset verify' is who complains
        return UNTOLD

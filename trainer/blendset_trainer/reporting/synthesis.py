# SPDX-License-Identifier: Apache-2.0
"""The report's section on synthesis: views that a generator made together, and the views they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from blendset.dataset import Dataset
from blendset.errors import BlendsetError
from blendset.naming import name_view_set
from blendset.records import ViewRecord
from blendset_trainer.synthetic_views import SYNTHETIC, SynthesisRecord, read_synthesis

MAX_SETS = 100
"""The most sets that the page shows."""
UNKNOWN_SYNTHESIS = SynthesisRecord(
    job="unknown", parents=(), prompt="", model="an unknown model", revision="", pipeline="", scheduler={}, steps=0,
    guidance={}, seed=0,
)  # fmt: skip
"""Stands for the record of a view that has none, or a damaged one."""
Positions = Sequence[int]
"""Indices of views among the report's."""


@dataclass(frozen=True)
class SynthesizedSet:
    """Views that were made together, and their parents; `prompt` is empty where they have several."""

    job: str
    model: str
    prompt: str
    parents: Positions
    views: Positions


@dataclass(frozen=True)
class SynthesisSection:
    """How many views a generator made in how many sets, and the first of these."""

    views: int
    total: int
    sets: Sequence[SynthesizedSet]


def build_synthesis_section(dataset: Dataset, records: Sequence[ViewRecord]) -> SynthesisSection | None:
    """Collect the synthesized sets among these views, in their order; None where there are none."""
    sets: dict[str, list[int]] = {}
    for position, record in enumerate(records):
        if record.source == SYNTHETIC:
            name = name_view_set(record.scene, record.view_set, record.view_id)
            sets.setdefault(name, []).append(position)
    if not sets:
        return None
    positions = {record.view_id: position for position, record in enumerate(records)}
    first_sets = [_build_set(dataset, records, views, positions) for views in islice(sets.values(), MAX_SETS)]
    return SynthesisSection(sum(map(len, sets.values())), len(sets), first_sets)


def _build_set(
    dataset: Dataset, records: Sequence[ViewRecord], members: Positions, positions: dict[str, int]
) -> SynthesizedSet:
    """One set in the order of its views; `positions` has every view's index by its id."""
    views = sorted(members, key=lambda position: records[position].view_index)
    syntheses = [_read_synthesis_or_unknown(dataset, records[position]) for position in views]
    parents = dict.fromkeys(parent for synthesis in syntheses for parent in synthesis.parents)  # in the views' order
    [prompt, *others] = {synthesis.prompt for synthesis in syntheses}
    return SynthesizedSet(
        job=syntheses[0].job,
        model=Path(syntheses[0].model).name,
        prompt="" if others else prompt,
        parents=[positions[parent] for parent in parents if parent in positions],
        views=views,
    )


def _read_synthesis_or_unknown(dataset: Dataset, record: ViewRecord) -> SynthesisRecord:
    try:
        return read_synthesis(dataset.view_folder(record.scene, record.view_id))
    except BlendsetError:  # 'blendset verify' is who complains
        return UNKNOWN_SYNTHESIS

# SPDX-License-Identifier: Apache-2.0
"""The way from proposed cameras to selected views, and what was left behind at each step for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blendset.dataset import Dataset
from blendset.placement.funnel import read_funnel
from blendset.reasons import explain_reason
from blendset.records import ViewRecord


@dataclass(frozen=True)
class Reason:
    name: str
    count: int
    meaning: str


@dataclass(frozen=True)
class RunCounts:
    """One run: candidates and accepted are None where it kept no funnel."""

    run: str
    candidates: int | None
    accepted: int | None
    rendered: int
    sound: int


@dataclass(frozen=True)
class Funnel:
    """Counts over all runs that kept a funnel, and the reasons, the commonest first.

    `turned_down` is about cameras, before anything was path traced; `failed` about finished pictures.
    """

    runs: tuple[RunCounts, ...]
    turned_down: tuple[Reason, ...]
    failed: tuple[Reason, ...]


def funnel_of(dataset: Dataset, views: Sequence[ViewRecord]) -> Funnel:
    """Read every funnel of a dataset beside the records of its views; BlendsetError names one that is damaged."""
    read = {path.stem: read_funnel(path) for path in dataset.funnel_paths()}
    rendered = Counter(view.run for view in views)
    sound = Counter(view.run for view in views if not view.failed_checks)
    runs = tuple(_counts(run, read.get(run), rendered[run], sound[run]) for run in sorted({*read, *rendered}))
    turned_down = sum(read.values(), Counter[str]())
    del turned_down["candidates"], turned_down["accepted"]
    return Funnel(runs, reasons(turned_down), reasons(Counter(code for view in views for code in view.failed_checks)))


def reasons(counts: Mapping[str, int]) -> tuple[Reason, ...]:
    """Counts by reason with what each means, the commonest first."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Reason(name, count, explain_reason(name)) for name, count in order)


def _counts(run: str, funnel: Counter[str] | None, rendered: int, sound: int) -> RunCounts:
    if funnel is None:
        return RunCounts(run, None, None, rendered, sound)
    return RunCounts(run, funnel["candidates"], funnel["accepted"], rendered, sound)

# SPDX-License-Identifier: Apache-2.0
"""The report's funnel: how many of the proposed cameras became sound views, and why the others did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blendset.dataset import Dataset
from blendset.placement.funnel import read_funnel
from blendset.placement.reasons import explain_reason
from blendset.records import ViewRecord


@dataclass(frozen=True)
class ReasonCount:
    """How often a reason occurred, and what it means."""

    name: str
    count: int
    meaning: str


@dataclass(frozen=True)
class RunCounts:
    """The counts of one run; `candidates` and `accepted` are None where it wrote no funnel."""

    run: str
    candidates: int | None
    accepted: int | None
    rendered: int
    sound: int


@dataclass(frozen=True)
class FunnelSummary:
    """The counts of each run and, over all runs, the reasons, the commonest first.

    `turned_down` is about cameras, before anything was path traced; `failed` about finished pictures.
    """

    runs: tuple[RunCounts, ...]
    turned_down: tuple[ReasonCount, ...]
    failed: tuple[ReasonCount, ...]


def summarize_funnel(dataset: Dataset, views: Sequence[ViewRecord]) -> FunnelSummary:
    """Summarize the funnels of a dataset and the records of its views; BlendsetError names a damaged funnel."""
    funnels = {path.stem: read_funnel(path) for path in dataset.funnel_paths()}
    rendered = Counter(view.run for view in views)
    sound = Counter(view.run for view in views if not view.failed_checks)
    runs = tuple(
        _build_run_counts(run, funnels.get(run), rendered[run], sound[run]) for run in sorted({*funnels, *rendered})
    )
    turned_down = sum(funnels.values(), Counter[str]())
    del turned_down["candidates"], turned_down["accepted"]
    failed = Counter(code for view in views for code in view.failed_checks)
    return FunnelSummary(runs, explain_reasons(turned_down), explain_reasons(failed))


def explain_reasons(counts: Mapping[str, int]) -> tuple[ReasonCount, ...]:
    """Sort counts by reason, the commonest first, and add what each reason means."""
    order = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(ReasonCount(name, count, explain_reason(name)) for name, count in order)


def _build_run_counts(run: str, funnel: Counter[str] | None, rendered: int, sound: int) -> RunCounts:
    """The counts of one run, with or without a funnel."""
    if funnel is None:
        return RunCounts(run, None, None, rendered, sound)
    return RunCounts(run, funnel["candidates"], funnel["accepted"], rendered, sound)

# SPDX-License-Identifier: Apache-2.0
"""A comparison of placements as tables, for a terminal and for a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from blendset_trainer.evaluation.placements.compare_placements import (
    IMAGE_STATS,
    METRICS,
    PlacementReport,
    PlacementResult,
)
from blendset_trainer.evaluation.statistics.estimates import Estimate

SHARES = set(METRICS) - {"directions"}
MAIN_STATISTICS = tuple(f"{IMAGE_STATS}.{name}" for name in ("mean", "variance", "sharpness", "entropy"))
"""Of the scores that are always there; those of other scorers are all in the table."""
TITLES = {name: f"{name} %" if name in SHARES else name for name in METRICS}


@dataclass(frozen=True)
class PlacementTable:
    """A table with a title: the words above its columns, and rows of as many words."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tabulate_placements(report: PlacementReport) -> list[PlacementTable]:
    """Return the tables of a comparison: by scene, means over scenes, differences between placements, and scores."""
    return [
        table for table in (_tabulate_scenes(report), *_tabulate_means(report), _tabulate_scores(report)) if table.rows
    ]


def format_placement_table(report: PlacementReport) -> str:
    """Return the tables of a comparison as plain text, and why placements rendered fewer views than the budget."""
    reasons = [f"{result.dataset}: {result.reason}" for _, result in _list_results(report) if result.reason]
    tables = [f"{table.title}\n\n{_align(table)}" for table in tabulate_placements(report)]
    return "\n\n".join([*tables, *reasons]) + "\n"


def format_placement_markdown(report: PlacementReport) -> str:
    """Return the tables of a comparison as Markdown."""
    parts = []
    for table in tabulate_placements(report):
        lines = [table.head, tuple("---" for _ in table.head), *table.rows]
        parts.append("\n".join([f"{table.title}:", "", *(f"| {' | '.join(line)} |" for line in lines)]))
    return "\n\n".join(parts) + "\n"


def _align(table: PlacementTable) -> str:
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    lines = [zip(line, widths, strict=True) for line in (table.head, *table.rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines)


def _list_results(report: PlacementReport) -> list[tuple[str, PlacementResult]]:
    return [(scene.scene, result) for scene in report.scenes for result in scene.results]


def _tabulate_scenes(report: PlacementReport) -> PlacementTable:
    rows = tuple(
        (scene, result.placement, str(result.views), *_format_metrics(result.metrics), _format_rate(result))
        for scene, result in _list_results(report)
    )
    head = ("scene", "placement", "views", *TITLES.values(), "usable/min")
    return PlacementTable(f"By scene, of a budget of {report.views} views", head, rows)


def _tabulate_means(report: PlacementReport) -> tuple[PlacementTable, PlacementTable]:
    means = tuple((name, *_format_metrics(metrics)) for name, metrics in report.means.items() if metrics)
    differences = tuple(
        (f"minus {name}", *_format_metrics(metrics, signed=True))
        for name, metrics in report.differences.items()
        if metrics
    )
    head, scenes = ("placement", *TITLES.values()), len(report.scenes)
    return (
        PlacementTable(f"Means over {scenes} scenes", head, means),
        PlacementTable(
            f"{report.placements[0]} compared with each other placement, in pairs by scene", head, differences
        ),
    )


def _tabulate_scores(report: PlacementReport) -> PlacementTable:
    results = _list_results(report)
    names = sorted({name for _, result in results for name in result.scores if _is_main_score(name)})
    rows = tuple(
        (scene, result.placement, *(_format_score(result.scores.get(name)) for name in names))
        for scene, result in results
    )
    return PlacementTable("Mean scores of the rendered views", ("scene", "placement", *names), rows)


def _is_main_score(name: str) -> bool:
    return name in MAIN_STATISTICS or not name.startswith(f"{IMAGE_STATS}.")


def _format_metrics(metrics: Mapping[str, Estimate], signed: bool = False) -> list[str]:
    return [_format_estimate(metrics.get(name), 100 if name in SHARES else 1, signed) for name in METRICS]


def _format_estimate(estimate: Estimate | None, scale: int, signed: bool) -> str:
    """The value with its interval, and the effect where there is one."""
    if estimate is None:
        return "-"
    digits, sign = (0 if scale > 1 else 1), "+" if signed else ""
    value, low, high = (
        f"{round(number * scale, digits) + 0.0:{sign}.{digits}f}"
        for number in (estimate.value, estimate.low, estimate.high)
    )
    effect = "" if estimate.effect is None else f", d {estimate.effect:.1f}"
    return f"{value} ({low} to {high}{effect})"


def _format_score(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:.3g} ({estimate.low:.3g} to {estimate.high:.3g})"


def _format_rate(result: PlacementResult) -> str:
    """Usable views per minute of planning and rendering."""
    seconds = sum(result.timings.values())
    return f"{60 * result.usable / seconds:.1f}" if seconds else "-"

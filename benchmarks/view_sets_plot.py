# SPDX-License-Identifier: Apache-2.0
"""The picture of docs/view-sets.md: a set of each model in every way, and how far their views differ."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from view_sets_measures import METRICS, Pictures, SetMeasures, bootstrap, compute_by_seed

SUBJECT, GROUND = "#0072b2", "#d55e00"
"""Okabe and Ito's, which colour-blind people tell apart."""


def plot_sets(path: Path, examples: Mapping[str, Pictures], ways: Mapping[str, SetMeasures]) -> None:
    """Write a PNG: for each way some example sets (sets, views, H, W, 3), one of each model; and the residuals."""
    page = Figure(figsize=(11.5, 0.72 * len(examples) + 0.5), layout="constrained")
    left, right = page.subfigures(1, 2, squeeze=False, width_ratios=(2.1, 1))[0]
    rows = left.subplots(len(examples), 1)
    for axes, (way, sets) in zip(rows, examples.items(), strict=True):
        axes.imshow(make_strip(sets), interpolation="nearest")
        axes.set_ylabel(way, rotation=0, ha="right", va="center", fontsize=10)
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    rows[0].set_title("one set of three views by each of three models, from the same noise", fontsize=10)
    draw_residuals(right.subplots(), {way: ways[way] for way in examples}, len(next(iter(examples.values()))))
    page.savefig(path, dpi=100)


def make_strip(sets: Pictures) -> NDArray[np.float32]:
    """All pictures in one row, with more white between sets than between views."""
    framed = np.pad(sets, ((0, 0), (0, 0), (0, 0), (1, 1), (0, 0)), constant_values=1)
    rows = [np.concatenate(list(views), axis=1) for views in framed]
    gap = np.ones((sets.shape[2], 6, 3), np.float32)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1], axis=1)


def draw_residuals(axes: Axes, ways: Mapping[str, SetMeasures], models: int) -> None:
    """Bars with 95 % intervals over sets; a dot for each model."""
    for row, measured in enumerate(ways.values()):
        means, lows, highs = bootstrap(measured.compute_metrics, measured.sets)
        dots = compute_by_seed(measured, models)
        for number, colour in enumerate((SUBJECT, GROUND)):
            height = row + 0.36 * number - 0.18
            label = METRICS[number] if row == 0 else None
            axes.barh(height, means[number], 0.34, color=colour, alpha=0.55, label=label)
            axes.plot([lows[number], highs[number]], [height, height], color="#222222", linewidth=1)
            axes.plot(dots[:, number], [height] * models, "o", color=colour, markersize=3)
    axes.set_ylim(len(ways) - 0.5, -0.5)
    axes.set_yticks([])
    axes.set_xlabel("colour difference between views (CIE76)")
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)

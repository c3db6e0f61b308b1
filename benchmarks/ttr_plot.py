# SPDX-License-Identifier: Apache-2.0
"""The picture of docs/ttr.md: spectra, figures by seed, and patches to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from ttr_measures import METRICS, Array, average_rings, compute_power

COLOURS = ("#222222", "#0072b2", "#d55e00", "#999999")
"""Okabe and Ito's, which colour-blind people tell apart."""
RINGS = 12
SHOWN = (7, 6)
"""Rows and columns of patches."""


def draw_plot(
    path: Path, patches: Mapping[str, Array], linear: Mapping[str, Array], metrics: Mapping[str, Array]
) -> None:
    """Write a PNG of at most four kinds of patches (N, side, side), the first being what the others should be like.

    Of some kinds there is a power (side, side) in closed form, and `FIGURES` of each seed (seeds, figures).
    """
    colours = dict(zip(patches, COLOURS, strict=False))
    held_out = next(iter(patches))
    page = Figure(figsize=(11, 7.2), layout="constrained")
    top, bottom = page.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.15))[:, 0]
    spectrum, *by_seed = top.subplots(1, 3, width_ratios=(2, 1, 1))
    draw_spectra(spectrum, patches, linear, colours)
    for axes, number in zip(by_seed, (0, 2), strict=True):
        draw_by_seed(axes, METRICS[number], {kind: each[:, number] for kind, each in metrics.items()}, colours)
    by_seed[0].axhline(1, color=colours[held_out], linewidth=1, label=held_out)
    by_seed[0].set_ylim(top=max(1.3, by_seed[0].get_ylim()[1]))
    by_seed[0].legend(frameon=False, fontsize=9)
    for axes, (kind, each) in zip(bottom.subplots(1, len(patches)), patches.items(), strict=True):
        axes.imshow(tile_patches(each), cmap="gray", vmin=-1, vmax=1)
        axes.set_title(kind, color=colours[kind], fontsize=11)
        axes.axis("off")
    page.savefig(path, dpi=110)


def draw_spectra(
    axes: Axes, patches: Mapping[str, Array], linear: Mapping[str, Array], colours: Mapping[str, str]
) -> None:
    """Power over frequency; in closed form, dashed."""
    frequency = (np.arange(RINGS) + 0.5) / RINGS
    for kind, each in patches.items():
        axes.semilogy(
            frequency, average_rings(compute_power(each).mean(axis=0), RINGS), color=colours[kind], label=kind
        )
    for kind, each in linear.items():
        axes.semilogy(frequency, average_rings(each, RINGS), "--", color=colours[kind], label=f"{kind}, closed form")
    axes.axvspan(0.5, 1, color="#eeeeee", zorder=0)
    axes.set(xlabel="frequency, as a part of the highest (grey: the upper half)", ylabel="mean power", xlim=(0, 1))
    axes.legend(frameon=False, fontsize=9)


def draw_by_seed(axes: Axes, title: str, values: Mapping[str, Array], colours: Mapping[str, str]) -> None:
    """One dot for each seed."""
    for position, (kind, each) in enumerate(values.items()):
        axes.plot(np.full(len(each), position), each, "o", color=colours[kind], alpha=0.7)
    axes.set_xticks(range(len(values)), list(values))
    axes.set(xlim=(-0.6, len(values) - 0.4), title=title)
    axes.set_ylim(0, 1.2 * max(each.max() for each in values.values()))


def tile_patches(patches: Array) -> Array:
    """The first patches beside each other, with white between."""
    rows, columns = SHOWN
    framed = np.pad(patches[: rows * columns], ((0, 0), (1, 1), (1, 1)), constant_values=1)
    side = framed.shape[1]
    return framed.reshape(rows, columns, side, side).swapaxes(1, 2).reshape(rows * side, columns * side)

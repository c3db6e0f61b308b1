# SPDX-License-Identifier: Apache-2.0
"""A timestep plan for people and programs: a table, `timestep_plan.json`, and a plot of who trains which levels.

Everything is read from the plan; nothing is computed anew.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from blendset.files import atomic_write
from blendset.records import write_json
from blendset_trainer.diffusion.noise import axis_from_name
from blendset_trainer.style import GREY, INK, PAPER, SERIES_COLOURS
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training_runs import PLAN_JSON, PLAN_PNG

_PLOT_TAIL = 0.0005
"""The share of the base density at either end that the plot leaves out."""


@dataclass(frozen=True)
class TimestepPlanRow:
    """What a source trains in one band: its share of all training, of the weighted loss, and of the band."""

    source: str
    band: str
    log_snr: tuple[float | None, float | None]
    """Cleanest and noisiest level; None where the band has no end."""
    sigma: tuple[float, float]
    """The same levels as sigma of flow matching, noise/(signal + noise)."""
    mass: float
    effective_mass: float
    responsibility: float


def make_plan_rows(plan: TimestepPlan) -> Iterator[TimestepPlanRow]:
    """Every source with every band that it trains."""
    log_snr = plan.base.inverse_cdf(plan.cuts)
    log_snr[0], log_snr[-1] = torch.inf, -torch.inf
    sigma = axis_from_name("flow").level(log_snr).tolist()
    ends = [value if math.isfinite(value) else None for value in log_snr.tolist()]
    mass, effective = plan.sum_by_band(plan.mass), plan.compute_effective_mass()
    responsibility = (mass / mass.sum(0)).tolist()
    for row, source in enumerate(plan.sources):
        for band, name in enumerate(plan.band_names):
            if mass[row, band] > 0:
                yield TimestepPlanRow(
                    source,
                    name,
                    (ends[band], ends[band + 1]),
                    (sigma[band], sigma[band + 1]),
                    float(mass[row, band]),
                    float(effective[row, band]),
                    responsibility[row][band],
                )


def make_plan_record(plan: TimestepPlan, samples: Mapping[str, int], draws: int) -> dict[str, Any]:
    """The plan as plain data for JSON. `samples` are the sources' sizes by name, `draws` the samples of a whole run."""
    return {
        "axis": plan.base.axis.name,
        "bands": plan.band_names,
        "sources": {
            source: {"samples": samples[source], "share": share, "epochs": draws * share / samples[source]}
            for source, share in plan.compute_shares().items()
        },
        "draws": draws,
        "rows": [asdict(row) for row in make_plan_rows(plan)],
        "warnings": list(plan.list_warnings()),
    }


PLAN_COLUMNS = (
    "source",
    "samples",
    "share",
    "epochs",
    "levels",
    "log-SNR",
    "flow sigma",
    "of the band",
    "mass",
    "weighted",
)


def format_plan_rows(plan: TimestepPlan, samples: Mapping[str, int], draws: int) -> list[tuple[str, ...]]:
    """The cells of PLAN_COLUMNS for every source and band; a source's own columns are filled in its first row only."""
    shares, named = plan.compute_shares(), set[str]()
    rows = []
    for row in make_plan_rows(plan):
        share, size = shares[row.source], samples[row.source]
        first = (row.source, f"{size:,}", f"{share:.2%}", f"{draws * share / size:.3g}")
        rows.append((*(("",) * 4 if row.source in named else first), *_format_cells(row)))
        named.add(row.source)
    return rows


def _format_cells(row: TimestepPlanRow) -> tuple[str, ...]:
    sigma = "{:.3f} to {:.3f}".format(*row.sigma)
    return (
        row.band,
        _format_span(*row.log_snr),
        sigma,
        *(f"{share:.2%}" for share in (row.responsibility, row.mass, row.effective_mass)),
    )


def _format_span(cleanest: float | None, noisiest: float | None) -> str:
    if cleanest is None or noisiest is None:
        return f"above {noisiest:.2f}" if noisiest is not None else f"below {cleanest:.2f}" if cleanest else "all"
    return f"{cleanest:.2f} to {noisiest:.2f}"


def write_timestep_plan(folder: Path, plan: TimestepPlan, samples: Mapping[str, int], draws: int) -> None:
    """Write the record and the plot into a folder; the same plan gives the same bytes."""
    write_json(folder / PLAN_JSON, make_plan_record(plan, samples, draws))
    atomic_write(folder / PLAN_PNG, plot_plan(plan))


def plot_plan(plan: TimestepPlan) -> bytes:
    """A PNG of two plots over log-SNR, noisier to the right: who trains a level, and how often it is trained."""
    figure = Figure(figsize=(8.5, 7), dpi=110, facecolor=PAPER, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    middle = -(plan.base.edges[:-1] + plan.base.edges[1:]) / 2
    width = plan.base.edges.diff()
    colours = [SERIES_COLOURS[row % len(SERIES_COLOURS)] for row in range(len(plan.sources))]
    split = plan.responsibility().nan_to_num()
    above.stackplot(middle, split.numpy(), labels=plan.sources, colors=colours, step="mid", alpha=0.85)
    below.stackplot(middle, (plan.mass / width).numpy(), colors=colours, step="mid", alpha=0.85)
    base = plan.edges.diff() / width
    below.plot(middle, base, color=INK, linewidth=1.4, linestyle="--", label="the model's own density")
    _style_axes(figure, plan, above, below)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _style_axes(figure: Figure, plan: TimestepPlan, above: Axes, below: Axes) -> None:
    """Add titles, units, a second scale in the model's levels, and a legend."""
    ends = plan.base.inverse_cdf(torch.tensor([_PLOT_TAIL, 1 - _PLOT_TAIL], dtype=torch.float64)).tolist()
    figure.suptitle("Which source trains which noise level", color=INK, fontsize=14)
    above.set(xlim=ends, ylim=(0, 1), ylabel="share of the source\nat this level")
    below.set(xlabel="log-SNR ln(α²/σ²), noisier to the right", ylabel="share of training\nper unit of log-SNR")
    below.set_ylim(bottom=0)
    cuts = [cut for cut in plan.base.inverse_cdf(plan.cuts).tolist() if min(ends) < cut < max(ends)]
    level_axis = above.secondary_xaxis("top")
    levels = plan.base.axis.level(torch.tensor(cuts, dtype=torch.float64)).tolist()
    level_axis.set_xticks(cuts, [f"{level:.3g}" for level in levels])
    level_axis.set_xlabel("timestep" if plan.base.axis.discrete else "sigma", color=INK)
    for axes in (above, below):
        for cut in cuts:
            axes.axvline(cut, color=GREY, linewidth=0.7, linestyle=":")
        axes.spines[["right", "top"]].set_visible(False)
        axes.set_facecolor(PAPER)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)

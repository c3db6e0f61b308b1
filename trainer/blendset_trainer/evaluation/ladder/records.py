# SPDX-License-Identifier: Apache-2.0
"""The result of a ladder on disk: `ablation.json`, and what a run was made by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blendset.records import FORMAT_VERSION
from blendset_trainer.evaluation.statistics.estimates import Estimate

ABLATION, RUN = "ablation.json", "rung.json"
DIFFERS, EQUAL, OPEN = "differs", "equal", "open"
"""What is known of a difference: that there is one, that it is too small to matter, or neither yet."""


@dataclass(frozen=True, kw_only=True)
class RungFigure:
    """A figure of a rung over its seeds, and how it differs from the first: the difference, and DIFFERS, EQUAL or
    OPEN as its verdict; None and "" for the first rung. `values` are those of the seeds.
    """

    name: str
    scale: str
    better: str
    values: tuple[float, ...]
    estimate: Estimate
    difference: Estimate | None
    verdict: str


@dataclass(frozen=True, kw_only=True)
class RungResult:
    """A rung's name and its figures."""

    name: str
    figures: tuple[RungFigure, ...]

    def find_figure(self, name: str) -> RungFigure | None:
        """Return the figure of a name; None where the rung has none."""
        return next((figure for figure in self.figures if figure.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """The content of ablation.json.

    `by` is the figure that decides, `seeds` those that were trained, of `planned`. `confidence` is that of each
    interval, so that those of all looks hold at once with 95 %. It is `clear` where every rung's difference to the
    first differs, or is within plus and minus `smallest`. `notes` are sentences for the reader.
    """

    format_version: int = FORMAT_VERSION
    by: str
    smallest: float
    prompts: int
    images: int
    against: str
    seeds: tuple[int, ...]
    planned: int
    confidence: float
    clear: bool
    rungs: tuple[RungResult, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RungRecord:
    """The content of rung.json, written when a run is trained and its pictures are drawn: all that they depend on."""

    config: dict[str, Any]
    prompts: tuple[str, ...]
    images: int
    steps: int | None
    cfg_scale: float | None

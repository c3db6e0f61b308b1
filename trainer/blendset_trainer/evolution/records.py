# SPDX-License-Identifier: Apache-2.0
"""What rounds leave on disk: `round.json` in the folder of each, and `evolution.json` above them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from blendset.records import FORMAT_VERSION
from blendset_trainer.evaluation.statistics.estimates import Estimate

EVOLUTION, ROUND, SETTINGS = "evolution.json", "round.json", "settings.json"


@dataclass(frozen=True, kw_only=True)
class RoundFigure:
    """A figure of a round's pictures of the judge's prompts, and how it differs from the base model's, over the same
    prompts and noise; None for the base model itself."""

    name: str
    scale: str
    better: str
    estimate: Estimate
    difference: Estimate | None


@dataclass(frozen=True, kw_only=True)
class RoundRecord:
    """A round: pictures that were drawn and kept, the least and the greatest of their weights, its model's folder, the
    figures of the judge, and whether its model is the better one now; `reason` says why. Round 0 is the base model.
    """

    number: int
    model: str
    drawn: int = 0
    kept: int = 0
    least_weight: float = 1.0
    greatest_weight: float = 1.0
    figures: tuple[RoundFigure, ...]
    accepted: bool
    reason: str

    def find_figure(self, name: str) -> RoundFigure | None:
        """Return the figure of a name; None where the round has none."""
        return next((figure for figure in self.figures if figure.name == name), None)


@dataclass(frozen=True, kw_only=True)
class Evolution:
    """The content of evolution.json: the rounds, which of them is the best, and why no further one was made."""

    format_version: int = FORMAT_VERSION
    by: str
    diversity: str
    rounds: tuple[RoundRecord, ...]
    best: int
    stopped: str


@dataclass(frozen=True, kw_only=True)
class SettingsRecord:
    """What an evolution was begun with: its settings, and the training run that it changes."""

    format_version: int = FORMAT_VERSION
    settings: dict[str, Any]
    train: dict[str, Any]

# SPDX-License-Identifier: Apache-2.0
"""The judge of all rounds: every model draws the same prompts from the same noise, measured by what chose nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blendset.errors import BlendsetError
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.evaluation.evaluate import add_retrieval
from blendset_trainer.evaluation.ladder.measuring import average_units, list_figures, refuse_unknown_name
from blendset_trainer.evaluation.measurement import measure
from blendset_trainer.evaluation.metrics import Metric, has_embedding
from blendset_trainer.evaluation.models import draw_pictures
from blendset_trainer.evaluation.settings import MeasureSettings
from blendset_trainer.evaluation.sources import open_source
from blendset_trainer.evaluation.statistics.intervals import Replicates
from blendset_trainer.evaluation.summary import compute_set_metrics
from blendset_trainer.evaluation.trusted import Trusted, read_trusted
from blendset_trainer.evolution.records import RoundFigure
from blendset_trainer.evolution.rounds import get_round_folder
from blendset_trainer.evolution.settings import EvolveSettings
from blendset_trainer.scoring.score import make_scorers
from blendset_trainer.stages.stage import Stage

Figures = Mapping[Metric, Replicates]
PICTURES, MEASURED = "judged", "judged-dataset"
"""In the folder of a round: what its model draws for the judge, and the dataset that this becomes."""
HELD_OUT_SEED = 2**40
"""Noise for the judge begins here, above that of the rounds."""


@dataclass(frozen=True, eq=False)
class RoundJudge:
    """What all rounds have in common: the held-out prompts and what measures their pictures."""

    settings: EvolveSettings
    prompts: Sequence[str]
    measure: MeasureSettings
    stages: Sequence[Stage]
    trusted: Trusted

    def make_figures(self, number: int, model: Path, on_progress: OnProgress) -> Figures:
        """Return the figures of what a round's model draws of the held-out prompts; what is done already is kept.

        Raises BlendsetError where a step does, and where the deciding figures are not among them.
        """
        settings, folder = self.settings, get_round_folder(self.settings, number)
        drawn = draw_pictures(
            model, self.prompts, settings.judge.images, HELD_OUT_SEED + settings.seed * 1000, settings.steps,
            folder / PICTURES, on_progress, settings.cfg_scale,
        )  # fmt: skip
        opened = open_source(drawn, folder / MEASURED, self.measure, on_progress)
        measured = measure(opened.dataset, opened.title, self.stages, self.measure, on_progress)
        measured = add_retrieval(measured, self.stages)
        figures = {**average_units(measured), **compute_set_metrics(measured, self.trusted, self.measure.seed)}
        for name in filter(None, (settings.judge.by, settings.judge.diversity)):
            if name not in {metric.name for metric in figures}:
                raise BlendsetError(f"The {measured.count} pictures for the judge have no {name}; draw more of them.")
        return figures


def make_judge(settings: EvolveSettings, prompts: Sequence[str], on_progress: OnProgress) -> RoundJudge:
    """Return the judge of the settings, with its scorers and the trusted pictures in their features.

    Raises SettingsError for a deciding figure that none of its scorers computes.
    """
    options = MeasureSettings(scorers=settings.judge.scorers)
    stages = make_scorers(options, "evolve")
    has_features = any(map(has_embedding, stages))
    names = list_figures(stages, has_features)
    for option, name in (("by", settings.judge.by), ("diversity", settings.judge.diversity)):
        if name:
            refuse_unknown_name(name, names, f"judge.{option} is '{name}', and no scorer of the judge computes that")
    against = MeasureSettings(scorers=settings.judge.scorers, against=Path(settings.trusted) if has_features else None)
    return RoundJudge(settings, prompts, options, stages, read_trusted(stages, against, on_progress))


def compare_figures(figures: Figures, base: Figures | None) -> tuple[RoundFigure, ...]:
    """Return the figures of a round with their differences to those of the base model."""
    return tuple(
        RoundFigure(
            name=metric.name,
            scale=metric.scale,
            better=metric.better,
            estimate=found.estimate(),
            difference=found.subtract_paired(base[metric]).estimate() if base and metric in base else None,
        )
        for metric, found in sorted(figures.items())
    )

# SPDX-License-Identifier: Apache-2.0
"""From a run of a ladder to figures: train it, let its model draw, measure the pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from blendset.errors import BlendsetError, SettingsError
from blendset.naming import join_names
from blendset.options import find_nearest, unstructure
from blendset.records import encode_json, write_json
from blendset_trainer.api.progress import OnProgress, OnReport, prefix_progress
from blendset_trainer.evaluation.evaluate import add_retrieval, measure_source
from blendset_trainer.evaluation.ladder.records import RUN, RungRecord
from blendset_trainer.evaluation.ladder.runs import LadderRun
from blendset_trainer.evaluation.ladder.settings import AblateSettings
from blendset_trainer.evaluation.lineage import refuse_judging_itself
from blendset_trainer.evaluation.measurement import Measurement
from blendset_trainer.evaluation.metrics import SET_SCALES, Metric, has_embedding, list_metrics
from blendset_trainer.evaluation.models import draw_pictures, find_model
from blendset_trainer.evaluation.set_metrics import number_units
from blendset_trainer.evaluation.sources import open_source
from blendset_trainer.evaluation.statistics.intervals import Replicates, jackknife
from blendset_trainer.evaluation.statistics.kernels import Mask
from blendset_trainer.evaluation.summary import GEOMETRIC, compute_set_metrics, list_means
from blendset_trainer.evaluation.trusted import Trusted, refuse_common_pictures
from blendset_trainer.stages.stage import Stage
from blendset_trainer.training.train import train

Figures = Mapping[Metric, Replicates]
"""The figures of the pictures of one model."""
PICTURES, MEASURED = "pictures", "measured"
"""In the folder of a run: what its model drew, and the dataset that this becomes."""
ALWAYS = ("vendi", "retrieval")
"""Figures of a scorer with an embedding that need no trusted pictures."""


@dataclass(frozen=True, eq=False)
class Judge:
    """What all models of a ladder have in common: the prompts that they draw, and what measures their pictures."""

    settings: AblateSettings
    prompts: Sequence[str]
    stages: Sequence[Stage]
    trusted: Trusted

    def make_figures(self, run: LadderRun, on_progress: OnProgress, report: OnReport) -> Figures:
        """Train a run, let its model draw and return the figures of its pictures; what is done already is kept.

        Raises BlendsetError where one of the steps does, and where the scorer of the deciding figure selected the data.
        """
        progress = prefix_progress(on_progress, run.name)
        self._draw(run, progress, report)
        settings = self.settings.measure
        opened = open_source(run.folder / PICTURES, run.folder / MEASURED, settings, progress)
        measured = measure_source(replace(opened, title=run.name), self.stages, settings, progress)
        refuse_common_pictures(measured, self.trusted)
        measured = add_retrieval(measured, self.stages)
        figures = {**average_units(measured), **compute_set_metrics(measured, self.trusted, settings.seed)}
        refuse_judging_itself((metric for metric in figures if metric.name == self.settings.by), opened.lineage)
        return figures

    def _draw(self, run: LadderRun, on_progress: OnProgress, report: OnReport) -> None:
        """Train a run and draw its pictures, unless rung.json says that both are done."""
        settings, path = self.settings, run.folder / RUN
        record = RungRecord(
            config=unstructure(run.config),
            prompts=tuple(self.prompts),
            images=settings.images,
            steps=settings.steps,
            cfg_scale=settings.cfg_scale,
        )
        if path.is_file():
            if path.read_bytes() != encode_json(record):
                raise BlendsetError(
                    f"{run.folder} was trained or drawn with other settings; delete it, or give another out."
                )
            return
        train(run.config, on_progress=on_progress, report=report)
        model = find_model(run.folder)
        assert model is not None
        first, out = run.seed * settings.images * len(self.prompts), run.folder / PICTURES
        options = (self.prompts, settings.images, first, settings.steps, out, on_progress, settings.cfg_scale)
        draw_pictures(model, *options)
        write_json(path, record)


def average_units(measured: Measurement) -> dict[Metric, Replicates]:
    """Return the means of the figures of single pictures, each unit weighing the same."""
    units, number = np.unique(measured.keys), number_units(measured.keys)
    found = {}
    for metric, (known, means) in list_means(measured).items():
        values = np.full(len(units), np.nan)
        values[np.searchsorted(units, known)] = means
        found[metric] = jackknife(partial(_average, values), int(number.max()) + 1, 0)
    return found


def _average(values: np.ndarray[tuple[int], np.dtype[np.float64]], kept: Mask) -> float:
    return float(np.nanmean(values[kept]))


def refuse_unknown_figure(settings: AblateSettings, stages: Sequence[Stage]) -> None:
    """Raise SettingsError where no scorer of a ladder computes the figure that is to decide."""
    names = [GEOMETRIC.name, *list_figures(stages, bool(settings.against))]
    if not settings.by.startswith("records."):
        refuse_unknown_name(settings.by, names, f"by is '{settings.by}', and no scorer of the ladder computes that")


def list_figures(stages: Sequence[Stage], has_trusted: bool) -> list[str]:
    """Return the names of the figures that scorers compute, of single pictures and of whole sets."""
    names = [metric.name for stage in stages for metric in list_metrics(stage)]
    columns = (*ALWAYS, *SET_SCALES) if has_trusted else ALWAYS
    return names + [f"{stage.name}.{column}" for stage in stages if has_embedding(stage) for column in columns]


def refuse_unknown_name(name: str, names: Sequence[str], what: str) -> None:
    """Raise SettingsError, which begins with `what`, for the name of a figure that is not among those of scorers."""
    if name in names:
        return
    near = find_nearest(name, names)
    cure = f"did you mean '{near}'?" if near else f"they compute {join_names(sorted(names), 6)}."
    raise SettingsError(f"{what}; {cure}")

# SPDX-License-Identifier: Apache-2.0
"""`blendset evaluate`: measures a set of pictures and writes every figure with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from blendset.errors import BlendsetError, SettingsError
from blendset.naming import slugify
from blendset.options import resolve_settings
from blendset.records import write_json
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.evaluation.lineage import Lineage, refuse_judging_itself
from blendset_trainer.evaluation.measurement import Measurement, describe_missing, measure
from blendset_trainer.evaluation.metrics import Metric
from blendset_trainer.evaluation.records import EVALUATIONS, Evaluation
from blendset_trainer.evaluation.references import add_identity
from blendset_trainer.evaluation.retrieval import PromptEncoder, compute_retrieval
from blendset_trainer.evaluation.settings import EvaluateSettings, MeasureSettings
from blendset_trainer.evaluation.sources import OpenSource, open_source
from blendset_trainer.evaluation.statistics.intervals import Replicates
from blendset_trainer.evaluation.summary import compute_set_metrics, summarize
from blendset_trainer.evaluation.trusted import (
    Trusted,
    find_common_prompts,
    read_trusted,
    refuse_common_pictures,
    write_features,
)
from blendset_trainer.scoring.score import make_scorers
from blendset_trainer.stages.stage import Stage


def evaluate(
    source: Path | str,
    settings: EvaluateSettings | None = None,
    *,
    on_progress: OnProgress = ignore_progress,
    **options: Any,
) -> Evaluation:
    """Measure pictures (a dataset, what `sample` made, or any folder) and write `evaluations/<name>.json` into the
    dataset that they are, or become.

    `options` are fields of `EvaluateSettings`. What was computed is kept, so it is safe to interrupt and to call again.
    Raises SettingsError for wrong options, and BlendsetError for pictures that cannot be measured, or that only the
    scorer that selected their data would judge.
    """
    settings = resolve_settings(EvaluateSettings, settings, options)
    if slugify(settings.name) != settings.name:
        raise SettingsError(f"'{settings.name}' cannot name an evaluation; call it '{slugify(settings.name)}', say.")
    stages = make_scorers(settings, "evaluate")
    opened = open_source(source, settings.out, settings, on_progress)
    measured = measure_source(opened, stages, settings, on_progress)
    refuse_judging_itself(measured.values, opened.lineage)
    trusted = read_trusted(stages, settings, on_progress)
    refuse_common_pictures(measured, trusted)
    measured = add_retrieval(measured, stages)
    sets = compute_set_metrics(measured, trusted, settings.seed)
    evaluation = make_evaluation(settings.name, measured, trusted, sets, opened.lineage, settings.seed)
    write_json(opened.dataset.root / EVALUATIONS / f"{settings.name}.json", evaluation)
    if settings.save:
        write_features(settings.save, measured)
    return evaluation


def measure_source(
    opened: OpenSource, stages: Sequence[Stage], settings: MeasureSettings, on_progress: OnProgress
) -> Measurement:
    """Return what scorers say of the pictures of a source, and how much they show the subjects of the references.

    Raises BlendsetError where the pictures are all the same.
    """
    measured = measure(opened.dataset, opened.title, stages, settings, on_progress)
    if len(set(measured.index["rgb_sha256"].to_pylist())) == 1:
        raise BlendsetError(
            f"All {measured.count} pictures of {measured.title} are the same file; there is nothing to measure over "
            "them (was each drawn from a seed of its own?)."
        )
    measured = add_identity(measured, stages, settings, on_progress)
    return replace(measured, notes=(*opened.notes, *measured.notes))


def add_retrieval(measured: Measurement, stages: Sequence[Stage]) -> Measurement:
    """Return a measurement with CLIP-R among its own prompts, for each scorer that can tell."""
    found = [compute_retrieval(measured, stage) for stage in stages if isinstance(stage, PromptEncoder)]
    return replace(measured, values={**measured.values, **dict(filter(None, found))})


def make_evaluation(
    name: str,
    measured: Measurement,
    trusted: Trusted,
    sets: Mapping[Metric, Replicates],
    lineage: Lineage,
    seed: int,
) -> Evaluation:
    """Return the record of a measurement, with all figures."""
    return Evaluation(
        name=name,
        title=measured.title,
        pictures=measured.count,
        unit=measured.unit,
        units=len(np.unique(measured.keys)),
        against=trusted.title,
        against_pictures=trusted.count,
        seed=seed,
        scores=tuple(summarize(measured, sets, lineage)),
        notes=(*measured.notes, *trusted.notes, *describe_missing(measured), *find_common_prompts(measured, trusted)),
    )

# SPDX-License-Identifier: Apache-2.0
"""One round: the best model draws, the best pictures are chosen and weighed, and the base model is trained on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from blendset.dataset import Dataset
from blendset.errors import BlendsetError, SettingsError
from blendset_trainer.api.progress import OnProgress, OnReport
from blendset_trainer.evaluation.ladder.measuring import refuse_unknown_name
from blendset_trainer.evaluation.measurement import Measurement, measure
from blendset_trainer.evaluation.metrics import LOWER, list_metrics
from blendset_trainer.evaluation.models import draw_pictures, find_model
from blendset_trainer.evaluation.settings import MeasureSettings
from blendset_trainer.evaluation.sources import open_source
from blendset_trainer.evaluation.trusted import Trusted, read_trusted
from blendset_trainer.evolution.preference import choose_best
from blendset_trainer.evolution.settings import REPLACE, EvolveSettings
from blendset_trainer.evolution.weighting import compute_weights
from blendset_trainer.scoring.score import make_scorers
from blendset_trainer.selection.files import CHOSEN, DROPS, RULES, get_selection_path, read_chosen, write_selection
from blendset_trainer.selection.rules import Ranking, RankingTerm, Rules, rules_to_toml
from blendset_trainer.training.settings import TrainConfig, make_train_config
from blendset_trainer.training.train import train

SAMPLES, DATASET, RUN = "samples", "dataset", "run"
"""In the folder of a round: what its model drew, the dataset that this becomes, and the training."""
SELECTION = "kept"
TOO_FEW = 2


@dataclass(frozen=True)
class Kept:
    """What became of a round's pictures: how many were drawn and kept, and the bounds of their weights."""

    drawn: int
    kept: int
    least_weight: float
    greatest_weight: float


def get_round_folder(settings: EvolveSettings, number: int) -> Path:
    """Return the folder of a round."""
    return Path(settings.out) / f"round-{number}"


def draw_round(
    settings: EvolveSettings, number: int, model: Path, prompts: Sequence[str], on_progress: OnProgress
) -> Measurement:
    """Let a model draw the training prompts of a round and return what the scorers of its choice say.

    All rounds draw from noise of their own. Raises BlendsetError where a step does.
    """
    folder, images = get_round_folder(settings, number), settings.preference.images
    first = (settings.seed * 1000 + number) * images * len(prompts)
    drawn = draw_pictures(
        model, prompts, images, first, settings.steps, folder / SAMPLES, on_progress, settings.cfg_scale
    )
    options = MeasureSettings(scorers=list_scorers(settings))
    opened = open_source(drawn, folder / DATASET, options, on_progress)
    return measure(opened.dataset, opened.title, make_scorers(options, "evolve"), options, on_progress)


def read_trusted_pictures(settings: EvolveSettings, on_progress: OnProgress) -> Trusted:
    """Return the trusted pictures in the features that weights are taken in; nothing where there are none."""
    if not settings.weights.scorer:
        return Trusted()
    options = MeasureSettings(scorers=(settings.weights.scorer,), against=Path(settings.trusted))
    return read_trusted(make_scorers(options, "evolve"), options, on_progress)


def refuse_unknown_preference(settings: EvolveSettings) -> None:
    """Raise SettingsError for a figure of the choice that none of its scorers computes or of which less is better, and
    for a judge that weighs too.
    """
    stages = make_scorers(MeasureSettings(scorers=list_scorers(settings)), "evolve")
    metrics = {metric.name: metric for stage in stages for metric in list_metrics(stage)}
    for name in settings.preference.by:
        refuse_unknown_name(name, list(metrics), f"preference.by names '{name}', and no scorer of it computes that")
        if metrics[name].better == LOWER:
            raise SettingsError(
                f"preference.by names '{name}', of which less is better; give figures that should be high."
            )
    judging = settings.judge.by.split(".")[0]
    weighing = settings.weights.scorer
    if weighing and judging == make_scorers(MeasureSettings(scorers=(weighing,)), "evolve")[0].name:
        raise SettingsError(
            f"{judging} weighs pictures and cannot judge them too; give judge.by a figure of another scorer."
        )


def list_scorers(settings: EvolveSettings) -> tuple[str, ...]:
    """Return the scorers that a round's pictures are chosen and weighed by."""
    return tuple(dict.fromkeys([*settings.preference.scorers, *filter(None, [settings.weights.scorer])]))


def stack_figures(measured: Measurement, names: Sequence[str]) -> NDArray[np.float64]:
    """Return figures (N, F) of N pictures by their names."""
    by_name = {metric.name: values for metric, values in measured.values.items()}
    return np.stack([by_name[name] for name in names], axis=1)


def compute_floor(measured: Measurement, names: Sequence[str]) -> NDArray[np.float64]:
    """Return the median (F,) of each figure of the base model's pictures, below which none is kept."""
    return np.asarray(np.nanmedian(stack_figures(measured, names), axis=0))


def keep_pictures(
    settings: EvolveSettings, measured: Measurement, floor: NDArray[np.float64] | None, trusted: Trusted
) -> Kept:
    """Write the selection of a round's pictures that its model is trained on, with their weights; none is below
    `floor` (F,) in one of the F figures of the choice.

    Raises BlendsetError where hardly any is left.
    """
    by = settings.preference.by
    rows = np.arange(measured.count)
    if by:
        rows = choose_best(stack_figures(measured, by), measured.keys, floor if settings.preference.floor else None)
    if len(rows) < TOO_FEW:
        raise BlendsetError(
            f"Only {len(rows)} of {measured.count} pictures of {measured.title} would be trained on, which is too few; "
            "give more prompts, draw more pictures of each, or set preference.floor = false."
        )
    weights = np.ones(len(rows))
    if trusted.features:
        [(name, features)] = trusted.features.items()
        weights = compute_weights(measured.features[name][rows], features, settings.weights)
    names = np.array(measured.index["view_id"].to_pylist())
    rules = Rules(ranking=Ranking(terms=tuple(map(RankingTerm, by)))) if by else Rules()
    chosen = pa.table(
        {"view_id": names[rows], "weight": weights, "source": [""] * len(rows), "noise_band": [""] * len(rows),
         "split": [""] * len(rows)},
        schema=CHOSEN.with_metadata({RULES: rules_to_toml(rules)}),
    )  # fmt: skip
    write_selection(get_selection_path(measured.dataset, SELECTION), chosen, DROPS.empty_table())
    return Kept(measured.count, len(rows), float(weights.min()), float(weights.max()))


def make_round_config(settings: EvolveSettings, shared: dict[str, Any], number: int) -> TrainConfig:
    """Return the training of a round: the base model, the trusted sources, and own pictures of all rounds so far (or of
    the last), each picture counting the same; what shares words in a row with the judge's prompts is kept out."""
    first = number if settings.pool == REPLACE else 1
    counts = {each: _count_kept(settings, each) for each in range(first, number + 1)}
    trusted = [dict(source) for source in shared["source"]]
    own_share = 1 - settings.trusted_share
    band = {"lo": settings.band_lo, "unit": "fraction"} if settings.band_lo else {}
    sources = [
        {
            **source,
            "bands": [{**b, "weight": settings.trusted_share / len(trusted)} for b in source.get("bands") or [{}]],
        }
        for source in trusted
        if settings.trusted_share
    ]
    sources += [
        {"name": f"round-{each}", "kind": "synthetic", "dataset": str(get_round_folder(settings, each) / DATASET),
         "selection": SELECTION, "bands": [{**band, "weight": own_share * count / sum(counts.values())}]}
        for each, count in counts.items() if own_share
    ]  # fmt: skip
    out = str(get_round_folder(settings, number) / RUN)
    keep_out = [*shared.get("keep_out", ()), settings.judge.prompts]
    values = {**shared, "source": sources, "out": out, "seed": settings.seed, "keep_out": keep_out}
    return make_train_config(values, f"{settings.train}, of round {number}")


def _count_kept(settings: EvolveSettings, number: int) -> int:
    return int(read_chosen(Dataset(get_round_folder(settings, number) / DATASET), SELECTION).num_rows)


def train_round(config: TrainConfig, on_progress: OnProgress, report: OnReport) -> Path:
    """Train a round's model and return its folder; a run that is done is not made again."""
    train(config, on_progress=on_progress, report=report)
    model = find_model(Path(config.out))
    assert model is not None
    return model

# SPDX-License-Identifier: Apache-2.0
"""The end of a run: the trained pipeline or LoRA in files that other programs load, and a model card."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from blendset.dataset import Dataset
from blendset.files import sha256_file
from blendset.records import write_json
from blendset_trainer.adopted_views import list_licences
from blendset_trainer.diffusion.export import save_full, save_lora
from blendset_trainer.diffusion.families import Family
from blendset_trainer.selection.files import get_selection_path, read_chosen, read_recipe
from blendset_trainer.training.card import CardData, TrainedOn, write_card
from blendset_trainer.training.data.sources import Source
from blendset_trainer.training.data.train_data import TrainData
from blendset_trainer.training.state import TrainState
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training.timesteps.report import make_plan_rows
from blendset_trainer.training_runs import LINEAGE, LOG, LineageRecord, TrainedSource, read_lineage, read_loss_curves


def finish(model: Family, data: TrainData, state: TrainState) -> Path:
    """Write the trained weights, averaged where the run averages, and the model card; returns their folder."""
    state.log.close()
    full = state.config.model.method == "full"
    folder = state.folder / ("model" if full else "lora")
    if state.accelerator.is_main_process:
        with state.swap_weights(model):
            (save_full if full else save_lora)(model, folder)
        write_card(folder, make_card_data(model, data, state))
        write_json(folder / LINEAGE, make_lineage(data, state))
    state.accelerator.wait_for_everyone()
    return folder


def make_card_data(model: Family, data: TrainData, state: TrainState) -> CardData:
    """What the model card of a run says."""
    settings = state.config.model
    return CardData(
        name=state.folder.resolve().name,
        base_model=settings.path,
        family=model.name,
        method="full" if settings.method == "full" else f"LoRA of rank {settings.rank}",
        samples_seen=state.samples_seen,
        steps=state.step,
        seed=state.config.seed,
        resolution=f"{state.config.train.resolution} px",
        sources=tuple(_describe_source(data.plan, source) for source in data.sources),
        curves=read_loss_curves(state.folder / LOG),
    )


def make_lineage(data: TrainData, state: TrainState) -> LineageRecord:
    """What a run's model was trained on, and what its base model was."""
    base = state.config.model.path
    return LineageRecord(
        base_model=base,
        sources=tuple(map(_trace_source, data.sources)),
        base=read_lineage(Path(base)),
    )


def _trace_source(source: Source) -> TrainedSource:
    settings = source.settings
    dataset = Dataset(source.root) if settings.dataset else None
    selection = get_selection_path(dataset, settings.selection) if dataset and settings.selection else None
    return TrainedSource(
        name=source.name,
        kind=settings.kind,
        dataset=dataset.record.name if dataset else source.root.name,
        selection=settings.selection,
        selection_sha256=sha256_file(selection) if selection else "",
        rules=read_recipe(read_chosen(dataset, settings.selection))[0] if dataset and selection else "",
    )


def _describe_source(plan: TimestepPlan, source: Source) -> TrainedOn:
    settings = source.settings
    dataset = Dataset(source.root) if settings.dataset else None
    selection = get_selection_path(dataset, settings.selection) if dataset and settings.selection else None
    return TrainedOn(
        name=source.name,
        kind=settings.kind,
        dataset=dataset.record.name if dataset else source.root.name,
        selection=settings.selection,
        selection_sha256=sha256_file(selection) if selection else "",
        samples=len(source),
        share=plan.compute_shares()[source.name],
        bands=", ".join(row.band for row in make_plan_rows(plan) if row.source == source.name),
        scenes=tuple(sorted({path.stem for path in dataset.root.glob("scenes/*.json")})) if dataset else (),
        licence=describe_licences(dataset, source) if dataset else "",
    )


def describe_licences(dataset: Dataset, source: Source) -> str:
    """The licences of the pictures that a source of a dataset holds, as text; "" where nobody says any."""
    used = pa.array(np.unique(source.members))
    licences = list_licences(dataset, source.rows["id"].take(used).to_pylist())
    return ", ".join(licence or "not stated" for licence in licences) if any(licences) else ""

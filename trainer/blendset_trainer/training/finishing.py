# SPDX-License-Identifier: Apache-2.0
"""What a run leaves when it is done: a pipeline or a LoRA that other programs load, and a card that says of what."""

from __future__ import annotations

from pathlib import Path

from blendset.dataset import Dataset
from blendset.files import sha256_file
from blendset_trainer.diffusion.export import save_full, save_lora
from blendset_trainer.selection.files import get_selection_path
from blendset_trainer.training.card import CardData, TrainedOn, write_card
from blendset_trainer.training.data.sources import Source
from blendset_trainer.training.state import Run
from blendset_trainer.training.timesteps.report import plan_rows
from blendset_trainer.training_runs import LOG, read_loss_curves


def finish(run: Run) -> Path:
    """Write what was trained, with the averaged weights where a run keeps them; returns its folder."""
    run.log.close()
    folder = run.folder / ("model" if run.config.model.method == "full" else "lora")
    if run.accelerator.is_main_process:
        with run.averaged_weights():
            (save_full if run.config.model.method == "full" else save_lora)(run.family, folder)
        write_card(folder, card_data(run))
    run.accelerator.wait_for_everyone()
    return folder


def card_data(run: Run) -> CardData:
    """What the model card says of a run."""
    settings = run.config.model
    return CardData(
        name=run.folder.resolve().name,
        base_model=settings.path,
        family=run.family.name,
        method="full" if settings.method == "full" else f"LoRA of rank {settings.rank}",
        samples_seen=run.step * run.config.train.batch,
        steps=run.step,
        seed=run.config.seed,
        resolution=f"{run.config.train.resolution} px",
        sources=tuple(_trained_on(run, source) for source in run.sources),
        curves=read_loss_curves(run.folder / LOG),
    )


def _trained_on(run: Run, source: Source) -> TrainedOn:
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
        share=run.plan.shares()[source.name],
        bands=", ".join(row.band for row in plan_rows(run.plan) if row.source == source.name),
        scenes=tuple(sorted({path.stem for path in dataset.root.glob("scenes/*.json")})) if dataset else (),
        licence=dataset.record.licence if dataset else "",
    )

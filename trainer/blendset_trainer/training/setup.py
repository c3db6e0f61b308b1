# SPDX-License-Identifier: Apache-2.0
"""From a configuration to the three parts of a run: the model, the data and the state.

Each part has a walk of its own: `load_model`, `load_data` (of sources from `load_sources`) and `TrainState`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import torch
from accelerate import Accelerator

from blendset.errors import BlendsetError
from blendset_trainer.api.progress import OnProgress, OnReport
from blendset_trainer.diffusion.densities import shift_from_scheduler
from blendset_trainer.diffusion.families import Family, load_family, load_scheduler, load_size_divisor
from blendset_trainer.diffusion.lora import add_lora
from blendset_trainer.diffusion.noise import axis_from_scheduler, prediction_from_scheduler
from blendset_trainer.diffusion.pipelines import PRECISIONS
from blendset_trainer.diffusion.sampling import make_call_options
from blendset_trainer.language.decontamination import Decontaminator
from blendset_trainer.models.loading import choose_device
from blendset_trainer.readers.findings import Finding, make_findings, report_findings
from blendset_trainer.readers.prompt_lists import read_prompt_list
from blendset_trainer.training.data.cache_filling import (
    fill_caches,
    keep_encoded,
    make_features_reader,
    make_latents_reader,
)
from blendset_trainer.training.data.forecast import forecast_sources
from blendset_trainer.training.data.loader import Batch, Loader
from blendset_trainer.training.data.references import ReferenceSettings
from blendset_trainer.training.data.sources import Source, hash_sources, load_source, read_source_rows
from blendset_trainer.training.data.train_data import EncodePrompts, TrainData
from blendset_trainer.training.data.transforms import Bucket, make_aspect_buckets
from blendset_trainer.training.optimizers import find_optimizer
from blendset_trainer.training.resuming import RunIdentity, find_checkpoint_of
from blendset_trainer.training.settings import ModelSettings, RunSettings, TrainConfig
from blendset_trainer.training.state import TrainState
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training.timesteps.report import write_timestep_plan
from blendset_trainer.training.timesteps.settings import timestep_plan_from_settings
from blendset_trainer.training.validation import make_sampling_settings

HELD_OUT_SAMPLES = 64
"""Most held-out samples of a source that a validation looks at."""
CHECKED_CAPTIONS = 1000
"""Samples of a source whose captions are checked for truncation."""
PRODIGY_SMALL = 0.01
"""A factor below which prodigy hardly learns."""
TOKEN_PIXELS = 16
"""Side of a token of FLUX and SD3 in pixels; their shift grows with the number of tokens."""


@dataclass(frozen=True, eq=False)
class Sources:
    """The sources of a run: their samples for training, and those that are held out."""

    training: Sequence[Source]
    held_out: Sequence[Source]

    def list_findings(self) -> Iterator[tuple[str, Finding]]:
        """What was found of the files of each source, by its name."""
        yield from ((source.name, each) for source in (*self.training, *self.held_out) for each in source.findings)
        trained = {sha256 for source in self.training for sha256 in source.rows["sha256"].to_pylist()}
        for source in self.held_out:
            leaks = source.rows.filter(pc.is_in(source.rows["sha256"], pa.array(trained, pa.string())))
            yield from (
                (source.name, each)
                for each in make_findings("held out and trained all the same", leaks["id"].to_pylist())
            )


def prepare(
    config: TrainConfig,
    accelerator: Accelerator,
    report: OnReport,
    on_progress: OnProgress,
    strict: bool = False,
) -> tuple[Family, TrainData, TrainState]:
    """The model, the data and the state of a run, which goes on from its newest sound checkpoint.

    Whatever can be refused is refused before anything is encoded, and whatever is left out of the sources is reported;
    a `strict` run ends there. Raises BlendsetError where something is missing, or where the checkpoint is of another
    run.
    """
    _check_batch(config.train, accelerator.num_processes)
    find_optimizer(config.optimizer.name)
    sources = load_sources(config)
    report_findings(sources.list_findings(), report, strict)
    model = load_model(config.model, accelerator.device)
    check_resolution(config.train.resolution, model.name, model.size_divisor)
    check_validation(config, model)
    for warning in list_doubts(config):
        report(warning)
    identity = RunIdentity(config, model.identity, hash_sources(sources.training))
    checkpoint = find_checkpoint_of(identity, report)
    data = load_data(config, model, sources, accelerator, report, on_progress, strict)
    state = TrainState(identity, accelerator, model, data, checkpoint, report)
    if accelerator.is_main_process:
        sizes = {source.name: len(source) for source in data.sources}
        write_timestep_plan(state.folder, data.plan, sizes, config.train.samples)
    return model, data, state


def make_accelerator(precision: str) -> Accelerator:
    """Accelerate's object for a run: mixed precision as the settings name it, none on a CPU and for fp32."""
    full = precision == "fp32" or choose_device().type == "cpu"
    return Accelerator(mixed_precision="no" if full else precision)


def make_dry_plan(config: TrainConfig, report: OnReport, strict: bool) -> tuple[TimestepPlan, dict[str, int]]:
    """The timestep plan of a run and the sizes of its sources by name, without loading the model's weights.

    What `prepare` would report of the sources is reported, and refused in a `strict` run.
    """
    family, scheduler = load_scheduler(config.model.path, config.model.revision)
    plan = make_plan(config, family.base_density, scheduler)
    sources = load_sources(config)
    report_findings(sources.list_findings(), report, strict)
    divisor = load_size_divisor(config.model.path, config.model.revision)
    check_resolution(config.train.resolution, family.name, divisor)
    report_forecast(config, sources, plan, make_aspect_buckets(config.train.resolution, divisor), report, strict)
    return plan, {source.name: len(source) for source in sources.training}


def load_sources(config: TrainConfig) -> Sources:
    """The sources of a run; BlendsetError where one has nothing to train on."""
    references, cache_folder = config.references.count > 0, config.train.cache_folder
    keep_out = load_decontaminator(config.keep_out)
    found = [(source, read_source_rows(source, cache_folder=cache_folder)) for source in config.source]
    return Sources(
        [
            load_source(source, found=rows, references=references, keep_out=keep_out).draw_samples(config.seed)
            for source, rows in found
        ],
        [load_source(source, found=rows, references=references, held_out=True) for source, rows in found],
    )


def load_decontaminator(files: Sequence[str]) -> Decontaminator | None:
    """What finds captions that are in lists of prompts; None without any. BlendsetError for a file that is no list."""
    lists = [read_prompt_list(Path(os.path.expanduser(file))) for file in files]
    return Decontaminator(each.prompt for prompts in lists for each in prompts) if lists else None


def report_forecast(
    config: TrainConfig,
    sources: Sources,
    plan: TimestepPlan,
    buckets: Sequence[Bucket],
    report: OnReport,
    strict: bool,
) -> None:
    """Report how often the run sees each sample, and how much of it; a `strict` run refuses what a person must know."""
    forecasts = forecast_sources(
        sources.training,
        plan.compute_shares(),
        buckets,
        samples=config.steps * config.train.batch,
        micro_batch=config.train.micro_batch,
        seed=config.seed,
    )
    for forecast in forecasts:
        report(f"Source '{forecast.source.name}': {forecast}.")
    report_findings(((each.source.name, found) for each in forecasts for found in each.list_findings()), report, strict)


def load_model(settings: ModelSettings, device: torch.device) -> Family:
    """The model on a device: the parameters of the method require gradients, all others are frozen.

    Raises BlendsetError for a model of no known family.
    """
    dtype = torch.float32 if device.type == "cpu" else PRECISIONS[settings.precision]
    model = load_family(settings.path, dtype=dtype, revision=settings.revision, full=settings.method == "full")
    if settings.method == "full":
        model.module.requires_grad_(True)
    else:
        add_lora(model, settings.rank, settings.alpha)
    if settings.gradient_checkpointing:
        model.module.enable_gradient_checkpointing()
    model.pipeline.to(device)
    model.module.train()
    return model


def load_data(
    config: TrainConfig,
    model: Family,
    sources: Sources,
    accelerator: Accelerator,
    report: OnReport,
    on_progress: OnProgress,
    strict: bool = False,
) -> TrainData:
    """The data of a run as the model needs it: sizes, text features, and latents in caches where the settings ask.

    Raises BlendsetError where the sources, the plan and the model do not fit.
    """
    settings = config.train
    plan = make_plan(config, model.base_density, model.pipeline.scheduler)
    buckets = make_aspect_buckets(settings.resolution, model.size_divisor)
    report_forecast(config, sources, plan, buckets, report, strict)
    if warning := model.report_truncated_prompts(list_captions(sources.training)):
        report(warning)
    if warning := model.report_truncated_prompts(config.validation.prompts, "validation prompts"):
        report(warning)
    references = resolve_references(model, config.references) if config.references.count > 0 else None
    loader = partial(
        Loader,
        buckets=buckets,
        micro_batch=settings.micro_batch,
        seed=config.seed,
        references=references,
        strict=strict,
    )
    encode_prompts: EncodePrompts = model.encode_prompts
    if settings.cache:
        every_source = [*sources.training, *sources.held_out]
        caches, failures = fill_caches(every_source, model, buckets, accelerator, on_progress, settings.cache_folder)
        report_findings(failures, report, strict)
        if failures:
            sources = Sources(
                [keep_encoded(source, caches[source.name], model, buckets) for source in sources.training],
                [keep_encoded(source, caches[source.name], model, buckets) for source in sources.held_out],
            )
        encode_prompts = make_features_reader(list(caches.values()), model.text_revision)
        loader = partial(loader, cached=make_latents_reader(caches, model.vae_revision, model.dtype))
    ranks = {"rank": accelerator.process_index, "processes": accelerator.num_processes}
    return TrainData(
        sources.training,
        plan,
        encode_prompts,
        lambda start: loader(sources.training, plan.compute_shares(), start=start, **ranks),
        load_held_out_batches(sources.held_out, loader),
    )


def make_plan(config: TrainConfig, base: str, scheduler: Any) -> TimestepPlan:
    """The timestep plan on the noise axis of a scheduler; `base` names the density that the model's family trains."""
    bands = {source.name: source.bands for source in config.source}
    shift = shift_from_scheduler(scheduler, tokens=(config.train.resolution // TOKEN_PIXELS) ** 2)
    axis, prediction = axis_from_scheduler(scheduler), prediction_from_scheduler(scheduler)
    return timestep_plan_from_settings(config.plan, bands, axis, prediction, base, shift)


def resolve_references(model: Family, settings: ReferenceSettings) -> ReferenceSettings:
    """The settings with the family's noise on references where they leave it to the family.

    Raises BlendsetError for a family that takes no references.
    """
    if model.references is None:
        raise BlendsetError(
            f"{model.name} cannot be shown references; use references.count = 0, or a model of FLUX or SDXL."
        )
    return replace(settings, noise=model.references.noise) if settings.noise == "family" else settings


def list_captions(sources: Sequence[Source]) -> list[str]:
    """Every caption that the first samples of each source can have, sorted."""
    samples = ((source, sample) for source in sources for sample in islice(source, CHECKED_CAPTIONS))
    return sorted({text for source, sample in samples for text in source.list_captions(sample)})


def load_held_out_batches(sources: Sequence[Source], loader: Callable[..., Loader]) -> list[Batch]:
    """Batches of one held-out sample each, whatever its size, of the first of each source."""
    batches: list[Batch] = []
    for source in sources:
        if len(source):
            with loader([source], {source.name: 1.0}, micro_batch=1) as held_out:
                batches += islice(held_out, min(len(source), HELD_OUT_SAMPLES))
    return batches


def check_resolution(resolution: int, family: str, divisor: int) -> None:
    """Raise BlendsetError for a side, in pixels, that a model of the family does not take."""
    if resolution % divisor:
        near = [side for side in (resolution // divisor * divisor, -(-resolution // divisor) * divisor) if side]
        raise BlendsetError(
            f"train.resolution is {resolution}, and {family} takes multiples of {divisor} pixels; "
            f"set it to {' or '.join(map(str, near))}."
        )


def list_doubts(config: TrainConfig) -> Iterator[str]:
    """Sentences about settings that train, but hardly as they were meant."""
    optimizer = config.optimizer
    if optimizer.warmup_steps > config.steps:
        yield (
            f"optimizer.warmup_steps is {optimizer.warmup_steps} and the run has {config.steps} steps, so it ends "
            "before the learning rate is reached; give fewer, or more train.samples."
        )
    if optimizer.name == "prodigy" and optimizer.learning_rate < PRODIGY_SMALL:
        yield (
            f"optimizer.learning_rate is {optimizer.learning_rate:g}, which prodigy takes as a factor of the rate "
            "that it finds; 1 is usual."
        )


def check_validation(config: TrainConfig, model: Family) -> None:
    """Raise BlendsetError for guidance of validation pictures that the model does not take."""
    try:
        make_call_options(model, make_sampling_settings(config))
    except BlendsetError as error:
        raise BlendsetError(f"The settings in [validation] do not fit: {error}") from error


def _check_batch(settings: RunSettings, processes: int) -> None:
    if settings.batch % (settings.micro_batch * processes):
        raise BlendsetError(
            f"train.batch is {settings.batch}, which {processes} processes with micro-batches of "
            f"{settings.micro_batch} cannot share; change one of the three."
        )

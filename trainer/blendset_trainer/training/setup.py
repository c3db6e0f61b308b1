# SPDX-License-Identifier: Apache-2.0
"""From a configuration to a run that can be trained: sources, model, plan, caches, feed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from blendset.errors import BlendsetError
from blendset_trainer.diffusion.densities import shift_from_scheduler
from blendset_trainer.diffusion.families import Family, load_family
from blendset_trainer.diffusion.lora import add_lora
from blendset_trainer.diffusion.noise import axis_from_scheduler, prediction_from_scheduler
from blendset_trainer.training.data.cache_filling import cached_latents, fill_latents, fill_texts
from blendset_trainer.training.data.feature_cache import FeatureCache, text_key
from blendset_trainer.training.data.loader import Batch, Feed
from blendset_trainer.training.data.references import ReferenceSettings
from blendset_trainer.training.data.sources import Source, load_source
from blendset_trainer.training.data.transforms import Bucket, aspect_buckets
from blendset_trainer.training.losses import Texts
from blendset_trainer.training.settings import ModelSettings, TrainConfig
from blendset_trainer.training.state import Run
from blendset_trainer.training.timesteps.plan import TimestepPlan
from blendset_trainer.training.timesteps.report import write_plan
from blendset_trainer.training.timesteps.settings import plan_from_settings

HELD_OUT_SAMPLES = 64
"""Of each source, most that a validation looks at."""
LOOKED_AT = 1000
"""Samples of each source whose captions are held against what the text encoder reads."""
TOKEN_PIXELS = 16
"""Side of what is one token to FLUX and SD3, whose shift grows with the tokens."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Tell = Callable[[str], None]
Progress = Callable[[str, int, int], None]


def prepare(config: TrainConfig, accelerator: Accelerator, tell: Tell, progress: Progress) -> Run:
    """Everything that a run needs, where its last checkpoint left it; BlendsetError says what is missing.

    `tell` hears what a person should know, `progress` what is being done, how much of it and of how much.
    """
    settings = config.train
    if settings.batch % (settings.micro_batch * accelerator.num_processes):
        raise BlendsetError(
            f"train.batch is {settings.batch}, which {accelerator.num_processes} processes with micro-batches of "
            f"{settings.micro_batch} cannot share; change one of the three."
        )
    beside = config.references.count > 0
    sources = [load_source(each, references=beside) for each in config.source]
    held_out = [load_source(each, held_out=True, references=beside) for each in config.source]
    family = loaded(config.model, accelerator)
    plan = plan_of(config, family.base_density, family.pipeline.scheduler)
    buckets = aspect_buckets(settings.resolution, family.size_divisor)
    if too_long := family.report_truncated_prompts(some_captions(sources)):
        tell(too_long)
    texts: Texts = family.encode_prompts
    references = references_for(family, config.references) if beside else None
    feed = partial(Feed, buckets=buckets, micro_batch=settings.micro_batch, seed=config.seed, references=references)
    if settings.cache:
        caches = filled_caches(sources + held_out, family, buckets, accelerator, tell, progress)
        texts = partial(cached_texts, list(caches.values()), family.text_revision)
        feed = partial(feed, cached=cached_latents(caches, family.vae_revision, family.dtype))
    here = {"rank": accelerator.process_index, "processes": accelerator.num_processes}
    run = Run(
        config,
        accelerator,
        family,
        texts,
        plan,
        lambda start: feed(sources, plan.shares(), start=start, **here),
        held_out_batches(held_out, feed, settings.micro_batch),
        sources,
    )
    if accelerator.is_main_process:
        write_plan(run.folder, plan, {source.name: len(source) for source in sources}, settings.samples)
    return run


def references_for(family: Family, settings: ReferenceSettings) -> ReferenceSettings:
    """References with the noise that the family gets them with, where the settings leave it to that."""
    if family.references is None:
        raise BlendsetError(
            f"{family.name} cannot be shown references; use references.count = 0, or a model of FLUX or SDXL."
        )
    return replace(settings, noise=family.references.noise) if settings.noise == "family" else settings


def some_captions(sources: Sequence[Source]) -> list[str]:
    """What the first samples of each source can say, to be looked at."""
    samples = ((source, sample) for source in sources for sample in islice(source, LOOKED_AT))
    return sorted({text for source, sample in samples for text in source.texts(sample)})


def loaded(settings: ModelSettings, accelerator: Accelerator) -> Family:
    """The model on this process's device, with the parameters freed that are trained and all others frozen."""
    here = accelerator.device
    dtype = torch.float32 if here.type == "cpu" else DTYPES[settings.precision]
    family = load_family(settings.path, dtype=dtype, revision=settings.revision, full=settings.method == "full")
    if settings.method == "full":
        family.module.requires_grad_(True)
    else:
        add_lora(family, settings.rank, settings.alpha)
    if settings.gradient_checkpointing:
        family.module.enable_gradient_checkpointing()
    family.pipeline.to(here)
    family.module.train()
    return family


def plan_of(config: TrainConfig, base: str, scheduler: Any) -> TimestepPlan:
    """The run's plan on the axis of a model's scheduler; `base` is the density that its family is trained with."""
    bands = {source.name: source.bands for source in config.source}
    shift = shift_from_scheduler(scheduler, tokens=(config.train.resolution // TOKEN_PIXELS) ** 2)
    return plan_from_settings(
        config.plan, bands, axis_from_scheduler(scheduler), prediction_from_scheduler(scheduler), base, shift
    )


def filled_caches(
    sources: Sequence[Source],
    family: Family,
    buckets: Sequence[Bucket],
    accelerator: Accelerator,
    tell: Tell,
    progress: Progress,
) -> dict[str, FeatureCache]:
    """The caches of sources by name, with all that their samples need; each process makes its part."""
    caches: dict[str, FeatureCache] = {}
    here = {"rank": accelerator.process_index, "processes": accelerator.num_processes}
    for source in sources:
        cache = FeatureCache(source.root)
        failures = fill_latents(
            cache,
            source,
            buckets,
            lambda pixels: family.encode_images(pixels / 127.5 - 1).cpu(),
            revision=family.vae_revision,
            made_by=f"{family.model} (VAE)",
            dtype=family.dtype,
            on_progress=partial(progress, f"pictures of {source.name}"),
            **here,
        )
        fill_texts(
            cache,
            source,
            lambda texts: {name: values.cpu() for name, values in family.encode_prompts(texts).items()},
            revision=family.text_revision,
            made_by=f"{family.model} (text)",
            on_progress=partial(progress, f"captions of {source.name}"),
            **here,
        )
        for reason in failures.values():
            tell(f"left out: {reason}")
    accelerator.wait_for_everyone()
    for source in sources:  # opened once more, with what the other processes made
        caches[source.name] = FeatureCache(source.root)
    return caches


def cached_texts(caches: Sequence[FeatureCache], revision: str, captions: Sequence[str]) -> dict[str, Tensor]:
    """What the denoiser reads of captions, from the caches."""
    rows = []
    for caption in captions:
        key = text_key(caption, revision)
        rows.append(next((cache for cache in caches if key in cache), caches[0]).get(key))
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def held_out_batches(sources: Sequence[Source], feed: Callable[..., Feed], micro_batch: int) -> list[Batch]:
    """The first samples that sources hold out, each source's for itself."""
    batches: list[Batch] = []
    for source in sources:
        if len(source):
            with feed([source], {source.name: 1.0}) as alone:
                batches += islice(alone, -(-min(len(source), HELD_OUT_SAMPLES) // micro_batch))
    return batches

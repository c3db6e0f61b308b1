# SPDX-License-Identifier: Apache-2.0
"""From a configuration to a run that can be trained: sources, model, plan, caches, feed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

import torch
from accelerate import Accelerator

from blendset.errors import BlendsetError
from blendset_trainer.training.families import Family, load_family
from blendset_trainer.training.feed import Batch, Feed
from blendset_trainer.training.pictures import aspect_buckets
from blendset_trainer.training.plan_settings import plan_from_settings
from blendset_trainer.training.runs import Run
from blendset_trainer.training.samples import Source, load_source
from blendset_trainer.training.settings import ModelSettings, TrainConfig
from blendset_trainer.training.timesteps import TimestepPlan

HELD_OUT_SAMPLES = 64
"""Of each source, most that a validation looks at."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def prepare(config: TrainConfig, accelerator: Accelerator) -> Run:
    """Everything that a run needs, where its last checkpoint left it; BlendsetError says what is missing."""
    settings = config.train
    if settings.batch % (settings.micro_batch * accelerator.num_processes):
        raise BlendsetError(
            f"train.batch is {settings.batch}, which {accelerator.num_processes} processes with micro-batches of "
            f"{settings.micro_batch} cannot share; change one of the three."
        )
    sources = [load_source(each) for each in config.source]
    held_out = [load_source(each, held_out=True) for each in config.source]
    precise = DTYPES[config.model.precision] if accelerator.device.type != "cpu" else torch.float32
    family = load_family(
        config.model.path, dtype=precise, revision=config.model.revision, full=config.model.method == "full"
    )
    family.pipeline.to(accelerator.device)
    make_trainable(family, config.model)
    plan = plan_of(config, family)
    buckets = aspect_buckets(settings.resolution, family.multiple)
    feed = partial(Feed, buckets=buckets, micro_batch=settings.micro_batch, seed=config.seed)
    here = {"rank": accelerator.process_index, "processes": accelerator.num_processes}
    return Run(
        config,
        accelerator,
        family,
        family.texts,
        plan,
        lambda start: feed(sources, plan.shares(), start=start, **here),
        held_out_batches(held_out, feed, settings.micro_batch),
        digest_of(sources),
    )


def held_out_batches(sources: Sequence[Source], feed: Callable[..., Feed], micro_batch: int) -> list[Batch]:
    """The first samples that sources hold out, each source's for itself."""
    batches: list[Batch] = []
    for source in sources:
        if len(source):
            with feed([source], {source.name: 1.0}) as alone:
                batches += islice(alone, -(-min(len(source), HELD_OUT_SAMPLES) // micro_batch))
    return batches


def plan_of(config: TrainConfig, family: Family) -> TimestepPlan:
    """The run's plan on the model's own axis."""
    bands = {source.name: source.bands for source in config.source}
    return plan_from_settings(config.plan, bands, family.axis, family.prediction, family.base)


def make_trainable(family: Family, settings: ModelSettings) -> None:
    """Free the parameters that are trained; all others are frozen."""
    if settings.method == "full":
        family.module.requires_grad_(True)
    else:
        add_lora(family, settings.rank, settings.alpha)
    family.module.train()
    if settings.gradient_checkpointing:
        family.module.enable_gradient_checkpointing()


def digest_of(sources: Sequence[Source]) -> str:
    """A hash over every picture, caption, weight and bound of the sources."""
    hasher = hashlib.sha256()
    for source in sources:
        for rows in source.rows.to_batches():
            hasher.update(rows.serialize())
    return hasher.hexdigest()

# SPDX-License-Identifier: Apache-2.0
"""A training run as TOML: the model, the sources and the noise that each trains, the optimizer, the run itself."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blendset.errors import BlendsetError
from blendset.options import REQUIRED, is_section, option, read_toml, structure, unstructure
from blendset_trainer.training.data.references import ReferenceSettings
from blendset_trainer.training.data.sources import SourceSettings
from blendset_trainer.training.timesteps.settings import TimestepPlanSettings


@dataclass(frozen=True)
class ModelSettings:
    """What is trained, and which of its parameters."""

    path: str = option(REQUIRED, "a diffusers model: a folder, or its id on the Hugging Face Hub")
    revision: str = option("", "of a model on the hub: the commit")
    method: str = option("lora", "train a low-rank adapter, or all of the denoiser", choices=("lora", "full"))
    rank: int = option(16, "of the adapter", at_least=1)
    alpha: float = option(16.0, "of the adapter: its weight is alpha / rank; above 0", at_least=0)
    precision: str = option("bf16", "of the arithmetic on an accelerator", choices=("fp32", "bf16", "fp16"))
    gradient_checkpointing: bool = option(False, "compute activations twice to save memory")


@dataclass(frozen=True)
class OptimizerSettings:
    """The optimizer and its learning rate."""

    name: str = option("adamw", "the optimizer; the last two are extras", choices=("adamw", "adamw-8bit", "prodigy"))
    learning_rate: float = option(1e-4, "at its highest; of prodigy, a factor (1 is usual)", at_least=0)
    schedule: str = option("constant", "of the learning rate after the warm-up", choices=("constant", "cosine"))
    warmup_steps: int = option(0, "optimizer steps until the learning rate is reached", at_least=0)
    betas: tuple[float, float] = option((0.9, 0.999), "decay of the moments", at_least=0, at_most=1)
    epsilon: float = option(1e-8, "added to the second moment's root", at_least=0)
    weight_decay: float = option(0.01, "decoupled", at_least=0)
    clip: float = option(1.0, "largest gradient norm; 0 leaves gradients alone", at_least=0)


@dataclass(frozen=True)
class RunSettings:
    """How much, how large, and what is kept; pictures seen are the unit."""

    samples: int = option(REQUIRED, "pictures to see in all", at_least=1)
    batch: int = option(4, "pictures of an optimizer step, over all processes", at_least=1)
    micro_batch: int = option(1, "pictures of a forward pass; `batch` is a multiple of it", at_least=1)
    resolution: int = option(512, "side of a square picture in pixels; other shapes have its area", at_least=8)
    ema: float = option(
        0.0, "decay of the averaged weights per optimizer step, below 1; 0 keeps none", at_least=0, at_most=1
    )
    cache: bool = option(True, "encode pictures and captions once, before the first step")
    cache_folder: str = option("", "where what is encoded is kept; empty is beside the pictures")
    checkpoint_every: int = option(2000, "pictures between checkpoints", at_least=1)
    keep: int = option(2, "checkpoints that stay", at_least=1)
    log_every: int = option(10, "optimizer steps between lines of the log", at_least=1)


@dataclass(frozen=True)
class ValidationSettings:
    """Validation on the way."""

    every: int = option(2000, "pictures between validations", at_least=1)
    prompts: tuple[str, ...] = option((), "sampled with fixed seeds each time")
    steps: int | None = option(None, "of the sampler; left out, the model family's", at_least=1)
    cfg_scale: float | None = option(None, "classifier-free guidance; left out, the model family's", at_least=0)
    embedded_guidance: float | None = option(
        None, "guidance that is an input of the model (FLUX.1-dev); left out, the model family's", at_least=0
    )


@dataclass(frozen=True)
class TrainConfig:
    """All settings of a run."""

    model: ModelSettings
    train: RunSettings
    out: str = option(REQUIRED, "the run's folder: checkpoints, log, validation, the model at the end")
    seed: int = option(0, "everything random follows from it", at_least=0)
    keep_out: tuple[str, ...] = option(
        (), "lists of prompts that evaluate; pictures whose captions share words in a row with one are not trained"
    )
    optimizer: OptimizerSettings = field(default_factory=OptimizerSettings)
    plan: TimestepPlanSettings = field(default_factory=TimestepPlanSettings)
    references: ReferenceSettings = field(default_factory=ReferenceSettings)
    validation: ValidationSettings = field(default_factory=ValidationSettings)
    source: tuple[SourceSettings, ...] = ()

    @property
    def steps(self) -> int:
        """Optimizer steps of the run; the last batch is complete too."""
        return -(-self.train.samples // self.train.batch)


def load_train_config(path: Path, changes: Sequence[str] = ()) -> TrainConfig:
    """Read a run's TOML, with `section.key=value` changes on top; BlendsetError for what is no setting."""
    return make_train_config(apply_changes(read_toml(path), changes), str(path))


def change_train_config(config: TrainConfig, changes: Sequence[str]) -> TrainConfig:
    """A run's configuration with `section.key=value` changes; BlendsetError for what is no setting."""
    return make_train_config(apply_changes(unstructure(config), changes), "configuration") if changes else config


def make_train_config(values: Mapping[str, Any], where: str) -> TrainConfig:
    """A run's configuration from nested tables; `where` names their origin in errors. Raises BlendsetError."""
    config = structure(TrainConfig, values, where)
    if config.train.batch % config.train.micro_batch:
        raise BlendsetError(
            f"{where}: train.batch is {config.train.batch}, no multiple of train.micro_batch "
            f"({config.train.micro_batch}); change one of them."
        )
    if not config.source:
        raise BlendsetError(f"{where} names no source; give each dataset a [[source]] table.")
    refuse_untrainable(config, where)
    names = [source.name for source in config.source]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise BlendsetError(f"{where}: two sources are called '{min(repeated)}'; give each a name of its own.")
    return config


def refuse_untrainable(config: TrainConfig, where: str) -> None:
    """Raise BlendsetError for settings with which nothing is trained, or with which the run cannot begin."""
    optimizer, references = config.optimizer, config.references
    cached_random = [source.name for source in config.source if source.crop == "random" and config.train.cache]
    dropped = references.drop_text + references.drop_images + references.drop_both
    for wrong, what, cure in (
        (config.model.method == "lora" and config.model.alpha == 0, "model.alpha is 0, so the LoRA changes nothing",
         "give the alpha of the rank, such as 16"),
        (config.train.ema == 1, "train.ema is 1, so the averaged weights stay those of the base model",
         "give less, such as 0.9999, or 0 for no average"),
        (optimizer.learning_rate == 0, "optimizer.learning_rate is 0, so nothing is learned", "give more than 0"),
        (max(optimizer.betas) == 1, "optimizer.betas holds a 1, so gradients are never looked at", "give less than 1"),
        (references.count > 0 and references.drop_images + references.drop_both >= 1,
         "references.drop_images and drop_both leave out every reference", "let them add up to less than 1"),
        (dropped > 1, f"the three drops of references add up to {dropped:g}", "let them add up to 1 at most"),
        (cached_random,
         f"source '{''.join(cached_random[:1])}' is cropped anew each time, which train.cache cannot keep",
         'set train.cache = false, or crop = "centre"'),
    ):  # fmt: skip
        if wrong:
            raise BlendsetError(f"{where}: {what}; {cure}.")


def apply_changes(values: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """A table with `section.key=value` changes; a value is TOML, or else plain text. Raises BlendsetError."""
    changed = {**values}
    for change in changes:
        name, equals, text = change.partition("=")
        *sections, key = name.split(".")
        if not equals or not all((*sections, key)):
            raise BlendsetError(f"'{change}' is no change; write section.key=value.")
        inner = changed
        for section in sections:
            if not isinstance(inner.get(section, {}), Mapping):
                raise BlendsetError(f"'{change}' is no change; '{section}' is no section.")
            inner[section] = {**inner.get(section, {})}
            inner = inner[section]
        inner[key] = _parse_value(text)
    return changed


def _parse_value(text: str) -> Any:
    """A value as TOML reads it; the text itself where it does not."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def explain_config(
    config: TrainConfig, values: Mapping[str, Any], where: str, changes: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Name, value and origin of every option; `values` are those of the file `where`, `changes` those over it."""
    changed = {change.partition("=")[0] for change in changes}
    return [
        (name, str(value), "command line" if name in changed else where if is_set else "default")
        for name, value, is_set in _list_leaves(config, values, "")
    ]


def _list_leaves(section: Any, values: Any, prefix: str) -> Iterator[tuple[str, Any, bool]]:
    """The dotted name and the value of every option, and whether `values` set it."""
    for option_field in dataclasses.fields(section):
        key = option_field.name
        value, is_set = getattr(section, key), isinstance(values, Mapping) and key in values
        inner = values[key] if is_set else {}
        name = f"{prefix}{key}"
        if is_section(type(value)):
            yield from _list_leaves(value, inner, f"{name}.")
        elif isinstance(value, tuple) and value and is_section(type(value[0])):
            for number, part in enumerate(value):
                yield from _list_leaves(part, inner[number] if is_set else {}, f"{name}[{number}].")
        else:
            yield name, value, is_set

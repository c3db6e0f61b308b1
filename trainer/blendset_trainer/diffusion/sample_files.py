# SPDX-License-Identifier: Apache-2.0
"""Sampled images as files: one PNG for each prompt, a grid of them, and a record of how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from blendset.files import atomic_write
from blendset.records import write_json
from blendset_trainer.api.progress import OnProgress, ignore_progress
from blendset_trainer.diffusion.families import Family, load_family
from blendset_trainer.diffusion.images import encode_png, make_grid
from blendset_trainer.diffusion.lora import load_lora
from blendset_trainer.diffusion.references import ReferenceGuidance, sample_with_references
from blendset_trainer.diffusion.sampling import SamplingSettings, sample_images
from blendset_trainer.models.loading import choose_device, choose_language_dtype

GRID, RECORD = "grid.png", "samples.json"


@dataclass(frozen=True)
class SampledPicture:
    """A picture of a prompt: the name of its file, and its seed."""

    file: str
    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """How pictures were made, as `samples.json` beside them says it; None was left to the pipeline or the family."""

    model: str
    lora: str | None
    seed: int
    steps: int | None
    width: int | None
    height: int | None
    cfg_scale: float | None
    references: tuple[str, ...]
    image_scale: float | None
    text_scale: float | None
    pictures: tuple[SampledPicture, ...]


def write_samples(
    model: str,
    lora: str | None,
    prompts: Sequence[str],
    settings: SamplingSettings,
    guidance: ReferenceGuidance,
    out: Path,
    on_progress: OnProgress = ignore_progress,
) -> SampleReport:
    """Sample an image of each prompt and write them, then their grid, last the report, which is returned.

    `model` and `lora` are paths or hub ids. Raises BlendsetError where they cannot be loaded or a size cannot be made.
    """
    on_progress("pictures", 0, len(prompts))
    family = load_for_sampling(model, lora)
    if guidance.references:
        sampled = sample_with_references(family, prompts, settings, guidance)
    else:
        sampled = sample_images(family, prompts, settings)
    images = []
    for number, image in enumerate(sampled):
        atomic_write(out / _name_file(number), encode_png(image))
        images.append(image)
        on_progress("pictures", number + 1, len(prompts))
    atomic_write(out / GRID, encode_png(make_grid(images)))
    pictures = [
        SampledPicture(_name_file(number), prompt, settings.seed + number) for number, prompt in enumerate(prompts)
    ]
    report = SampleReport(model=model, lora=lora, **asdict(settings), **asdict(guidance), pictures=tuple(pictures))
    write_json(out / RECORD, report)
    return report


def load_for_sampling(model: str, lora: str | None = None) -> Family:
    """A model on the best device, with a trained LoRA; BlendsetError where one cannot be loaded."""
    device = choose_device()
    family = load_family(model, dtype=choose_language_dtype(device))
    if lora:
        load_lora(family, lora)
    family.pipeline.to(device)
    return family


def _name_file(number: int) -> str:
    return f"{number:04d}.png"

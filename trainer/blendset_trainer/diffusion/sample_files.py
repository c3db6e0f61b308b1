# SPDX-License-Identifier: Apache-2.0
"""Sampled images as files: one PNG for each prompt, a grid of them, and a record of how they were made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from blendset.files import atomic_write
from blendset.records import write_json
from blendset_trainer.diffusion.families import Family, load_family
from blendset_trainer.diffusion.images import encode_png, make_grid
from blendset_trainer.diffusion.lora import load_lora
from blendset_trainer.diffusion.references import ReferenceGuidance, sample_with_references
from blendset_trainer.diffusion.sampling import SamplingSettings, sample
from blendset_trainer.models.loading import choose_device, choose_language_dtype

GRID, RECORD = "grid.png", "samples.json"


def write_samples(
    model: str,
    lora: str | None,
    prompts: Sequence[str],
    settings: SamplingSettings,
    guidance: ReferenceGuidance,
    out: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Sample an image of each prompt and write them, then their grid, last the record, which is returned.

    `model` and `lora` are paths or hub ids. Raises BlendsetError where they cannot be loaded or a size cannot be made.
    """
    family = load_for_sampling(model, lora)
    if guidance.references:
        sampled = sample_with_references(family, prompts, settings, guidance)
    else:
        sampled = sample(family, prompts, settings)
    images = []
    for number, image in enumerate(sampled):
        atomic_write(out / _name_file(number), encode_png(image))
        images.append(image)
        on_progress(number + 1, len(prompts))
    atomic_write(out / GRID, encode_png(make_grid(images)))
    pictures = [
        {"file": _name_file(number), "prompt": prompt, "seed": settings.seed + number}
        for number, prompt in enumerate(prompts)
    ]
    record = {"model": model, "lora": lora, **asdict(settings), **asdict(guidance), "pictures": pictures}
    write_json(out / RECORD, record)
    return record


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

# SPDX-License-Identifier: Apache-2.0
"""Sampled images as files: one PNG for each prompt, a grid of them, and a record of how they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from blendset.errors import BlendsetError
from blendset.files import atomic_write
from blendset.records import encode_json, write_json
from blendset_trainer.api.progress import OnProgress, OnReport, ignore_progress, ignore_report
from blendset_trainer.diffusion.families import Family, load_family
from blendset_trainer.diffusion.images import make_grid
from blendset_trainer.diffusion.lora import load_lora
from blendset_trainer.diffusion.references import ReferenceGuidance, sample_with_references
from blendset_trainer.diffusion.sampling import SamplingSettings, resolve_sampling, sample_images
from blendset_trainer.models.loading import choose_device, choose_language_dtype
from blendset_trainer.readers.images import encode_png

GRID, RECORD = "grid.png", "samples.json"
SAMPLE_FILES = RECORD, GRID, "[0-9]*.png"
"""Globs of what a folder of samples holds."""


@dataclass(frozen=True)
class SampledPicture:
    """A picture of a prompt: the name of its file, and its seed."""

    file: str
    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class SampleReport:
    """How pictures were made, as `samples.json` beside them says it; None does not apply."""

    model: str
    lora: str | None
    seed: int
    steps: int | None
    width: int | None
    height: int | None
    cfg_scale: float | None
    embedded_guidance: float | None
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
    report: OnReport = ignore_report,
) -> SampleReport:
    """Write the record of what is to be made, then sample an image of each prompt and write it, last their grid.

    `model` and `lora` are paths or hub ids. `report` gets a sentence about prompts that are truncated. Raises
    BlendsetError where they cannot be loaded, a size cannot be made, or the folder holds other samples.
    """
    on_progress("pictures", 0, len(prompts))
    family = load_for_sampling(model, lora)
    if warning := family.report_truncated_prompts(prompts, "prompts"):
        report(warning)
    if guidance.references:
        sampled = sample_with_references(family, prompts, settings, guidance)
    else:
        settings = resolve_sampling(family, settings)
        sampled = sample_images(family, prompts, settings)
    pictures = [
        SampledPicture(_name_file(number), prompt, settings.seed + number) for number, prompt in enumerate(prompts)
    ]
    record = SampleReport(model=model, lora=lora, **asdict(settings), **asdict(guidance), pictures=tuple(pictures))
    _refuse_other_samples(out, record)
    images = []
    for number, image in enumerate(sampled):
        if number == 0:  # before any picture, so that what an interruption leaves is known as this record's
            write_json(out / RECORD, record)
        atomic_write(out / _name_file(number), encode_png(image))
        images.append(image)
        on_progress("pictures", number + 1, len(prompts))
    atomic_write(out / GRID, encode_png(make_grid(images)))
    return record


def _refuse_other_samples(out: Path, record: SampleReport) -> None:
    """Raise BlendsetError where a folder holds samples of another record, which would stay among ours."""
    file = out / RECORD
    if file.is_file() and file.read_bytes() == encode_json(record):
        return
    if other := next((path for pattern in SAMPLE_FILES for path in sorted(out.glob(pattern))), None):
        raise BlendsetError(f"{out} holds other samples ({other.name}); give another --out, or remove them.")


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

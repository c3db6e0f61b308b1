# SPDX-License-Identifier: Apache-2.0
"""Models that are compared: each draws pictures of the same prompts from the same noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from blendset.errors import SettingsError
from blendset.records import read_json
from blendset_trainer.api.progress import OnProgress
from blendset_trainer.diffusion.sample import SampleSettings, sample
from blendset_trainer.training_runs import LINEAGE, read_lineage

PIPELINE, RECORD = "model_index.json", "samples.json"
"""Files by which the folder of a model and of samples is known."""
TRAINED = ("", "model", "lora")
"""Where a model lies in its own folder, and in that of the run that trained it."""


def find_model(source: Path) -> Path | None:
    """Return the folder of a diffusers pipeline or of a trained LoRA, in that of a run too; None without one."""
    folders = [source / name for name in TRAINED]
    return next((each for each in folders if (each / PIPELINE).is_file() or (each / LINEAGE).is_file()), None)


def draw_pictures(
    source: Path,
    prompts: Sequence[str],
    images: int,
    seed: int,
    steps: int | None,
    out: Path,
    on_progress: OnProgress,
    cfg_scale: float | None = None,
) -> Path:
    """Return the folder `out` of pictures of a model, `images` of each prompt; what is there already is kept.

    A LoRA is drawn with the base model that its lineage.json names. Raises SettingsError for one that names none.
    """
    repeated = [prompt for prompt in prompts for _ in range(images)]
    if _is_complete(out, repeated):
        return out
    model, lora = str(source), None
    if not (source / PIPELINE).is_file():
        lineage = read_lineage(source)
        if lineage is None:
            raise SettingsError(
                f"{source} does not say which model it adapts ({LINEAGE}); sample it, and compare that."
            )
        model, lora = lineage.base_model, model
    settings = SampleSettings(lora=lora, prompt=tuple(repeated), seed=seed, steps=steps, cfg_scale=cfg_scale, out=out)
    sample(model, settings, on_progress=on_progress)
    return out


def _is_complete(folder: Path, prompts: Sequence[str]) -> bool:
    """Whether a folder holds a picture of each prompt."""
    if not (folder / RECORD).is_file():
        return False
    pictures = read_json(folder / RECORD)["pictures"]
    return [each["prompt"] for each in pictures] == list(prompts) and all(
        (folder / each["file"]).is_file() for each in pictures
    )

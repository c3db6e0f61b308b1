# SPDX-License-Identifier: Apache-2.0
"""What training leaves for other programs: a pipeline for diffusers, or a LoRA for diffusers and ComfyUI."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save
from torch import Tensor

from blendset.files import atomic_write, translate_disk_errors
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.lora import ADAPTER, diffusers_loads_lora, extract_lora_tensors

COMFYUI_NAME = "comfyui_lora.safetensors"


def save_full(family: Family, folder: Path) -> None:
    """The whole pipeline as diffusers loads it, in place of what was there; an earlier one stays if this fails."""
    with replace_folder(folder) as staged:
        family.pipeline.save_pretrained(staged, safe_serialization=True)


def save_lora(family: Family, folder: Path) -> list[Path]:
    """The LoRA files of a family, each whole or not at all; returns their paths."""
    files = make_lora_files(family)
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def make_lora_files(family: Family) -> dict[str, bytes]:
    """What each program reads, by file name.

    ComfyUI reads diffusers' names of a transformer (and peft's) as they are, but wants a U-Net's in kohya's style.
    """
    tensors = extract_lora_tensors(family)
    named = _add_prefix(family.denoiser_name, tensors)
    if not diffusers_loads_lora(family):
        model = save(_add_prefix("base_model.model", tensors))
        return {CONFIG_NAME: _make_peft_config(family), SAFETENSORS_WEIGHTS_NAME: model}
    if family.denoiser_name == "unet":
        kohya = {name: tensor.contiguous() for name, tensor in convert_state_dict_to_kohya(named).items()}
        return {LORA_WEIGHT_NAME_SAFE: save(named), COMFYUI_NAME: save(kohya)}
    return {LORA_WEIGHT_NAME_SAFE: save(named)}


def _add_prefix(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _make_peft_config(family: Family) -> bytes:
    trained = family.module.peft_config[ADAPTER]
    config = LoraConfig(r=trained.r, lora_alpha=trained.r, target_modules=sorted(trained.target_modules))
    return json.dumps(config.to_dict(), indent=1, sort_keys=True, default=sorted).encode()


@contextmanager
def replace_folder(folder: Path) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place when all went well, and is removed when not."""
    folder = folder.absolute()
    staged, old = (folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.{end}") for end in ("tmp", "old"))
    with translate_disk_errors(folder):
        staged.mkdir(parents=True)
        try:
            yield staged
            if folder.exists():
                folder.rename(old)
            staged.rename(folder)
        finally:
            if old.exists() and not folder.exists():
                old.rename(folder)
            shutil.rmtree(staged, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)

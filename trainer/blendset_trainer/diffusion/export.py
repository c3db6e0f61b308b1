# SPDX-License-Identifier: Apache-2.0
"""Trained weights in files for other programs: a pipeline for diffusers, or a LoRA for diffusers and ComfyUI."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE
from diffusers.utils.state_dict_utils import convert_state_dict_to_kohya
from peft import LoraConfig
from peft.utils import CONFIG_NAME, SAFETENSORS_WEIGHTS_NAME
from safetensors.torch import save
from torch import Tensor

from blendset.files import atomic_write, replace_folder
from blendset_trainer.diffusion.families import Family
from blendset_trainer.diffusion.lora import ADAPTER, diffusers_loads_lora, extract_lora_tensors

COMFYUI_NAME = "comfyui_lora.safetensors"


def save_full(family: Family, folder: Path) -> None:
    """Write the pipeline as diffusers loads it. It replaces what is in the folder, which stays if this fails."""
    with replace_folder(folder) as staged:
        family.pipeline.save_pretrained(staged, safe_serialization=True)


def save_lora(family: Family, folder: Path) -> list[Path]:
    """Write the LoRA files of a family, each completely or not at all; returns their paths."""
    files = make_lora_files(family)
    for name, data in files.items():
        atomic_write(folder / name, data)
    return [folder / name for name in files]


def make_lora_files(family: Family) -> dict[str, bytes]:
    """The LoRA files by name.

    ComfyUI reads diffusers' and peft's names of a transformer, but needs those of a U-Net in kohya's style.
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
    """The tensors with a prefix before each name."""
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _make_peft_config(family: Family) -> bytes:
    """The bytes of peft's adapter_config.json."""
    trained = family.module.peft_config[ADAPTER]
    config = LoraConfig(r=trained.r, lora_alpha=trained.r, target_modules=sorted(trained.target_modules))
    return json.dumps(config.to_dict(), indent=1, sort_keys=True, default=sorted).encode()

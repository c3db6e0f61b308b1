# SPDX-License-Identifier: Apache-2.0
"""Low-rank adapters (Hu et al., arXiv 2106.09685) on a family's denoiser: adding new ones, reading trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE, LoraBaseMixin
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from peft.utils import SAFETENSORS_WEIGHTS_NAME
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from blendset.errors import BlendsetError
from blendset.options import find_nearest
from blendset_trainer.diffusion.families import Family
from blendset_trainer.models.weights import LIBRARY_ERRORS, find_file

ADAPTER = "default"
DOWN_SUFFIXES = "lora_A.weight", "lora_down.weight", "lora.down.weight"
"""How the name of a layer's first matrix ends: for peft, for kohya, for older diffusers."""
ENCODER_PREFIXES = "lora_te", "text_encoder"
"""How the names of weights of text encoders begin."""


def add_lora(family: Family, rank: int, alpha: float, targets: Sequence[str] = (), seed: int = 0) -> None:
    """Add trainable adapters in float32 to the layers whose names end in `targets`, or in the family's own.

    They change no prediction until they are trained. Raises BlendsetError for a target that the denoiser does not have.
    """
    chosen = list(targets or family.lora_targets)
    _check_targets(family, chosen)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=chosen, init_lora_weights="gaussian")  # type: ignore[arg-type]
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, family.module, ADAPTER)
    for parameter in family.module.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def diffusers_loads_lora(family: Family) -> bool:
    """Whether the pipeline can load LoRA files itself; PixArt's leave it to peft."""
    return isinstance(family.pipeline, LoraBaseMixin)


def extract_lora_tensors(family: Family) -> dict[str, Tensor]:
    """The adapters' weights by name, scaled for an alpha that equals the rank, as readers assume it."""
    config = family.module.peft_config[ADAPTER]
    scale = config.lora_alpha / config.r
    tensors = get_peft_model_state_dict(family.module, adapter_name=ADAPTER)
    return {
        name: (tensor * scale if ".lora_B." in name else tensor).detach().cpu().contiguous()
        for name, tensor in tensors.items()
    }


def load_lora(family: Family, name: str) -> None:
    """Load a trained LoRA into the pipeline: a file, a folder with one, or OWNER/REPOSITORY/FILE on the hub.

    Raises BlendsetError for a LoRA that was trained on another model.
    """
    file = _find_weights_file(find_file(name))
    try:
        with safe_open(file, "pt") as weights:
            names = list(weights.keys())
        keys = [name for name in names if name.endswith(DOWN_SUFFIXES) and not name.startswith(ENCODER_PREFIXES)]
        if diffusers_loads_lora(family):
            family.pipeline.load_lora_weights(str(file), use_safetensors=True)
        else:
            PeftModel.from_pretrained(family.module, str(file.parent))
    except (*LIBRARY_ERRORS, SafetensorError) as error:
        raise _foreign_lora_error(family, name) from error
    adapted = [layer for layer in family.module.modules() if isinstance(layer, LoraLayer)]
    if not keys or len(adapted) < len(keys):  # libraries ignore weights that fit no layer
        raise _foreign_lora_error(family, name)


def _find_weights_file(path: Path) -> Path:
    """The file itself, or the file that diffusers or peft would read in a folder."""
    inside = [path / name for name in (LORA_WEIGHT_NAME_SAFE, SAFETENSORS_WEIGHTS_NAME) if (path / name).is_file()]
    if path.is_dir() and not inside:
        raise BlendsetError(f"{path} holds no LoRA (no {LORA_WEIGHT_NAME_SAFE}); give the file, or another folder.")
    return inside[0] if inside else path


def _foreign_lora_error(family: Family, name: str) -> BlendsetError:
    return BlendsetError(
        f"{name} is no LoRA for {family.model}, a {family.name} model; give one that was trained on that family."
    )


def _check_targets(family: Family, targets: Sequence[str]) -> None:
    """Raise BlendsetError for a target that no layer of the denoiser ends in."""
    layers = [name for name, layer in family.module.named_modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in layers):
            near = find_nearest(target, sorted({ending for name in layers for ending in _list_endings(name)}))
            cure = f"did you mean '{near}'?" if near else f"its own are {', '.join(family.lora_targets)}."
            raise BlendsetError(f"{family.name} has no layer '{target}' to put a LoRA on; {cure}")


def _list_endings(name: str) -> list[str]:
    """The last part and the last two parts of a layer's name: `to_q` and `attn1.to_q`."""
    words = name.split(".")
    return [".".join(words[-count:]) for count in (1, 2)]

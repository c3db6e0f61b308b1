# SPDX-License-Identifier: Apache-2.0
"""The families of models that can be fine-tuned; the pipeline class in model_index.json says which a model is of."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from blendset.errors import BlendsetError
from blendset_trainer.api.registry import Registry
from blendset_trainer.diffusion.families.family import Conditions, Family
from blendset_trainer.diffusion.pipelines import load_pipeline, read_model_config
from blendset_trainer.models.weights import explain_load_errors, find_model_index

__all__ = ["FAMILIES", "Conditions", "Family", "load_families", "load_family", "load_scheduler", "load_size_divisor"]

FAMILIES = Registry(
    "family",
    {
        "FluxPipeline": "blendset_trainer.diffusion.families.flux:Flux",
        "PixArtAlphaPipeline": "blendset_trainer.diffusion.families.pixart:PixArtAlpha",
        "PixArtSigmaPipeline": "blendset_trainer.diffusion.families.pixart:PixArtSigma",
        "StableDiffusionPipeline": "blendset_trainer.diffusion.families.stable_diffusion:StableDiffusion",
        "StableDiffusion3Pipeline": "blendset_trainer.diffusion.families.stable_diffusion_3:StableDiffusion3",
        "StableDiffusionXLPipeline": "blendset_trainer.diffusion.families.stable_diffusion_xl:StableDiffusionXL",
    },
    group="blendset.families",
)
"""By the pipeline's class in diffusers."""


def load_families() -> dict[str, type[Family]]:
    """All families by their pipeline's class, without those of other packages that cannot be used."""
    return FAMILIES.load_all()


def load_family(model: str, *, dtype: torch.dtype, revision: str = "", full: bool = False) -> Family:
    """The pipeline in a folder or on the hub, on the CPU, in `dtype`; its denoiser in float32 for `full` training.

    A VAE that overflows in half precision stays in float32. Raises BlendsetError for a pipeline of no known family.
    """
    source, index = find_model_index(model, "model_index.json", revision)
    parts = read_model_config(index)
    family = _find_family(parts.get("_class_name"), model)
    denoiser = torch.float32 if full else dtype
    unused: dict[str, Any] = dict.fromkeys(family.unused_components)
    pipeline = load_pipeline(
        source,
        parts,
        f"a {family.name} pipeline",
        name=model,
        revision=revision or None,
        dtype={family.denoiser_name: denoiser, "default": dtype},
        **unused,
    )
    if dtype == torch.float16 and pipeline.vae.config.get("force_upcast"):
        pipeline.vae.to(torch.float32)
    return family(pipeline, model, index.parent, denoiser)


def load_scheduler(model: str, revision: str = "") -> tuple[type[Family], Any]:
    """A model's family (the class) and its diffusers scheduler; no weights are loaded. Raises as `load_family`."""
    source, index = find_model_index(model, "model_index.json", revision)
    parts = read_model_config(index)
    family = _find_family(parts.get("_class_name"), model)
    with explain_load_errors(model, f"a {family.name} pipeline"):
        kind = getattr(diffusers, parts["scheduler"][1])
        return family, kind.from_pretrained(source, subfolder="scheduler", revision=revision or None)


def load_size_divisor(model: str, revision: str = "") -> int:
    """A model's `Family.size_divisor`, of its configurations; no weights are loaded. Raises as `load_family`."""
    family, _ = load_scheduler(model, revision)
    parts = ("vae", family.denoiser_name)
    vae, denoiser = (read_model_config(find_model_index(model, f"{part}/config.json", revision)[1]) for part in parts)
    with explain_load_errors(model, f"a {family.name} pipeline"):
        return family.compute_size_divisor(2 ** (len(vae["block_out_channels"]) - 1), denoiser)


def _find_family(kind: Any, model: str) -> type[Family]:
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise BlendsetError(
            f"{model} is a {kind or 'model without a class'}, which Blendset cannot train; "
            f"name a model of {', '.join(sorted({family.name for family in load_families().values()}))}."
        )
    family: type[Family] = FAMILIES.load(kind)
    return family

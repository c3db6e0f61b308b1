# SPDX-License-Identifier: Apache-2.0
"""A loaded diffusers pipeline of any class: how it is loaded, what it reads of prompts, and which sizes it draws.

`GenericPipeline` is what any pipeline can do, Zero123++'s too; `families.Family` adds what training needs.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import logging
from transformers.utils import logging as transformers_logging

from blendset.errors import BlendsetError
from blendset.files import sha256_bytes
from blendset.records import read_json
from blendset_trainer.diffusion.latents import pack_latents, unpack_latents
from blendset_trainer.models.weights import compute_revision, explain_load_errors, explain_use_errors

for library in (logging, transformers_logging):
    library.disable_progress_bar()  # a command has a bar of its own
    library.set_verbosity_error()  # and reports a truncated prompt itself

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""The dtypes by the names that users give them."""
SHA256_LETTERS = 64
"""Letters of the hash that is a local model's revision; a hub's commit has fewer."""


def load_pipeline(
    source: str,
    index: Mapping[str, Any],
    kind: str,
    *,
    name: str = "",
    pipeline_class: Any = DiffusionPipeline,
    trust_remote_code: bool = False,
    **options: Any,
) -> Any:
    """A diffusers pipeline from a folder or the hub, on the CPU, without its progress bar.

    `index` is its model_index.json: components that were left out when it was saved are left out here too. `options`
    go to `from_pretrained`. Raises BlendsetError, which says that `name` is no `kind`, where it cannot be loaded.
    """
    absent = {part: None for part, library in index.items() if isinstance(library, list) and library[0] is None}
    with explain_load_errors(name or source, kind):
        pipeline = pipeline_class.from_pretrained(
            source, use_safetensors=True, trust_remote_code=trust_remote_code, **(absent | options)
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def read_model_config(path: Path) -> dict[str, Any]:
    """Return what a model_index.json or config.json holds; BlendsetError where that is damaged."""
    config = read_json(path)
    if not isinstance(config, dict):
        raise BlendsetError(f"{path} holds no configuration of a model; get the model anew.")
    return config


def find_commit(revision: str) -> str | None:
    """The commit to ask the hub for; None for local files, whose revision is a hash, and for no revision."""
    return revision if revision and len(revision) < SHA256_LETTERS else None


def is_from_hub(folder: Path) -> bool:
    """Whether a model's folder is a commit in the hub's cache, whose name is the commit's."""
    return folder.parent.name == "snapshots"


def compute_pipeline_revision(folder: Path, *components: str) -> str:
    """The commit of a model from the hub, else a hash over the files in its folder, or in these components of it."""
    if is_from_hub(folder):
        return folder.name
    if components:
        return sha256_bytes("".join(compute_revision(folder / name) for name in components).encode())
    return compute_revision(folder)


class GenericPipeline:
    """A loaded diffusers pipeline of any class; calling it calls the pipeline."""

    def __init__(self, pipeline: Any, model: str) -> None:
        self.pipeline = pipeline
        self.model = model

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        with explain_use_errors(self.model):
            return self.pipeline(*arguments, **options)

    @property
    def class_name(self) -> str:
        """What diffusers calls the pipeline's class."""
        return type(self.pipeline).__name__

    @property
    def module(self) -> Any:
        """The denoiser: a transformer or a U-Net."""
        return getattr(self.pipeline, "transformer", None) or self.pipeline.unet

    @property
    def call_parameters(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the pipeline's call by name."""
        return inspect.signature(self.pipeline.__call__).parameters

    # ---- prompts ---------------------------------------------------------------------------------------------------

    @property
    def tokenizers(self) -> list[Any]:
        """The tokenizer of each text encoder, None where the encoder is left out."""
        return [part for name, part in self.pipeline.components.items() if name.startswith("tokenizer")]

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that reads most tokens of a prompt; None where there is none."""
        return max(filter(None, self.tokenizers), key=lambda part: int(part.model_max_length), default=None)

    @property
    def default_max_tokens(self) -> int | None:
        """How many tokens of a prompt the pipeline's call reads by default; None where its signature does not say."""
        parameter = self.call_parameters.get("max_sequence_length")
        return parameter.default if parameter is not None and isinstance(parameter.default, int) else None

    @property
    def max_tokens(self) -> int:
        """How many tokens of a prompt are read; the rest is cut off. 0 where nobody knows."""
        tokenizer = self.tokenizer
        limits = [self.default_max_tokens, tokenizer.model_max_length if tokenizer else None]
        return min((int(limit) for limit in limits if limit is not None), default=0)

    def count_tokens(self, prompts: Sequence[str]) -> list[int]:
        """The number of tokens of each prompt, before any truncation."""
        return [len(ids) for ids in self.tokenizer(list(prompts), truncation=False, verbose=False).input_ids]

    def refuse_truncated_prompts(self, prompts: Sequence[str]) -> list[BlendsetError | None]:
        """For each prompt the error that it would be truncated; None where it is read to its end."""
        if self.tokenizer is None:
            return [None] * len(prompts)
        limit = self.max_tokens
        return [
            None
            if count <= limit
            else BlendsetError(
                f"The prompt '{prompt[:40]}...' has {count} tokens and {self.class_name} reads {limit}; shorten it."
            )
            for prompt, count in zip(prompts, self.count_tokens(prompts), strict=True)
        ]

    # ---- sizes and latents -----------------------------------------------------------------------------------------

    @property
    def pixels_per_latent(self) -> int:
        """Pixels of a side that the VAE encodes as one latent."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def size_divisor(self) -> int:
        """The sides of images, in pixels, are multiples of this: two latents, for every pipeline of diffusers."""
        return 2 * self.pixels_per_latent

    def check_sides(self, sides: Iterable[int]) -> None:
        """Raise BlendsetError for a side, in pixels, that the pipeline does not draw."""
        for side in sides:
            if side % self.size_divisor:
                raise BlendsetError(
                    f"A side of {side} pixels is no multiple of {self.size_divisor}, which {self.class_name} draws; "
                    "choose another size."
                )

    @property
    def packs_latents(self) -> bool:
        """Whether the pipeline samples tokens of 2 × 2 latents, as FLUX does."""
        return hasattr(self.pipeline, "_pack_latents")

    def pack_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Latents (B, C, h, w) as the pipeline samples them: the same, or FLUX's tokens (B, h/2 · w/2, 4C)."""
        return pack_latents(latents).contiguous() if self.packs_latents else latents

    def unpack_latents(self, latents: torch.Tensor, height: int, width: int) -> torch.Tensor:
        """The inverse of `pack_latents`: latents (B, C, h, w) of images of `height` x `width` pixels."""
        if not self.packs_latents:
            return latents
        return unpack_latents(latents, height // self.pixels_per_latent, width // self.pixels_per_latent)

    @property
    def pixels_per_cell(self) -> int:
        """Pixels of a side in one cell of what is sampled: a latent, or a token of 2 × 2 latents."""
        return self.pixels_per_latent * (2 if self.packs_latents else 1)

    @property
    def takes_images(self) -> bool:
        """Whether the pipeline draws from an image."""
        return not {"image", "control_image"}.isdisjoint(self.call_parameters)

    @property
    def depth_argument(self) -> str:
        """What the pipeline's call names the image of depth that it draws from; "" for a pipeline that takes none."""
        if "Control" not in self.class_name or "Img2Img" in self.class_name or "Inpaint" in self.class_name:
            return ""
        return "control_image" if self.class_name.startswith("Flux") else "image"

    # ---- guidance --------------------------------------------------------------------------------------------------

    @property
    def embeds_guidance(self) -> bool:
        """Whether guidance is an input of the denoiser, as in distilled models."""
        return bool(getattr(getattr(self.pipeline, "transformer", None), "config", {}).get("guidance_embeds", False))

    @property
    def cfg_argument(self) -> str:
        """What the pipeline's call names the scale of classifier-free guidance."""
        return "true_cfg_scale" if "true_cfg_scale" in self.call_parameters else "guidance_scale"

    def make_guidance_options(
        self, cfg_scale: float | None, embedded_guidance: float | None, negative_prompt: str
    ) -> dict[str, Any]:
        """Arguments of the pipeline's call for guidance; None and "" leave it to the pipeline.

        Embedded guidance is `guidance_scale` there, and classifier-free guidance then `true_cfg_scale`. Raises
        BlendsetError for guidance that the pipeline does not take.
        """
        options: dict[str, Any] = {}
        if cfg_scale is not None:
            if self.embeds_guidance and self.cfg_argument == "guidance_scale":
                raise BlendsetError(f"{self.model} takes no classifier-free guidance; leave --cfg-scale out.")
            if self.cfg_argument not in self.call_parameters:
                raise BlendsetError(f"{self.model} takes no guidance; leave --cfg-scale out.")
            options[self.cfg_argument] = cfg_scale
        if embedded_guidance is not None:
            if not self.embeds_guidance:
                raise BlendsetError(f"{self.model} has no guidance embedded; use --cfg-scale.")
            options["guidance_scale"] = embedded_guidance
        if negative_prompt:
            if "negative_prompt" not in self.call_parameters:
                raise BlendsetError(f"{self.model} takes no negative prompt; leave it out.")
            options["negative_prompt"] = negative_prompt
        return options

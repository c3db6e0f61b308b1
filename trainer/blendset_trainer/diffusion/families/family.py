# SPDX-License-Identifier: Apache-2.0
"""A family of text-to-image models: it encodes images and prompts, predicts, and decodes latents.

What the families share is here; what a family does in its own way is in the module of its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from blendset_trainer.diffusion.latents import scale_latents, unscale_latents
from blendset_trainer.diffusion.noise import NoiseAxis, Prediction, axis_from_scheduler, prediction_from_scheduler
from blendset_trainer.diffusion.pipelines import GenericPipeline, compute_pipeline_revision, is_from_hub
from blendset_trainer.models.weights import MODEL_FILES, explain_use_errors, fingerprint_files

ATTENTION = "to_q", "to_k", "to_v", "to_out.0"
"""The projections of every attention in diffusers' models."""

LAST_WORDS = 5
"""Of a truncated prompt, these are told."""
TEXT_PARTS = "text_encoder", "tokenizer"


@dataclass(frozen=True)
class Conditions:
    """Inputs of the denoiser besides the prompt.

    `sizes` (B, 6) are SDXL's, in pixels (arXiv 2307.01952, 2.2): height and width before resizing, top and left of the
    crop, height and width of the target. `guidance` is the embedded guidance of distilled models; 1 amplifies nothing.
    """

    sizes: Tensor
    guidance: float = 1.0

    @classmethod
    def from_size(cls, count: int, height: int, width: int) -> Conditions:
        """The conditions of `count` images of `height` x `width` pixels that were neither resized nor cropped."""
        return cls(torch.tensor([[height, width, 0, 0, height, width]]).repeat(count, 1))


@dataclass(frozen=True)
class ReferenceDefaults:
    """How a family uses reference images in training and in sampling (the released configurations of SynCD, arXiv
    2502.01720): the noise on them, the scales of guidance by images and by text, and the embedded guidance.
    """

    noise: Literal["clean", "same"]
    image_scale: float
    text_scale: float
    guidance: float = 1.0


@dataclass(frozen=True)
class SamplingDefaults:
    """How a family draws where nobody says otherwise: the sampler's steps, the scale of classifier-free guidance, and
    the guidance that is an input of the denoiser, None where it is none.
    """

    steps: int
    cfg_scale: float
    embedded_guidance: float | None = None


class Family(GenericPipeline, ABC):
    """A loaded pipeline of a known family. All its networks are frozen until training frees some parameters."""

    name: ClassVar[str]
    denoiser_name: ClassVar[str] = "transformer"
    """The pipeline's component that is the denoiser."""
    base_density: ClassVar[str] = "uniform"
    """The density of noise levels that the family was trained with."""
    lora_targets: ClassVar[tuple[str, ...]] = ATTENTION
    joint_attention: ClassVar[bool] = False
    """Whether the tokens of prompts and images attend to each other in one attention."""
    references: ClassVar[ReferenceDefaults | None] = None
    """None for a family that takes no reference images."""
    controlnet_class: ClassVar[str] = ""
    """The family's pipeline with a ControlNet in diffusers; "" for a family that takes none here."""
    unused_components: ClassVar[tuple[str, ...]] = ()
    """Components of the pipeline that are not loaded."""

    def __init__(self, pipeline: Any, model: str, folder: Path, dtype: torch.dtype) -> None:
        super().__init__(pipeline, model)
        self.folder = folder
        self.dtype = dtype
        self.axis: NoiseAxis = axis_from_scheduler(pipeline.scheduler)
        self.prediction: Prediction = prediction_from_scheduler(pipeline.scheduler)
        for network in self.networks.values():
            network.requires_grad_(False).eval()
        self.denoiser: nn.Module = self.module
        """What `predict` calls: `module`, or what accelerate wrapped around it."""

    @property
    def module(self) -> Any:
        """The denoiser itself."""
        return getattr(self.pipeline, self.denoiser_name)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The neural networks of the pipeline, by name."""
        components = self.pipeline.components.items()
        return {name: component for name, component in components if isinstance(component, nn.Module)}

    @property
    def size_divisor(self) -> int:
        """The sides of images, in pixels, are multiples of this."""
        return self.compute_size_divisor(self.pixels_per_latent, self.module.config)

    @staticmethod
    def compute_size_divisor(pixels_per_latent: int, denoiser: Mapping[str, Any]) -> int:
        """The `size_divisor` of a model, by the configuration of its denoiser: the pixels of a side of a token."""
        return int(pixels_per_latent * denoiser["patch_size"])

    @property
    def pixels_per_token(self) -> int:
        """Pixels of a side in one token of the denoiser's finest grid."""
        return self.size_divisor

    @property
    def default_size(self) -> int:
        """The side, in pixels, of the images that the denoiser was trained on."""
        return int(self.module.config.sample_size * self.pixels_per_latent)

    @cached_property
    def vae_revision(self) -> str:
        """The revision of the VAE, for the keys of cached latents."""
        return compute_pipeline_revision(self.folder, "vae")

    @cached_property
    def text_revision(self) -> str:
        """The revision of the text encoders, for the keys of cached text features."""
        components = sorted(name for name in self.pipeline.components if name.startswith(TEXT_PARTS))
        return compute_pipeline_revision(self.folder, *components)

    @property
    def sampling_defaults(self) -> SamplingDefaults:
        """How the family draws: as the call of its pipeline in diffusers, unless the family knows better."""
        call = self.call_parameters
        return SamplingDefaults(call["num_inference_steps"].default, call[self.cfg_argument].default)

    @cached_property
    def identity(self) -> str:
        """What the base model is, wherever it lies: its commit on the hub, else a fingerprint of the loaded files."""
        if is_from_hub(self.folder):
            return self.folder.name
        parts = [self.folder / name for name, part in self.pipeline.components.items() if part is not None]
        files = {file for part in parts for pattern in MODEL_FILES for file in part.rglob(pattern) if file.is_file()}
        return fingerprint_files({self.folder / "model_index.json", *files}, self.folder)

    @torch.no_grad()
    def encode_images(self, pixels: Tensor) -> Tensor:
        """The VAE's posterior of images (B, 3, H, W) in -1..1: its mean, then its standard deviation, (B, 2C, h, w)."""
        vae = self.pipeline.vae
        with explain_use_errors(self.model):
            posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        return torch.cat([posterior.mean, posterior.std], dim=1)

    def sample_latents(self, posterior: Tensor, noise: Tensor) -> Tensor:
        """Latents (B, C, h, w) in float32, scaled for the denoiser, from a posterior (B, 2C, h, w) and standard normal
        noise (B, C, h, w).
        """
        mean, std = posterior.float().chunk(2, dim=1)
        return scale_latents(self.pipeline.vae, mean + std * noise)

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> Tensor:
        """Images (B, 3, H, W) in -1..1 of latents (B, C, h, w)."""
        vae = self.pipeline.vae
        unscaled = unscale_latents(vae, latents.to(vae.device, vae.dtype))
        with explain_use_errors(self.model):
            return vae.decode(unscaled).sample.float().clamp(-1, 1)  # type: ignore[no-any-return]

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str]) -> dict[str, Tensor]:
        """The text features of B prompts by name, (B, ...) each; a row depends on its own prompt only."""

    @abstractmethod
    def predict(self, noisy: Tensor, level: Tensor, features: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The denoiser's prediction (B, C, h, w) in float32 for noisy latents (B, C, h, w) at levels (B,) of `axis`."""

    @property
    @abstractmethod
    def tokenizer(self) -> Any:
        """The tokenizer of the text encoder that reads most tokens of a prompt."""

    @property
    @abstractmethod
    def max_tokens(self) -> int:
        """How many tokens of a prompt are read; the rest is cut off."""

    def report_truncated_prompts(self, prompts: Sequence[str], what: str = "captions") -> str:
        """What to tell of prompts that are truncated, which are the first, where; "" if all are read to their ends."""
        limit = self.max_tokens
        counts = self.count_tokens(prompts) if prompts else []
        truncated = [prompt for prompt, count in zip(prompts, counts, strict=True) if count > limit]
        if not truncated:
            return ""
        first = "; ".join(f"'{prompt[:40]}' ends at '{self._find_end(prompt)}'" for prompt in truncated[:3])
        return (
            f"{len(truncated)} of {len(prompts)} {what} are longer than the {limit} tokens that {self.name} reads (the "
            f"longest has {max(counts)}), and their ends are ignored: {first}; shorten them, or use a family that "
            "reads more."
        )

    def _find_end(self, prompt: str) -> str:
        """The last words of a prompt that are read."""
        ids = self.tokenizer(prompt, truncation=True, max_length=self.max_tokens).input_ids
        words = str(self.tokenizer.decode(ids, skip_special_tokens=True)).split()
        return " ".join(words[-LAST_WORDS:])

    def build_sampling_options(self, cfg_scale: float | None, embedded_guidance: float | None = None) -> dict[str, Any]:
        """Arguments of the pipeline's call; None leaves guidance to the pipeline.

        Raises BlendsetError for guidance that the pipeline does not take.
        """
        return self.make_guidance_options(cfg_scale, embedded_guidance, "")

    @staticmethod
    def list_joint_tokenizers(pipeline: Any) -> list[tuple[Any, int]]:
        """The tokenizers whose tokens take part in joint attention, each with the number of its first token."""
        return []

    def _denoise(self, noisy: Tensor, timestep: Tensor, features: Mapping[str, Tensor], **arguments: Any) -> Tensor:
        """The denoiser's output in float32. Its inputs are cast to its dtype, the timestep to float32."""
        output = self.denoiser(
            self._to_denoiser(noisy),
            timestep=timestep.to(self.module.device, torch.float32),
            encoder_hidden_states=self._to_denoiser(features["embeds"]),
            return_dict=False,
            **arguments,
        )
        return output[0].float()  # type: ignore[no-any-return]

    def _to_denoiser(self, values: Tensor) -> Tensor:
        """The values on the denoiser's device, in its dtype."""
        return values.to(self.module.device, self.dtype)

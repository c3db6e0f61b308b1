# SPDX-License-Identifier: Apache-2.0
"""What a family of text-to-image models is to the training loop: pictures and captions in, a prediction out.

What the families share stands here, each family's own ways in a module of its name.
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

from blendset.files import sha256_bytes
from blendset_trainer.diffusion.noise import FlowAxis, NoiseAxis, Prediction, axis_of
from blendset_trainer.models.weights import revision_of

ATTENTION = "to_q", "to_k", "to_v", "to_out.0"
"""The projections of every attention in diffusers' models."""

TEXT_PARTS = "text_encoder", "tokenizer"


@dataclass(frozen=True)
class Conditions:
    """What some families are told besides the caption.

    `sizes` (B, 6) are SDXL's, in pixels (arXiv 2307.01952, 2.2): height and width before resizing, top and left of the
    crop, height and width of the target. `guidance` is the embedded one of distilled models: 1 amplifies nothing.
    """

    sizes: Tensor
    guidance: float = 1.0

    @classmethod
    def uncropped(cls, count: int, height: int, width: int) -> Conditions:
        """Of pictures that are shown whole, in their own size."""
        return cls(torch.tensor([[height, width, 0, 0, height, width]]).repeat(count, 1))


@dataclass(frozen=True)
class ReferenceDefaults:
    """How a family is shown reference pictures, in training and in sampling (SynCD, arXiv 2502.01720, its released
    configurations): their noise, the scales of guidance by them and by the caption, and the embedded guidance.
    """

    noise: Literal["clean", "same"]
    image_scale: float
    text_scale: float
    guidance: float = 1.0


class Family(ABC):
    """A loaded pipeline as the training loop sees it; all its parts are frozen until a loop says otherwise."""

    name: ClassVar[str]
    part: ClassVar[str] = "transformer"
    """What the pipeline calls the denoiser."""
    base: ClassVar[str] = "uniform"
    """The density of noise levels that the family was trained with."""
    lora_targets: ClassVar[tuple[str, ...]] = ATTENTION
    references: ClassVar[ReferenceDefaults | None] = None
    """None for a family that is shown none."""
    left_out: ClassVar[tuple[str, ...]] = ()
    """Parts of the pipeline that are not loaded."""

    def __init__(self, pipeline: Any, model: str, folder: Path, dtype: torch.dtype) -> None:
        self.pipeline = pipeline
        self.model = model
        self.folder = folder
        self.dtype = dtype
        self.axis: NoiseAxis = axis_of(pipeline.scheduler)
        flows = isinstance(self.axis, FlowAxis)
        self.prediction: Prediction = "flow" if flows else pipeline.scheduler.config.prediction_type
        for part in self.parts.values():
            part.requires_grad_(False).eval()
        self.denoiser: nn.Module = self.module
        """What `predict` calls; a loop puts here what it wrapped around `module`."""

    @property
    def module(self) -> Any:
        """The denoiser itself."""
        return getattr(self.pipeline, self.part)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The neural networks of the pipeline, by name."""
        return {name: part for name, part in self.pipeline.components.items() if isinstance(part, nn.Module)}

    @property
    def multiple(self) -> int:
        """What the sides of pictures, in pixels, must be multiples of."""
        return int(self.pixels_per_latent * self.module.config.patch_size)

    @property
    def pixels_per_latent(self) -> int:
        """How many pixels of a side the VAE puts into one latent."""
        return int(2 ** (len(self.pipeline.vae.config.block_out_channels) - 1))

    @property
    def pixels_per_token(self) -> int:
        """How many pixels of a side the denoiser's finest grid of tokens puts into one."""
        return self.multiple

    @property
    def own_size(self) -> int:
        """The side of a picture, in pixels, that the denoiser was made for."""
        return int(self.module.config.sample_size * self.pixels_per_latent)

    @cached_property
    def vae_revision(self) -> str:
        """Which VAE makes the moments: for keys of caches."""
        return self._revision("vae")

    @cached_property
    def text_revision(self) -> str:
        """Which encoders read the captions: for keys of caches."""
        return self._revision(*sorted(name for name in self.pipeline.components if name.startswith(TEXT_PARTS)))

    @torch.no_grad()
    def moments(self, pixels: Tensor) -> Tensor:
        """Mean and standard deviation (B, 2C, h, w) of what the VAE makes of pictures (B, 3, H, W) in -1..1."""
        vae = self.pipeline.vae
        posterior = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist
        return torch.cat([posterior.mean, posterior.std], dim=1)

    def latents(self, moments: Tensor, noise: Tensor) -> Tensor:
        """Latents (B, C, h, w) in float32 as the denoiser wants them, drawn with standard normal noise (B, C, h, w)."""
        config = self.pipeline.vae.config
        mean, deviation = moments.float().chunk(2, dim=1)
        shift = config.get("shift_factor") or 0.0
        return (mean + deviation * noise - shift) * float(config.scaling_factor)

    @torch.no_grad()
    def pictures(self, latents: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in -1..1 of latents (B, C, h, w)."""
        vae = self.pipeline.vae
        shift = vae.config.get("shift_factor") or 0.0
        inner = latents.to(vae.device, vae.dtype) / vae.config.scaling_factor + shift
        return vae.decode(inner).sample.float().clamp(-1, 1)  # type: ignore[no-any-return]

    @abstractmethod
    def texts(self, captions: Sequence[str]) -> dict[str, Tensor]:
        """What the denoiser reads of captions, by name, the batch first; each row depends on its caption alone."""

    @abstractmethod
    def predict(self, noisy: Tensor, level: Tensor, texts: Mapping[str, Tensor], conditions: Conditions) -> Tensor:
        """The denoiser's prediction (B, C, h, w) in float32 for noisy latents at levels (B,) of `axis`."""

    @property
    @abstractmethod
    def reader(self) -> tuple[Any, int]:
        """The tokenizer of the text encoder that reads furthest, and how many tokens it reads."""

    def overlong(self, captions: Sequence[str]) -> str:
        """One sentence about the captions whose end is not read; empty where all are read whole."""
        tokenizer, limit = self.reader
        counts = [len(ids) for ids in tokenizer(list(captions), truncation=False, verbose=False).input_ids]
        over = sum(count > limit for count in counts)
        if not over:
            return ""
        return (
            f"{over} of {len(captions)} captions are longer than the {limit} tokens that {self.name} reads (the "
            f"longest has {max(counts)}), and their ends are ignored; use short captions, or a family that reads more."
        )

    def sampling_options(self, cfg_scale: float | None) -> dict[str, Any]:
        """Arguments of the pipeline's call: classifier-free guidance, where it is not left to the pipeline."""
        return {} if cfg_scale is None else {"guidance_scale": cfg_scale}

    def unpacked(self, latents: Tensor, height: int, width: int) -> Tensor:
        """Latents (B, C, h, w) of what the pipeline samples for pictures of this size."""
        return latents

    def _denoise(self, noisy: Tensor, timestep: Tensor, texts: Mapping[str, Tensor], **more: Any) -> Tensor:
        """Call the denoiser: all it is given in its own number format, the time and its answer in float32."""
        answer = self.denoiser(
            self._ready(noisy),
            timestep=timestep.to(self.module.device, torch.float32),
            encoder_hidden_states=self._ready(texts["embeds"]),
            return_dict=False,
            **more,
        )
        return answer[0].float()  # type: ignore[no-any-return]

    def _ready(self, values: Tensor) -> Tensor:
        return values.to(self.module.device, self.dtype)

    def _revision(self, *parts: str) -> str:
        """The commit of a model from the hub, else a hash over the files of its parts."""
        if self.folder.parent.name == "snapshots":
            return self.folder.name
        return sha256_bytes("".join(revision_of(self.folder / part) for part in parts).encode())

# SPDX-License-Identifier: Apache-2.0
"""What is done to latents between the steps of a sampler: views lend one another what they see, a render holds still.

Through the pipelines' own `callback_on_step_end`, so that no pipeline is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.tokens import Grid
from blendset_trainer.diffusion.latents import grid_to_tokens, tokens_to_grid
from blendset_trainer.diffusion.noise import NoiseAxis, add_noise, axis_from_scheduler
from blendset_trainer.synthesis.warp import SYNCD_WINDOW, Warp, clean_and_noise, in_window, warp_clean, warp_noisy

Warping = Literal["none", "noisy", "clean"]
FIRST_ORDER = "DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"
"""Deterministic, so that latents on both sides of a step tell what was predicted."""


@dataclass
class Steering:
    """Steers the latents of one view set through a pipeline's steps.

    `grid` are the rows and columns that `warps` were planned on: of latents, or of FLUX's tokens (2 x 2 latents each).
    `anchor` (C, h, w) are the clean latents of a render that stands first in the batch and is only noised.
    """

    scheduler: Any
    grid: Grid
    warps: Sequence[Warp] = ()
    warping: Warping = "none"
    above: float = SYNCD_WINDOW
    anchor: Tensor | None = None
    noise: Tensor | None = None
    """(N, ...): what the latents began as, in the pipeline's own layout."""
    axis: NoiseAxis = field(init=False)
    _before: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        name = type(self.scheduler).__name__
        if self.warping == "clean" and name not in FIRST_ORDER:
            raise BlendsetError(
                f"The scheduler {name} does not say what it predicted, which --warp clean needs; use --warp noisy, or "
                f"a model with {', '.join(FIRST_ORDER)}."
            )
        self.axis = axis_from_scheduler(self.scheduler)

    def begin(self, latents: Tensor) -> Tensor:
        """The noise (N, ...) that the pipeline begins with, warped where the first level is within the window."""
        if self.warping != "none":
            latents = self._packed_as(latents, warp_noisy(self._spatial(latents), self.warps))
        self._before = latents
        return latents

    def __call__(self, pipeline: Any, step: int, timestep: Any, given: dict[str, Any]) -> dict[str, Any]:
        """What diffusers calls after each step."""
        latents: Tensor = given["latents"]
        if step == 0 and self._before is not None:
            self._before = self._before * getattr(self.scheduler, "init_noise_sigma", 1.0)
        if step + 1 < len(self.scheduler.timesteps):
            latents = self._steered(latents, step)
        self._before = latents
        return {"latents": latents}

    def _steered(self, latents: Tensor, step: int) -> Tensor:
        level = self._level(step + 1)
        if self.warping == "noisy" and in_window(self.axis, level, self.above):
            latents = self._packed_as(latents, warp_noisy(self._spatial(latents), self.warps))
        elif self.warping == "clean" and in_window(self.axis, level, self.above):
            latents = self._through_clean(latents, step)
        if self.anchor is not None and self.noise is not None:
            held = add_noise(self.axis, self.anchor[None].float(), self.noise[:1].float(), level.reshape(1))
            latents = torch.cat([held.to(latents) / self._scale(step + 1), latents[1:]])
        return latents

    def _through_clean(self, latents: Tensor, step: int) -> Tensor:
        assert self._before is not None
        before, after = (
            self._spatial(each) * self._scale(at) for each, at in ((self._before, step), (latents, step + 1))
        )
        level, next_level = self._level(step), self._level(step + 1)
        clean, noise = warp_clean(*clean_and_noise(self.axis, before, level, after, next_level), self.warps)
        joined = add_noise(self.axis, clean, noise, next_level.expand(len(clean)))
        return self._packed_as(latents, joined / self._scale(step + 1))

    def _level(self, step: int) -> Tensor:
        """Of the latents before a step, on `axis`."""
        if self.axis.discrete:
            return self.scheduler.timesteps[step].cpu().round().long()  # type: ignore[no-any-return]
        return self.scheduler.sigmas[step].cpu().double()  # type: ignore[no-any-return]

    def _scale(self, step: int) -> float:
        """What latents are multiplied by to be alpha clean + sigma noise; Euler's on a DDPM schedule are not."""
        if not self.axis.discrete or "Euler" not in type(self.scheduler).__name__:
            return 1.0
        return float((1 + self.scheduler.sigmas[step] ** 2) ** -0.5)

    def _spatial(self, latents: Tensor) -> Tensor:
        """(N, C, rows, columns), of FLUX's tokens too."""
        return latents if latents.ndim == 4 else tokens_to_grid(latents, *self.grid)

    @staticmethod
    def _packed_as(latents: Tensor, spatial: Tensor) -> Tensor:
        """In the layout of the latents that they came from."""
        return (spatial if latents.ndim == 4 else grid_to_tokens(spatial)).to(latents)

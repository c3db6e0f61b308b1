# SPDX-License-Identifier: Apache-2.0
"""What is done to the latents of a view set between the steps of a sampler: views take over what others show (warps),
and a render among them stays as it is (an anchor).

It is a diffusers `callback_on_step_end`, so that no pipeline is written anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from blendset.errors import BlendsetError
from blendset.tokens import Grid
from blendset_trainer.diffusion.noise import NoiseAxis, add_noise, axis_from_scheduler
from blendset_trainer.synthesis.settings import SYNCD_WINDOW
from blendset_trainer.synthesis.warp import Warp, is_in_window, recover_clean_and_noise, warp_clean, warp_noisy

WarpMode = Literal["none", "noisy", "clean"]
FIRST_ORDER = "DDIMScheduler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"
"""Deterministic samplers of first order: the latents before and after a step give what was predicted."""


@dataclass
class WarpCallback:
    """The `callback_on_step_end` that warps the latents of one view set.

    `grid` are the rows and columns that `warps` were planned on: of latents, or of FLUX's tokens (2 x 2 latents each).
    `mode` says what is warped while there is more noise than rectified flow's sigma `warp_above`: "noisy" latents, the
    predicted "clean" ones, or "none". Raises BlendsetError for a sampler that does not go with "clean".
    """

    scheduler: Any
    grid: Grid
    warps: Sequence[Warp] = ()
    mode: WarpMode = "none"
    warp_above: float = SYNCD_WINDOW
    anchor: Tensor | None = None
    """Clean latents of a render, in the pipeline's layout without the batch: the first view, which is only noised."""
    noise: Tensor | None = None
    """(N, ...): the noise that the latents started from, in the pipeline's layout; an anchor needs it."""
    axis: NoiseAxis = field(init=False)
    _before: Tensor | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        name = type(self.scheduler).__name__
        if self.mode == "clean" and name not in FIRST_ORDER:
            raise BlendsetError(
                f"The scheduler {name} does not say what it predicted, which --warp clean needs; use --warp noisy, or "
                f"a model with {', '.join(FIRST_ORDER)}."
            )
        self.axis = axis_from_scheduler(self.scheduler)

    def warp_noise(self, latents: Tensor) -> Tensor:
        """The noise (N, ...) for the pipeline to start from: warped, unless the mode is "none". To be called first."""
        if self.mode != "none":
            latents = self._to_layout_of(latents, warp_noisy(self._to_grid(latents), self.warps))
        self._before = latents
        return latents

    def __call__(self, pipeline: Any, step: int, timestep: Any, callback_kwargs: dict[str, Any]) -> dict[str, Any]:
        """Called by diffusers after each step, with the `latents` (N, ...) in `callback_kwargs`."""
        latents: Tensor = callback_kwargs["latents"]
        if step == 0 and self._before is not None:
            self._before = self._before * getattr(self.scheduler, "init_noise_sigma", 1.0)
        if step + 1 < len(self.scheduler.timesteps):
            latents = self._adjust_latents(latents, step)
        self._before = latents
        return {"latents": latents}

    def _adjust_latents(self, latents: Tensor, step: int) -> Tensor:
        """The latents after a step, warped, and with the anchor at the noise of the next step."""
        level = self._get_level(step + 1)
        if self.mode == "noisy" and is_in_window(self.axis, level, self.warp_above):
            latents = self._to_layout_of(latents, warp_noisy(self._to_grid(latents), self.warps))
        elif self.mode == "clean" and is_in_window(self.axis, level, self.warp_above):
            latents = self._warp_prediction(latents, step)
        if self.anchor is not None and self.noise is not None:
            anchor = add_noise(self.axis, self.anchor[None].float(), self.noise[:1].float(), level.reshape(1))
            latents = torch.cat([anchor.to(latents) / self._get_scale(step + 1), latents[1:]])
        return latents

    def _warp_prediction(self, latents: Tensor, step: int) -> Tensor:
        """The latents after a step, whose predicted clean latents and noise were warped."""
        assert self._before is not None
        before, after = (
            self._to_grid(part) * self._get_scale(number)
            for part, number in ((self._before, step), (latents, step + 1))
        )
        level, next_level = self._get_level(step), self._get_level(step + 1)
        clean, noise = warp_clean(*recover_clean_and_noise(self.axis, before, level, after, next_level), self.warps)
        joined = add_noise(self.axis, clean, noise, next_level.expand(len(clean)))
        return self._to_layout_of(latents, joined / self._get_scale(step + 1))

    def _get_level(self, step: int) -> Tensor:
        """The noise level () of the latents before a step, on `axis`."""
        if self.axis.discrete:
            return self.scheduler.timesteps[step].cpu().round().long()  # type: ignore[no-any-return]
        return self.scheduler.sigmas[step].cpu().double()  # type: ignore[no-any-return]

    def _get_scale(self, step: int) -> float:
        """The factor that makes latents before a step alpha clean + sigma noise; not 1 for Euler on a DDPM schedule."""
        if not self.axis.discrete or "Euler" not in type(self.scheduler).__name__:
            return 1.0
        return float((1 + self.scheduler.sigmas[step] ** 2) ** -0.5)

    def _to_grid(self, latents: Tensor) -> Tensor:
        """Latents (N, C, rows, columns), from the pipeline's layout; a token of FLUX is one of them."""
        return latents if latents.ndim == 4 else latents.transpose(1, 2).unflatten(2, self.grid)

    @staticmethod
    def _to_layout_of(latents: Tensor, spatial: Tensor) -> Tensor:
        """Latents (N, C, rows, columns) in the layout, type and device of `latents`."""
        return (spatial if latents.ndim == 4 else spatial.flatten(2).transpose(1, 2)).to(latents)

# SPDX-License-Identifier: Apache-2.0
"""The data of a training run: its sources, the noise levels that each trains, its batches and text features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from blendset_trainer.training.data.loader import Batch, Loader
from blendset_trainer.training.data.sources import Source
from blendset_trainer.training.timesteps.plan import TimestepPlan

EncodePrompts = Callable[[Sequence[str]], dict[str, Tensor]]
"""From B prompts to the denoiser's text features by name, (B, ...) each."""


@dataclass(frozen=True, eq=False)
class TrainData:
    """What a run trains on.

    `encode_prompts` asks the model's text encoders, or reads caches. `make_loader` gives this process's batches from a
    micro-batch on, counted over all processes. `held_out` are batches that are never trained on, of one source each.
    """

    sources: Sequence[Source]
    plan: TimestepPlan
    encode_prompts: EncodePrompts
    make_loader: Callable[[int], Loader]
    held_out: Sequence[Batch]

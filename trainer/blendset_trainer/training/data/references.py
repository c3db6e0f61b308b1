# SPDX-License-Identifier: Apache-2.0
"""References: other views of a picture's set, or of its subject, that a model is shown while it learns the picture.

Which they are, and when they are dropped, follows from the seed, the sample and the repeat, as all else does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, islice

import numpy as np
import torch
from torch import Tensor

from blendset.options import option
from blendset_trainer.diffusion.images import cover_size
from blendset_trainer.diffusion.randomness import sample_uniform
from blendset_trainer.training.data.sampler import make_permutation
from blendset_trainer.training.data.sources import SINGLE, Source
from blendset_trainer.training.data.transforms import Bucket, load_loss_mask, load_pixels, make_content_key


@dataclass(frozen=True)
class ReferenceSettings:
    """Other views that the model sees beside each picture, to learn to draw what they show (SDXL and FLUX)."""

    count: int = option(0, "how many, of the same view set, else of the same subject; 0 shows none", at_least=0)
    noise: str = option(
        "family",
        "on references: none, as much as on the picture, or what SynCD gives the family (FLUX clean, SDXL same)",
        choices=("family", "clean", "same"),
    )
    masked: bool = option(True, "whether only the subject is seen of them, where its mask is known")
    drop_text: float = option(0.05, "how often the caption is left out, for guidance", at_least=0, at_most=1)
    drop_images: float = option(0.05, "how often the references are", at_least=0, at_most=1)
    drop_both: float = option(0.05, "how often both are", at_least=0, at_most=1)


@dataclass(frozen=True, eq=False)
class References:
    """The references of a sample, k of them; or of B samples, with B before each shape.

    `pixels` (k, 3, height, width) are 8-bit sRGB, or None where there are `latents` (k, ...) instead; `conditions`
    (k, 6) are `Placement.conditions`; `visibility` (k, height, width) is where attention may see them: nowhere
    for references that are dropped or repeated to fill up the number. `clean` ones get no noise.
    """

    pixels: Tensor | None
    latents: Tensor | None
    conditions: Tensor
    visibility: Tensor
    clean: bool

    @classmethod
    def stacked(cls, each: Sequence[References]) -> References:
        """Those of several samples."""

        def stack(values: Sequence[Tensor | None]) -> Tensor | None:
            there = [value for value in values if value is not None]
            return torch.stack(there) if there else None

        return cls(
            stack([one.pixels for one in each]),
            stack([one.latents for one in each]),
            torch.stack([one.conditions for one in each]),
            torch.stack([one.visibility for one in each]),
            each[0].clean,
        )


def draw_dropout(settings: ReferenceSettings, seed: int, sample: str, repeat: int) -> tuple[bool, bool]:
    """Whether the caption, and whether the references, are left out this time."""
    at = sample_uniform(seed, "references dropped", sample, repeat)
    text, images, both = accumulate((settings.drop_text, settings.drop_images, settings.drop_both))
    return at < text or images <= at < both, text <= at < both


def load_references(
    source: Source,
    number: int,
    repeat: int,
    bucket: Bucket,
    settings: ReferenceSettings,
    seed: int,
    latents: Callable[[str], Tensor] | None = None,
) -> References:
    """Those that a sample of a source has this time, in centred crops; `latents` gives them by `make_content_key`.

    Raises BlendsetError where one cannot be read.
    """
    name = source[number].id
    others = source.find_siblings(number)
    chosen = others[make_permutation(len(others), seed, "references", name, repeat)[: settings.count]].tolist()
    blind = draw_dropout(settings, seed, name, repeat)[1]
    views = [source[other] for other in islice(cycle(chosen), settings.count)]
    background = 0.0 if settings.masked else 1.0
    visibility = np.stack([load_loss_mask(view, SINGLE, bucket, background) for view in views]) > 0.5
    visibility[0 if blind else len(chosen) :] = False
    return References(
        None if latents else _to_planes(np.stack([load_pixels(view, SINGLE, bucket) for view in views])),
        torch.stack([latents(make_content_key(view, SINGLE, bucket)) for view in views]) if latents else None,
        torch.tensor([cover_size(view.size, bucket).conditions for view in views]),
        torch.from_numpy(visibility),
        settings.noise == "clean",
    )


def _to_planes(pictures: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))

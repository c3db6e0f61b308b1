# SPDX-License-Identifier: Apache-2.0
"""References: other views of an image's view set, or of its subject, that the model sees while it learns the image.

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
from blendset.randomness import sample_uniform
from blendset_trainer.diffusion.images import cover_size
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
    def stack(cls, samples: Sequence[References]) -> References:
        """The references of B samples as one, with B before each shape."""
        return cls(
            _stack_present([references.pixels for references in samples]),
            _stack_present([references.latents for references in samples]),
            torch.stack([references.conditions for references in samples]),
            torch.stack([references.visibility for references in samples]),
            samples[0].clean,
        )


def draw_dropout(settings: ReferenceSettings, seed: int, sample: str, repeat: int) -> tuple[bool, bool]:
    """Whether the caption, and whether the references, of a sample are left out this time."""
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
    load_latents: Callable[[str], Tensor] | None = None,
) -> References:
    """The references of sample `number` of a source this time, in centred crops of the bucket's size.

    `load_latents` gives latents (C, h, w) by `make_content_key`; without it there are pixels.
    Raises BlendsetError where one cannot be read.
    """
    name = source[number].id
    siblings = source.find_siblings(number)
    chosen = siblings[make_permutation(len(siblings), seed, "references", name, repeat)[: settings.count]].tolist()
    dropped = draw_dropout(settings, seed, name, repeat)[1]
    views = [source[other] for other in islice(cycle(chosen), settings.count)]
    background = 0.0 if settings.masked else 1.0
    visibility = np.stack([load_loss_mask(view, SINGLE, bucket, background) for view in views]) > 0.5
    visibility[0 if dropped else len(chosen) :] = False
    return References(
        None if load_latents else _to_planes(np.stack([load_pixels(view, SINGLE, bucket) for view in views])),
        torch.stack([load_latents(make_content_key(source.settings, view, bucket)) for view in views])
        if load_latents
        else None,
        torch.tensor([cover_size(view.size, bucket).conditions for view in views]),
        torch.from_numpy(visibility),
        settings.noise == "clean",
    )


def _stack_present(values: Sequence[Tensor | None]) -> Tensor | None:
    """The tensors that are not None, stacked; None where there are none."""
    present = [value for value in values if value is not None]
    return torch.stack(present) if present else None


def _to_planes(pictures: np.ndarray) -> Tensor:
    """(k, 3, height, width) of (k, height, width, 3)."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))

# SPDX-License-Identifier: Apache-2.0
"""What stands on the two sides of a pair: its pictures as the page holds them, ruined ones for attention checks too."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from blendset_trainer.api.progress import OnProgress
from blendset_trainer.evaluation.votes.ballot import LEFT, RIGHT, BallotPair
from blendset_trainer.evaluation.votes.pairs import PicturePair
from blendset_trainer.readers.images import load_rgb

QUALITY = 90
"""Of WebP, 0 to 100."""
SPOILED_PIXELS, SPOILED_NOISE = 14, 50
"""Of the ruined copy in an attention check: the pixels on its longer side, and the deviation of its noise in levels."""


@dataclass(frozen=True, eq=False)
class PairSides:
    """A pair of a page: what the key says of it, its prompt, and its pictures as WebP."""

    pair: BallotPair
    prompt: str
    left: bytes
    right: bytes
    references: tuple[bytes, ...]


@dataclass(frozen=True)
class _Slot:
    """A pair, whether its first picture is on the right, and the seed of the noise where it is an attention check."""

    pair: PicturePair
    swap: bool
    check_seed: int | None = None


def draw_sides(
    pairs: Sequence[PicturePair], checks: int, size: int, seed: int, on_progress: OnProgress
) -> list[PairSides]:
    """Return all pairs and `checks` attention checks in random order and on random sides.

    The longer side of each picture has `size` pixels: its own size could tell the system that made it. Raises
    BlendsetError for a picture that cannot be read.
    """
    rng = np.random.default_rng(seed)
    swaps = rng.permutation(np.arange(len(pairs)) % 2)  # as many one way as the other
    slots = [_Slot(pair, bool(swap)) for pair, swap in zip(pairs, swaps, strict=True)]
    chosen, seeds = rng.permutation(len(pairs))[:checks], rng.integers(1 << 32, size=len(pairs))
    slots += [_Slot(pairs[number], bool(seeds[number] % 2), int(seeds[number])) for number in chosen]
    slots = [slots[number] for number in rng.permutation(len(slots))]
    sides = list[PairSides]()
    with ThreadPoolExecutor(os.cpu_count()) as threads:  # Pillow lets go of the interpreter
        for each in threads.map(lambda slot: _draw_slot(slot, size), slots):
            sides.append(each)
            on_progress("preparing pairs", len(sides), len(slots))
    return sides


def _draw_slot(slot: _Slot, size: int) -> PairSides:
    pair = slot.pair
    references = tuple(_encode(_load(path, size // 2)) for path in pair.references)
    if slot.check_seed is not None:
        return PairSides(*_draw_check(slot, slot.check_seed, size), references)
    left, right = (pair.other, pair.one) if slot.swap else (pair.one, pair.other)
    key = BallotPair(0, pair.unit, left.system, right.system, str(left.path), str(right.path))
    return PairSides(key, pair.prompt, _encode(_load(left.path, size)), _encode(_load(right.path, size)), references)


def _draw_check(slot: _Slot, seed: int, size: int) -> tuple[BallotPair, str, bytes, bytes]:
    """An attention check: a picture of the pair, and the same in ruins."""
    rng = np.random.default_rng(seed)
    path = (slot.pair.one, slot.pair.other)[int(rng.integers(2))].path
    whole = _load(path, size)
    both = _encode(whole), _encode(_spoil(whole, rng))
    left, right = reversed(both) if slot.swap else both
    good = RIGHT if slot.swap else LEFT
    return BallotPair(0, slot.pair.unit, "", "", str(path), str(path), good), slot.pair.prompt, left, right


def _load(path: Path, size: int) -> Image.Image:
    return ImageOps.contain(load_rgb(path), (size, size), Image.Resampling.LANCZOS)


def _spoil(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A picture of which only coarse patches are left, under noise."""
    tiny = ImageOps.contain(image, (SPOILED_PIXELS, SPOILED_PIXELS)).resize(image.size, Image.Resampling.BICUBIC)
    pixels = np.asarray(tiny, np.float64)
    noise = rng.normal(0, SPOILED_NOISE, pixels.shape[:2])[:, :, None]
    return Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8))


def _encode(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "WEBP", quality=QUALITY, method=4)
    return data.getvalue()

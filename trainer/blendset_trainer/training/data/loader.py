# SPDX-License-Identifier: Apache-2.0
"""The batches that the loop trains on: a process's part of the order, decoded ahead in threads.

What cannot be read is replaced by the next sample of its source and bucket, the same on every run, and reported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blendset.errors import BlendsetError
from blendset_trainer.training.data.prefetch import ahead
from blendset_trainer.training.data.references import References, ReferenceSettings, dropped, read_references
from blendset_trainer.training.data.sampler import Draw, Order
from blendset_trainer.training.data.sources import Sample, Source
from blendset_trainer.training.data.transforms import (
    CENTRE,
    Bucket,
    canvas_of,
    content_key,
    loss_weights,
    nearest_buckets,
    pixels,
    placed,
)
from blendset_trainer.training.draws import uniform

Cached = Callable[[Source, str], torch.Tensor]
"""The latents of a source's sample by its `content_key`; BlendsetError where there are none."""
FAILURES_IN_A_ROW = 100
"""After which a disk is thought to be gone rather than a file."""


@dataclass(frozen=True, eq=False)
class Batch:
    """A micro-batch of B samples. `draws` are those that were read, after any replacement.

    `pixels` (B, 3, height, width) are 8-bit sRGB, or None where there are `latents` (B, ...) instead; `conditions`
    (B, 6) are `Placement.conditions`; `mask` (B, 1, height, width) weighs the loss, None where no source masks;
    `weights`, `lowest` and `highest` (B,) are the samples' loss weights and bounds of log SNR, infinite without one;
    `references` are what the model is shown beside them, None where it is shown nothing.
    """

    number: int
    draws: tuple[Draw, ...]
    ids: tuple[str, ...]
    sources: tuple[str, ...]
    texts: tuple[str, ...]
    pixels: torch.Tensor | None
    latents: torch.Tensor | None
    conditions: torch.Tensor
    mask: torch.Tensor | None
    weights: torch.Tensor
    lowest: torch.Tensor
    highest: torch.Tensor
    references: References | None

    @property
    def visits(self) -> tuple[int, ...]:
        """How often each sample's source had been gone through before."""
        return tuple(draw.visit for draw in self.draws)

    @property
    def seen(self) -> torch.Tensor | None:
        """What attention may see of the references, where there are any."""
        return self.references.seen if self.references else None


@dataclass(frozen=True, eq=False)
class _Item:
    """One sample, read."""

    draw: Draw
    sample: Sample
    source: Source
    text: str
    pixels: NDArray[np.uint8] | None
    latents: torch.Tensor | None
    conditions: tuple[int, ...]
    mask: NDArray[np.float32] | None
    references: References | None


class Feed:
    """The batches of process `rank` of `processes`, from micro-batch `start` of the order on, without end.

    `cached` gives latents instead of pixels; with `references` each sample has some. Iterate it inside a `with`, which
    ends its threads. `failures` says by sample id what could not be read and why; `waited_s` how long the loop has
    waited for data.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        shares: Mapping[str, float],
        buckets: Sequence[Bucket],
        *,
        micro_batch: int,
        seed: int,
        start: int = 0,
        rank: int = 0,
        processes: int = 1,
        threads: int = 4,
        cached: Cached | None = None,
        references: ReferenceSettings | None = None,
    ) -> None:
        self._references = references
        self._sources, self._buckets, self._seed, self._cached = sources, buckets, seed, cached
        self._places = [nearest_buckets(source.sizes, buckets) for source in sources]
        if cached and (moving := next((each for each in sources if each.settings.crop != "centre"), None)):
            raise BlendsetError(f"Source '{moving.name}' is cropped anew each time; use crop = \"centre\" with caches.")
        self._masks = any(source.settings.background != 1 for source in sources)
        self.failures: dict[str, str] = {}
        self.waited_s = 0.0
        named = {source.name: places for source, places in zip(sources, self._places, strict=True)}
        order = Order(named, shares, micro_batch=micro_batch, seed=seed)
        numbered = enumerate(order.micro_batches(start), start)
        mine = ((number, draws) for number, draws in numbered if number % processes == rank)
        self._coming = ahead(self._batch, mine, threads)

    def __enter__(self) -> Feed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._coming.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        asked = time.perf_counter()
        batch = next(self._coming)
        self.waited_s += time.perf_counter() - asked
        return batch

    def _batch(self, numbered: tuple[int, Sequence[Draw]]) -> Batch:
        number, draws = numbered
        items = [self._read_or_replace(draw) for draw in draws]
        return Batch(
            number=number,
            draws=tuple(item.draw for item in items),
            ids=tuple(item.sample.id for item in items),
            sources=tuple(item.source.name for item in items),
            texts=tuple(item.text for item in items),
            pixels=_stacked([item.pixels for item in items], channels_last=True),
            latents=torch.stack([item.latents for item in items if item.latents is not None]) if self._cached else None,
            conditions=torch.tensor([item.conditions for item in items]),
            mask=_stacked([item.mask for item in items]),
            weights=torch.tensor([item.sample.weight for item in items]),
            lowest=torch.tensor([item.sample.lowest for item in items]),
            highest=torch.tensor([item.sample.highest for item in items]),
            references=References.stacked([item.references for item in items if item.references])
            if self._references
            else None,
        )

    def _read_or_replace(self, draw: Draw) -> _Item:
        """The draw's sample, or the next that can be read."""
        for tried, sample in enumerate(self._candidates(draw), 1):
            try:
                return self._read(draw._replace(sample=sample))
            except BlendsetError as error:
                self.failures[self._sources[draw.source][sample].id] = reason = str(error)
            if tried == FAILURES_IN_A_ROW:
                break
        name = self._sources[draw.source].name
        raise BlendsetError(
            f"Source '{name}' had {tried} samples in a row that cannot be read, the last because {reason}"
        )

    def _candidates(self, draw: Draw) -> Iterator[int]:
        """The draw's sample, then all others of its source and bucket from there on."""
        yield draw.sample
        places = self._places[draw.source]
        alike = np.flatnonzero(places == places[draw.sample])
        yield from np.roll(alike, -1 - np.searchsorted(alike, draw.sample))[:-1].tolist()

    def _read(self, draw: Draw) -> _Item:
        source = self._sources[draw.source]
        sample, layout = source[draw.sample], source.settings.layout
        bucket = self._buckets[self._places[draw.source][draw.sample]]
        at = self._crop_at(source, sample, draw.visit)
        references, text = None, source.text(sample, self._seed, draw.visit)
        if self._references:
            latents = partial(self._cached, source) if self._cached else None
            references = read_references(source, draw.sample, draw.visit, bucket, self._references, self._seed, latents)
            text = "" if dropped(self._references, self._seed, sample.id, draw.visit)[0] else text
        return _Item(
            draw=draw,
            sample=sample,
            source=source,
            text=text,
            pixels=None if self._cached else pixels(sample, layout, bucket, at),
            latents=self._cached(source, content_key(sample, layout, bucket)) if self._cached else None,
            mask=loss_weights(sample, layout, bucket, source.settings.background, at) if self._masks else None,
            conditions=placed(canvas_of(sample.size, layout), bucket, at).conditions,
            references=references,
        )

    def _crop_at(self, source: Source, sample: Sample, visit: int) -> tuple[float, float]:
        if source.settings.crop == "centre":
            return CENTRE
        right, down = (uniform(self._seed, "crop", axis, sample.id, visit) for axis in ("right", "down"))
        return right, down


def _stacked(arrays: Sequence[NDArray[Any] | None], channels_last: bool = False) -> torch.Tensor | None:
    """The arrays as one tensor (B, channels, height, width), if there are any."""
    there = [array for array in arrays if array is not None]
    if not there:
        return None
    stacked = np.stack(there)
    return torch.from_numpy(np.ascontiguousarray(stacked.transpose(0, 3, 1, 2)) if channels_last else stacked[:, None])
